"""Records of runs: JSON files with everything that determined the pixels, and the outcome.

A record lies beside the output. Relative paths in it are relative to its own folder. It may come
from an untrusted source, so sizes, types and ranges are checked.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from reddiff.errors import RecordError
from reddiff.files import read_regular
from reddiff.images.jobs import FILE_FIELDS, JOB_ENTRIES, kinds
from reddiff.images.schema import (
    KINDS,
    is_cost,
    is_digits,
    is_notes,
    is_number_or_none,
    is_text,
    is_whole,
    table_of,
)
from reddiff.images.settings import Settings
from reddiff.results import Status

FORMAT = 2  # 1 had no hashes of weights files, and paths relative to where the run was started
UNITS = "pixels and noise in [0, 1]; the solver works on 2 pixels - 1"
MAX_BYTES = 1 << 20


def record_path(output: str | Path) -> Path:
    """The path of the record of an output: its name with `.json` appended."""
    return Path(f"{output}.json")


def versions() -> dict[str, str]:
    """The versions of the software, for a record."""
    return {
        "reddiff": version("reddiff"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def as_json(record: Mapping[str, Any]) -> bytes:
    """A record as JSON. Inf and nan, which JSON lacks, become null."""
    return json.dumps(finite(record), indent=1, allow_nan=False).encode()


def finite(value: Any) -> Any:
    """A tree of JSON values, with null for inf and nan."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def relative_to(folder: Path) -> Callable[[str], str]:
    """A function that makes paths relative to the current folder relative to this one."""
    base = os.path.realpath(folder)

    def moved(text: str) -> str:
        if Path(text).is_absolute():
            return text
        parent, name = os.path.split(Path(text))
        return os.path.relpath(Path(os.path.realpath(parent)) / name, base)

    return moved


def read_record(path: str | Path) -> dict[str, Any]:
    """Read and validate a record.

    Raises:
        PictureError: If the file is missing, not a regular file, or larger than any record.
        RecordError: If it is not the record of a restoration, has an unknown format, or an entry
            has a wrong type or range.
    """
    data = read_regular(path, MAX_BYTES)
    try:
        record = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        got = "JSON nested too deeply" if isinstance(error, RecursionError) else error
        raise RecordError(f"{path}: expected a reddiff record, got {got}") from error
    if not isinstance(record, dict) or "format" not in record or "command" not in record:
        raise RecordError(f"{path}: expected a reddiff record, got other JSON")
    number, command = record["format"], record["command"]
    if number not in (1, FORMAT) or isinstance(number, bool) or command != "restore":
        got = f"format {_short(number)}, command {_short(command)}"
        raise RecordError(f"{path}: expected a restore record of format {FORMAT}, got {got}")
    for name in SCHEMA:
        if name not in record:
            if name in OPTIONAL or (number == 1 and name in NEW):
                continue
            raise RecordError(f"{path}: expected an entry '{name}', got none")
        if wrong := _wrong(name, record[name]):
            raise RecordError(f"{path}: {wrong}")
    return record


def _refuse(word: str) -> None:
    raise ValueError(f"the number {word}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:180]}..."


def _wrong(name: str, value: object) -> str:
    """What is wrong with an entry of a record; empty if nothing is."""
    if name == "job" and isinstance(value, dict):
        return _wrong_job(value)
    return "" if SCHEMA[name](value) else f"{name} cannot be {_short(value)}"


def _wrong_job(job: dict[str, Any]) -> str:
    table = JOB_ENTRIES | kinds()
    nullable = {f.name for f in fields(Settings) if f.default is None}
    for name in ("source", "output", "task"):
        if not job.get(name):
            return f"job: expected an entry '{name}', got {_short(job.get(name))}"
    for name, item in job.items():
        if name not in table:
            return f"job: expected entries of a job, got {_short(name)}"
        if not (KINDS[table[name]](item) or (item is None and name in nullable)):
            return f"job: {name} cannot be {_short(item)}"
    return ""


def _inputs(value: object) -> bool:
    return table_of(is_digits)(value) and set(value) <= set(FILE_FIELDS)  # type: ignore[call-overload]


SCHEMA: dict[str, Callable[[object], bool]] = {
    "versions": table_of(is_text),
    "units": is_text,
    "job": lambda value: isinstance(value, dict),
    "inputs": _inputs,
    "weights": is_digits,
    "solver": lambda value: isinstance(value, dict),
    "noise": is_number_or_none,
    "noise_estimated": lambda value: isinstance(value, bool),
    "residual_ratio": is_number_or_none,
    "status": lambda value: isinstance(value, str) and value in Status.__members__,
    "cost": is_cost,
    "threads": lambda value: is_whole(value) and 1 <= value <= 1 << 16,  # type: ignore[operator]
    "notes": is_notes,
    "pixels": is_digits,
    "written": is_digits,
    "replaced": lambda value: value is None or is_digits(value),
    "metrics": table_of(is_number_or_none),
    "uncertainty": lambda value: isinstance(value, dict),
}
OPTIONAL = ("metrics", "uncertainty")
NEW = ("written", "replaced")  # since format 1

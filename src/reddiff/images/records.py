"""Records of runs: what decided the pixels, and what came of it; written, read and checked.

A record is a JSON file beside the output. Relative paths in it are relative to its own folder. It
may come from somebody else, so nothing in it is believed: sizes, types and ranges are checked.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from reddiff.errors import RecordError
from reddiff.files import open_regular, read_regular
from reddiff.images.io.inputs import WORDS as KERNELS
from reddiff.images.masks import WORDS as MASKS
from reddiff.images.presets import PRIORS
from reddiff.images.schema import (
    fits,
    is_cost,
    is_digits,
    is_notes,
    is_number_or_none,
    is_text,
    is_whole,
    table_of,
)
from reddiff.images.tasks.custom import OWN
from reddiff.results import Status

FORMAT = 2  # 1 had no hashes of weights files, and paths relative to where the run was started
UNITS = "pixels and noise in [0, 1]; the solver works on 2 pixels - 1"
MAX_BYTES = 1 << 20

MASK_WORDS = frozenset(word.partition(":")[0] for word in MASKS)


@dataclass(frozen=True)
class Job:
    """Everything that decides the pixels of a restored file.

    Arguments:
        source: The degraded picture's file.
        output: The restored picture's file; its suffix is its format.
        task: A name, see `restore`; `jpeg` alone reads the quality from the file.
        mask: A text for `masks.make_mask`.
        fit_mask: Resize a mask file of another size.
        scale: See `restore`.
        kernel: A text for `pictures.read_kernel`.
        noise: See `restore`.
        solver: A name in `solvers.catalogue.METHODS`.
        steps: See `restore`.
        realism: See `restore`.
        prior: A name in `catalogue.PRIORS`, or a .safetensors file.
        seed: See `restore`.
        device: See `restore`.
        tile: See `restore`.
        keep_diverged: Write the last finite estimate of a run that diverged.
        range: What black and white are in the source, `LOW,HIGH`; see `pictures.read_picture`.
        page: Which picture of a source of several, from 1.
    """

    source: str
    output: str
    task: str
    mask: str | None = None
    fit_mask: bool = False
    scale: int | None = None
    kernel: str | None = None
    noise: float | None = None
    solver: str = "noise-aware"
    steps: int | None = None
    realism: float | None = None
    prior: str = "photo"
    seed: int = 0
    device: str = "auto"
    tile: int = 512
    keep_diverged: bool = False
    range: str | None = None
    page: int | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that the job reads, by the names of its fields."""
        found = {name: file_part(name, getattr(self, name)) for name in FILE_FIELDS}
        return {name: Path(file) for name, file in found.items() if file is not None}

    def moved(self, move: Callable[[str], str]) -> Job:
        """The same job with other paths."""
        new: dict[str, Any] = {"output": move(self.output)}
        for name in FILE_FIELDS:
            text = getattr(self, name)
            file = file_part(name, text)
            if file is not None:
                new[name] = move(file) + text[len(file) :]
        return replace(self, **new)

    def input_hashes(self) -> dict[str, str]:
        """The SHA-256 of every file that it reads."""
        return {name: file_hash(path) for name, path in self.files.items()}


FILE_FIELDS = ("source", "task", "mask", "kernel", "prior")


def file_part(name: str, text: str | None) -> str | None:
    """The file that a field of a job names; None if it holds words, or nothing."""
    if text is None:
        return None
    word, _, rest = text.partition(":")
    if name == "task":
        own = OWN.fullmatch(text)
        return own[1] if own else None
    if name == "mask" and word in MASK_WORDS and rest:
        return None
    if name == "kernel":
        if word in KERNELS:
            return None
        member = re.fullmatch(r"(.+\.npz):[^:/\\]+", text, re.IGNORECASE)
        return member[1] if member else text
    return None if name == "prior" and text in PRIORS else text


def record_path(output: str | Path) -> Path:
    """Where the record of an output is: its name with `.json` appended."""
    return Path(f"{output}.json")


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open_regular(path) as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What was run."""
    return {
        "reddiff": version("reddiff"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def as_json(record: Mapping[str, Any]) -> bytes:
    """The content of a record's file. JSON has no inf and no nan: they become null."""
    return json.dumps(_finite(record), indent=1, allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def relative_to(folder: Path) -> Callable[[str], str]:
    """Turns a relative path, of where one stands, into one of this folder."""
    base = os.path.realpath(folder)

    def moved(text: str) -> str:
        if Path(text).is_absolute():
            return text
        parent, name = os.path.split(Path(text))
        return os.path.relpath(Path(os.path.realpath(parent)) / name, base)

    return moved


def read_record(path: str | Path) -> dict[str, Any]:
    """A record from its file, of known format and with all types and ranges right.

    Raises:
        PictureError: If the file is missing, no regular file, or larger than any record.
        RecordError: If it is no record of a restoration, or anything in it is not what it must be.
    """
    data = read_regular(path, MAX_BYTES)
    try:
        record = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        got = str(error) or "brackets without end"
        raise RecordError(f"{path}: expected a reddiff record, got {got}") from error
    if not isinstance(record, dict) or "format" not in record or "command" not in record:
        raise RecordError(f"{path}: expected a reddiff record, got other JSON")
    number, command = record["format"], record["command"]
    if number not in (1, FORMAT) or isinstance(number, bool) or command != "restore":
        got = f"format {_short(number)}, command {_short(command)}"
        raise RecordError(f"{path}: expected a restore record of format {FORMAT}, got {got}")
    for name, good in SCHEMA.items():
        if name not in record:
            if name in OPTIONAL or (number == 1 and name in NEW):
                continue
            raise RecordError(f"{path}: expected an entry '{name}', got none")
        if not good(record[name]):
            raise RecordError(f"{path}: {name} cannot be {_short(record[name])}")
    return record


def read_job(record: Mapping[str, Any]) -> Job:
    """The job of a record that `read_record` has read."""
    return Job(**record["job"])


def _refuse(word: str) -> None:
    raise ValueError(f"the number {word}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}..."


def _inputs(value: object) -> bool:
    return table_of(is_digits)(value) and set(value) <= set(FILE_FIELDS)  # type: ignore[call-overload]


SCHEMA: dict[str, Callable[[object], bool]] = {
    "versions": table_of(is_text),
    "units": is_text,
    "job": lambda value: fits(value, Job, ("source", "output", "task")),
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
}
OPTIONAL = ("metrics",)
NEW = ("written", "replaced")  # since format 1

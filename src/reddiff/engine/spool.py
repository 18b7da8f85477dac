"""Results of unfinished shards: one file each, which is used only if it is complete."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from reddiff.images.records import finite


@dataclass(frozen=True, eq=False)
class Spooled:
    """The result for a picture.

    Arguments:
        row: Key, name, seconds and hashes, for the marker of its shard.
        record: The record of the run.
        data: The picture's file.
    """

    row: dict[str, Any]
    record: dict[str, Any]
    data: bytes


def spool_path(folder: Path, index: int) -> Path:
    """The file of a result."""
    return folder / f"{index:09d}.out"


def write_spooled(path: Path, result: Spooled) -> None:
    """Write a result. A process that is killed leaves the complete file or none.

    After a power cut the file may be damaged; `read_spooled` detects this.
    """
    header = json.dumps({"row": result.row, "record": finite(result.record)}).encode()
    digest = sha256(header + result.data).hexdigest().encode()
    part = path.with_suffix(f".{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(digest + b"\n" + header + b"\n" + result.data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_spooled(path: Path) -> Spooled | None:
    """A result; None if there is none, or it is damaged."""
    try:
        digest, header, data = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    if sha256(header + data).hexdigest().encode() != digest:
        return None
    found = json.loads(header)
    return Spooled(found["row"], found["record"], data)

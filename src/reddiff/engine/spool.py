"""Results of unfinished shards. Each process appends to a file of its own in the shard's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

from reddiff.images.records import finite

HEAD = Struct("<8sQQQ32s")  # MAGIC, index, bytes of the text and of the picture, hash of all
MAGIC = b"reddiff\n"


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


@dataclass(frozen=True)
class Spot:
    """The location of a result: the name of its file, and its first byte."""

    file: str
    offset: int


def append_spooled(path: Path, results: Mapping[int, Spooled]) -> dict[int, Spot]:
    """Append results to a file that no other process writes to; returns their locations.

    If the process is killed, the last result may be incomplete. After a power cut others may be
    damaged too. `read_spooled` and `spooled` detect both.

    Arguments:
        path: The file, which is created if it is missing.
        results: Index -> result.

    Raises:
        OSError: If the file cannot be written.
    """
    spots = {}
    with path.open("ab", buffering=0) as file:
        for index, result in results.items():
            end = file.tell()
            left = memoryview(_packed(index, result))
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                with suppress(OSError):
                    os.truncate(path, end)
                raise
            spots[index] = Spot(path.name, end)
    return spots


def read_spooled(folder: Path, index: int, spot: Spot) -> Spooled | None:
    """A result; None if it is not complete there."""
    try:
        with (folder / spot.file).open("rb") as file:
            file.seek(spot.offset)
            return _read(file, index)
    except (OSError, MemoryError, OverflowError):  # of damaged sizes
        return None


def spooled(folder: Path) -> dict[int, Spot]:
    """The complete results in a folder: index -> location."""
    return {
        index: spot
        for index, spot in heads(folder)
        if read_spooled(folder, index, spot) is not None
    }


def heads(folder: Path) -> Iterator[tuple[int, Spot]]:
    """Index and location of each result in a folder, without a check of its content."""
    for path in sorted(folder.glob("*.spool")):
        try:
            with path.open("rb") as file:
                end, offset = os.fstat(file.fileno()).st_size, 0
                while head := _head(file):
                    index, *sizes, _ = head
                    following = offset + HEAD.size + sum(sizes)
                    if following > end:
                        break
                    yield index, Spot(path.name, offset)
                    offset = file.seek(following)
        except OSError:
            continue


def _packed(index: int, result: Spooled) -> bytes:
    text = json.dumps({"row": result.row, "record": finite(result.record)}).encode()
    sizes = len(text), len(result.data)
    return HEAD.pack(MAGIC, index, *sizes, _hash(index, text, result.data)) + text + result.data


def _hash(index: int, text: bytes, data: bytes) -> bytes:
    total = sha256(f"{index} {len(text)} ".encode())
    total.update(text)
    total.update(data)
    return total.digest()


def _head(file: BinaryIO) -> tuple[int, int, int, bytes] | None:
    """Index, sizes and hash of the result that begins here."""
    packed = file.read(HEAD.size)
    if len(packed) < HEAD.size or not packed.startswith(MAGIC):
        return None
    _, index, text, data, digest = HEAD.unpack(packed)
    return index, text, data, digest


def _read(file: BinaryIO, index: int) -> Spooled | None:
    head = _head(file)
    if head is None or head[0] != index:
        return None
    _, *sizes, digest = head
    text, data = map(file.read, sizes)
    if _hash(index, text, data) != digest:
        return None
    found = json.loads(text)
    return Spooled(found["row"], found["record"], data)

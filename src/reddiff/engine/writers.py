"""The files of a shard: pictures with records, a tar file of WebDataset, or a Parquet file."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from reddiff.engine.modes import Output
from reddiff.engine.sources.tables import arrow, storable
from reddiff.engine.spool import Spooled, Spot
from reddiff.files import write_error, write_together
from reddiff.images.records import as_json

AT_ONCE = 64  # files that are written in one batch
BLOCK = 512  # of tar
GROUP = 64  # pictures in a row group of Parquet


@dataclass
class Shard:
    """A shard in progress.

    Arguments:
        number: Its number.
        rows: The indices of its pictures.
        left: The number of pictures that are neither done nor failed.
        spots: Index -> location of the result.
        failed: Index -> reason.
    """

    number: int
    rows: range
    left: int
    spots: dict[int, Spot]
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """Writes the files of a shard.

    Arguments:
        names: The relative paths of its files.
        write: Writes the files and returns the hash and size of each.
    """

    names: Sequence[str]
    write: Callable[[Iterator[Spooled]], Mapping[str, Mapping[str, Any]]]


def _files(folder: Path, shard: Shard, names: Sequence[str]) -> Writer:
    """A picture and a record each, with the names of the source."""

    def write(results: Iterator[Spooled]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for some in _batches(results, AT_ONCE):
            files: list[tuple[Path, bytes | Iterator[bytes]]] = []
            for result in some:
                name = result.row["name"]
                for path, data in ((f"{name}.json", as_json(result.record)), (name, result.data)):
                    files.append((folder / path, data))
                    found[path] = {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
            write_together(files, force=True)
        return found

    return Writer([n for name in names for n in (name, f"{name}.json")], write)


def _tar(folder: Path, shard: Shard, names: Sequence[str]) -> Writer:
    """A WebDataset tar file: a picture and a record per sample, named by the index."""
    name = f"{shard.number:05d}.tar"
    good = [index for index in shard.rows if index not in shard.failed]

    def write(results: Iterator[Spooled]) -> dict[str, dict[str, Any]]:
        digest, size = sha256(), 0

        def parts() -> Iterator[bytes]:
            nonlocal size
            for index, result in zip(good, results, strict=True):
                suffix = PurePosixPath(result.row["name"]).suffix
                record = as_json({"key": result.row["key"], **result.record})
                for member, data in ((suffix, result.data), (".json", record)):
                    entry = tarfile.TarInfo(f"{index:09d}{member}")
                    entry.size = len(data)
                    yield entry.tobuf() + data + bytes(-len(data) % BLOCK)
            yield bytes(2 * BLOCK)

        def hashed() -> Iterator[bytes]:
            nonlocal size
            for part in parts():
                digest.update(part)
                size += len(part)
                yield part

        write_together([(folder / name, hashed())], force=True)
        return {name: {"sha256": digest.hexdigest(), "bytes": size}}

    return Writer([name], write)


def _table(folder: Path, shard: Shard, names: Sequence[str]) -> Writer:
    """A Parquet file with a row per picture."""
    name = f"{shard.number:05d}.parquet"

    def write(results: Iterator[Spooled]) -> dict[str, dict[str, Any]]:
        import pyarrow as pa

        columns = {"key": "string", "name": "string", "image": "binary", "record": "string"}
        schema = pa.schema(list(columns.items()))
        part = folder / f".{name}.part"
        try:
            with arrow().ParquetWriter(part, schema, compression="none") as table:
                for some in _batches(results, GROUP):
                    rows = [
                        {
                            "key": storable(result.row["key"]),
                            "name": storable(result.row["name"]),
                            "image": result.data,
                            "record": as_json(result.record).decode(),
                        }
                        for result in some
                    ]
                    table.write_table(pa.Table.from_pylist(rows, schema=schema))
            with part.open("rb+") as file:
                os.fsync(file.fileno())
                file.seek(0)
                digest = sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
                size = file.tell()
            part.replace(folder / name)
        except OSError as error:
            raise write_error(folder / name, error) from error
        finally:
            part.unlink(missing_ok=True)
        return {name: {"sha256": digest.hexdigest(), "bytes": size}}

    return Writer([name], write)


def _batches(results: Iterator[Spooled], size: int) -> Iterator[list[Spooled]]:
    while some := list(islice(results, size)):
        yield some


WRITERS: Mapping[Output, Callable[[Path, Shard, Sequence[str]], Writer]] = {
    Output.FILES: _files,
    Output.WEBDATASET: _tar,
    Output.PARQUET: _table,
}

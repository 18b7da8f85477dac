"""Snapshots on disk: safetensors files with JSON metadata. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors import torch as tensorfile
from torch import Tensor

from reddiff.errors import PictureError, SnapshotError
from reddiff.files import write_whole
from reddiff.snapshot.description import hashed
from reddiff.snapshot.origin import Origin
from reddiff.snapshot.trees import Tree, flatten, unflatten

FORMAT = 5


HEADER_BYTES = 1 << 24  # largest header, enough for about 50 000 lanes with optimizer state


_FIELDS = ("solver", "y_shape", "seed", "ids", "samples", "step", "origin", "tree")


_DAMAGE = (
    SafetensorError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a run, from which it can be resumed with bit-identical results.

    Arguments:
        solver: `describe(solver)`, which is compared on resume.
        y_shape: The shape of y of the whole problem.
        seed: The seed of the run.
        ids: The ids of all lanes.
        samples: The number of runs per lane.
        step: The number of steps made.
        tree: The state of the solver (for runs that are not finished) and of the loop.
        origin: Hashes of y, operator, noise, prior and dtype, which are compared on resume. With
            None, as in `dataclasses.replace(snapshot, origin=None)`, they are not compared.
    """

    solver: Tree
    y_shape: tuple[int, ...]
    seed: int
    ids: tuple[int, ...]
    samples: int
    step: int
    tree: Tree
    origin: Origin | None = None

    def __repr__(self) -> str:
        name = self.solver.get("class") if isinstance(self.solver, Mapping) else self.solver
        runs = f"{len(self.ids)} lanes, {self.samples} runs each"
        return f"Snapshot({name} at step {self.step}, {runs}, y {self.y_shape}, seed {self.seed})"

    def save(self, path: str | Path) -> None:
        """Write the snapshot to a file, completely or not at all, replacing an older one.

        Raises:
            SnapshotError: If the file cannot be written; if the path is, or becomes, something
                other than a regular file (a folder, a pipe, a dangling link); if the tree contains
                something other than tensors, numbers and strings; or if there are too many lanes
                for one file.
        """
        tensors: dict[str, Tensor] = {}
        header = {name: getattr(self, name) for name in _FIELDS}
        header["origin"] = None if self.origin is None else self.origin.tree
        header["tree"] = flatten(self.tree, tensors, "")
        text = json.dumps({"format": FORMAT, **header})
        metadata = {"reddiff": text, "sha256": _checksum(text, tensors)}
        data = tensorfile.save(tensors, metadata=metadata)
        if int.from_bytes(data[:8], "little") > HEADER_BYTES:
            raise SnapshotError(f"{path}: expected fewer lanes, got a header above 16 MiB")
        target = _target(Path(path))
        try:
            write_whole(target, data, force=target.exists())
        except PictureError as error:
            got = f"expected {error.expected}, got {error.got}"
            raise SnapshotError(f"{path}: {got}") from error.__cause__

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a snapshot, with all tensors on the CPU.

        Raises:
            SnapshotError: If the file is truncated, damaged (even in a single bit), not a snapshot,
                or of another format version.
            OSError: If the file does not exist or cannot be read.
        """
        try:
            return _parsed(_read(Path(path)))
        except SnapshotError as error:
            raise SnapshotError(f"{path}: {error}") from error.__cause__
        except _DAMAGE as error:
            got = f"{type(error).__name__}: {str(error)[:200]}"
            raise SnapshotError(f"{path}: expected a reddiff snapshot, got {got}") from error


def _target(path: Path) -> Path:
    """The path with symbolic links resolved.

    Raises:
        SnapshotError: If a link is dangling.
    """
    if not path.is_symlink():
        return path
    try:
        return Path(os.path.realpath(path, strict=True))
    except OSError as error:
        raise SnapshotError(f"{path}: expected a file, got a dangling link") from error


def _read(path: Path) -> bytes:
    """The bytes of a regular file, after comparing its size with that in its header."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        got = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise SnapshotError(f"expected a reddiff snapshot, got {got}")
    with os.fdopen(fd, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_BYTES, status.st_size - 8):
            raise SnapshotError("expected a reddiff snapshot, got a file without its header")
        table = json.loads(file.read(length))
        ends = (entry["data_offsets"][1] for name, entry in table.items() if name[:2] != "__")
        size = 8 + length + max(ends, default=0)
        if size != status.st_size:
            got = f"{status.st_size} bytes of {size}"
            raise SnapshotError(f"expected a reddiff snapshot, got {got}")
        file.seek(0)
        return file.read(size)


def _parsed(data: bytes) -> Snapshot:
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    text = metadata["reddiff"]
    header = json.loads(text)
    version = header.pop("format")
    if version != FORMAT:
        old = " (of another version of reddiff: run it again from its start)"
        raise SnapshotError(f"expected format {FORMAT}, got {version}{old}")
    tensors = tensorfile.load(data)
    if metadata["sha256"] != _checksum(text, tensors):
        raise SnapshotError("expected a reddiff snapshot, got a damaged one: its checksum is wrong")
    if set(header) != set(_FIELDS):
        raise SnapshotError(f"expected a reddiff snapshot with {_FIELDS}, got {sorted(header)}")
    for name in ("y_shape", "ids"):
        header[name] = tuple(_integers(header[name]))
    _integers([header[name] for name in ("seed", "samples", "step")])
    origin = header.pop("origin")
    tree = unflatten(header.pop("tree"), tensors.pop)
    if tensors:
        raise SnapshotError(
            f"expected a reddiff snapshot, got one with {len(tensors)} extra tensors"
        )
    return Snapshot(**header, tree=tree, origin=None if origin is None else Origin.known(origin))


def _integers(values: Any) -> list[int]:
    if not isinstance(values, list) or any(type(v) is not int or abs(v) > 2**63 for v in values):
        raise SnapshotError(f"expected a reddiff snapshot with integers, got {str(values)[:80]}")
    return values


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 hash of the header and of all tensors."""
    total = sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, hashed(tensor, 64)]).encode())
    return total.hexdigest()

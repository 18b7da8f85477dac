"""Read arrays from .npy and .npz files whose headers are checked before memory is allocated."""

from __future__ import annotations

import math
import zipfile
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from reddiff.errors import PictureError


def read_array(path: Path, name: str | None = None, *, max_bytes: int) -> NDArray[Any]:
    """The array in a .npy file, or in a .npz file: the only one, or the one of this name.

    Arguments:
        path: The file.
        name: Name of the array in a .npz file.
        max_bytes: Largest size that the header may state: NumPy allocates that size before it
            reads the entries.

    Raises:
        PictureError: If there is no such array, its entries are not numbers, or its header states
            more than `max_bytes` or than the file holds.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size, max_bytes)
    with zipfile.ZipFile(path) as archive:
        names = [entry.removesuffix(".npy") for entry in archive.namelist()]
        listed = ", ".join(names[:10]) + ", ..." * (len(names) > 10) or "none"
        if name is None and len(names) == 1:
            name = names[0]
        if name is None:
            expected = f"one array, or {path}:NAME"
            raise PictureError(path, expected=expected, got=f"the arrays {listed}")
        if name not in names:
            raise PictureError(path, expected=f"one of the arrays {listed}", got=name)
        entry = archive.infolist()[names.index(name)]
        with archive.open(entry) as member:
            return _read(path, member, entry.file_size, max_bytes)


def _read(path: Path, file: IO[bytes] | BufferedIOBase, size: int, max_bytes: int) -> NDArray[Any]:
    """The array in a stream of `size` bytes, as the archive states them."""
    version = npy.read_magic(file)
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if header is None:
        got = f"{version[0]}.{version[1]}"
        raise PictureError(path, expected="version 1.0 or 2.0 of the .npy format", got=got)
    shape, fortran, dtype = header(file)
    if dtype.kind not in "biufc":
        raise PictureError(path, expected="an array of numbers", got=dtype)
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > max_bytes or min(shape, default=0) < 0:
        expected = f"an array of at most {max_bytes} bytes"
        raise PictureError(path, expected=expected, got=f"shape {shape} of {dtype}")
    data = file.read(claimed) if claimed <= size else b""
    if len(data) < claimed:
        got = f"fewer for shape {shape}"
        raise PictureError(path, expected=f"{claimed} bytes of entries", got=got)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")

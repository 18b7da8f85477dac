"""NumPy arrays in .npy files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from reddiff.errors import PictureError, require
from reddiff.large.formats.base import Canvas, Source
from reddiff.large.layout import Index, Layout


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedSource(Source):
    """An array in a file, not compressed.

    Arguments:
        offset: Where it begins in the file.
        order: `C`, or `F` if the first axis varies fastest.
    """

    offset: int
    order: str = "C"

    def read(self, index: Index) -> NDArray[Any]:
        """The entries of this index."""
        # Mapped anew each time: pages that were read once would count as memory in use.
        mode: Any = self.order
        array = np.memmap(self.path, self.dtype, "r", self.offset, self.layout.shape, order=mode)
        return np.array(array[index], order="C")


def open_npy(path: Path, page: int | None) -> MappedSource:
    """Open a .npy file.

    Raises:
        InvalidArgument: If a page is named.
        PictureError: If it holds no numbers, is truncated, or has an unknown version.
    """
    require(page is None, "page", expected="none for a .npy file", got=page)
    expected = "a .npy file of numbers"
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except ValueError as error:
        raise PictureError(path, expected=expected, got=error) from error
    if dtype.hasobject or path.stat().st_size < offset + prod(shape) * dtype.itemsize:
        raise PictureError(path, expected=expected, got="objects" * dtype.hasobject or "a part")
    layout = Layout.guess(shape, "image")
    order = "F" if fortran else "C"
    return MappedSource(
        path=path, layout=layout, dtype=dtype, chunk=(1, 1), offset=offset, order=order
    )


class NpyCanvas(Canvas):
    """A .npy file.

    It is no memory map, in which a full disk is a crash and not an error.
    """

    file: int | None = None

    def create(self) -> None:
        """Make the file at its full size, with holes."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self.file = os.open(self.path, flags, 0o666)
        shape, dtype = self.layout.shape, self.source.dtype
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        with os.fdopen(os.dup(self.file), "wb") as file:
            npy.write_array_header_2_0(file, header)
            self.offset = file.tell()
        os.ftruncate(self.file, self.offset + prod(shape) * dtype.itemsize)

    def write(self, index: Index, values: NDArray[Any]) -> None:
        """Write row by row: a row of all channels is contiguous in the file."""
        shape, rows, dtype = self.layout.shape, self.layout.rows, self.source.dtype
        entries = [
            range(n)[i] if isinstance(i, slice) else [i] for i, n in zip(index, shape, strict=True)
        ]
        width, channels = len(entries[rows + 1]), prod(shape[rows + 2 :])
        starts = [*entries[: rows + 1], entries[rows + 1][:1], *([0] for _ in shape[rows + 2 :])]
        lines = values.reshape(prod(map(len, starts)), width, -1)
        some = lines.shape[-1] < channels  # the others keep their values
        for place, line in zip(product(*starts), lines, strict=True):
            at = self.offset + int(np.ravel_multi_index(place, shape)) * dtype.itemsize
            if some:
                size = width * channels * dtype.itemsize
                whole = np.frombuffer(bytearray(self._get(size, at)), dtype)
                whole.reshape(width, channels)[:, index[-1]] = line[:, 0]
                line = whole
            self._put(np.ascontiguousarray(line, dtype).tobytes(), at)

    def _put(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        os.lseek(self._opened, at, os.SEEK_SET)
        while view:
            view = view[os.write(self._opened, view) :]

    def _get(self, size: int, at: int) -> bytes:
        os.lseek(self._opened, at, os.SEEK_SET)
        return os.read(self._opened, size)

    @property
    def _opened(self) -> int:
        if self.file is None:
            raise ValueError("the file is closed")
        return self.file

    def flush(self) -> None:
        """Wait for the disk."""
        os.fsync(self._opened)

    def finish(self) -> Path:
        """Close the file."""
        self.flush()
        self.close()
        return self.path

    def close(self) -> None:
        """Close the file, if it is open."""
        if self.file is not None:
            os.close(self.file)
            self.file = None

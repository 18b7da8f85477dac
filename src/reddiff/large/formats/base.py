"""What is read and written in parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.errors import PictureError
from reddiff.large.layout import Index, Layout

MAX_PART = 1 << 28  # bytes of the smallest part that can be read, a chunk, tile or strip
KINDS = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8", "b1"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source(ABC):
    """A picture that is read in parts.

    Arguments:
        path: The file.
        layout: Its shape and the meaning of its axes.
        dtype: The type of its values.
        chunk: The height and width of the smallest part that can be read.
        nodata: The value of missing pixels, beside NaN; None if there is none.
        extras: What the result takes over: georeference, attributes, compression.
        notes: Notes on how it is read, in sentences.

    Raises:
        PictureError: If the type is not supported, or the smallest part is too large.
    """

    path: Path
    layout: Layout
    dtype: np.dtype[Any]
    chunk: tuple[int, int]
    nodata: float | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype.str[1:] not in KINDS:
            expected = "integers of 8, 16 or 32 bits, or floats"
            raise PictureError(self.path, expected=expected, got=self.dtype)
        colors = 1 if self.layout.color is None else self.layout.shape[self.layout.color]
        part = self.chunk[0] * self.chunk[1] * colors * self.dtype.itemsize
        if part > MAX_PART:
            got = f"parts of {self.chunk[1]}x{self.chunk[0]} pixels, {part / 1e9:.2g} GB"
            expected = f"tiles, strips or chunks of at most {MAX_PART / 1e9:.2g} GB"
            raise PictureError(self.path, expected=expected, got=got)

    @abstractmethod
    def read(self, index: Index) -> NDArray[Any]:
        """The entries of this index, in the order of the file's axes."""


class Canvas(ABC):
    """The result while it is written. Parts may be written again.

    Arguments:
        folder: Where it is written.
        source: What it is the result of: its type, layout and extras are kept.
        scale: How many times higher and wider it is.
    """

    def __init__(self, folder: Path, source: Source, scale: int) -> None:
        self.source, self.scale = source, scale
        self.layout = source.layout.scaled(scale)
        self.path = folder / f"result{source.path.suffix.lower()}"

    @property
    def chunk(self) -> tuple[int, int]:
        """Height and width of what is written as a whole: parts begin at multiples of them."""
        return 1, 1

    @abstractmethod
    def create(self) -> None:
        """Make the file, or open it if it is there."""

    @abstractmethod
    def write(self, index: Index, values: NDArray[Any]) -> None:
        """Write entries, in the order of the file's axes."""

    @abstractmethod
    def flush(self) -> None:
        """Return when all that was written is on the disk."""

    @abstractmethod
    def finish(self) -> Path:
        """Complete the file, and return where it is."""

    def close(self) -> None:
        """Release what is open, finished or not."""

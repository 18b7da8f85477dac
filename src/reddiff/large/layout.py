"""The axes of an array that holds a picture, or a stack of pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.errors import require
from reddiff.large.channels import Channels

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class Layout:
    """The axes of an array: rows and columns next to each other, at most one axis after them.

    Arguments:
        shape: The lengths of all axes.
        rows: The axis of the rows; that of the columns follows.
        color: The axis of the channels of a color picture; None for gray pictures.
    """

    shape: tuple[int, ...]
    rows: int
    color: int | None = None

    @classmethod
    def guess(cls, shape: tuple[int, ...], argument: str) -> Layout:
        """`(..., h, w)`, or `(h, w, c)` with c up to 4, a color picture if c is 3.

        Raises:
            InvalidArgument: If it has fewer than two axes, or an empty one.
        """
        good = len(shape) >= 2 and min(shape) > 0
        require(good, argument, expected="an array (h, w), (h, w, c) or (..., h, w)", got=shape)
        last = len(shape) == 3 and shape[-1] <= 4 < min(shape[:2])
        return cls(shape, 0, 2 if shape[-1] == 3 else None) if last else cls(shape, len(shape) - 2)

    def with_channels(self, channels: Channels, axis: int | None = None) -> Layout:
        """The layout with the channels together or apart.

        Arguments:
            channels: What to do.
            axis: The axis of the channels; by default the last one, if it is not that of the
                columns, or the one before the rows.

        Raises:
            InvalidArgument: If they are to be together and are not three.
        """
        if channels is Channels.AUTO:
            return self
        if channels is Channels.APART:
            return replace(self, color=None)
        after = len(self.shape) - 1
        axis = self.color if axis is None else axis
        axis = axis if axis is not None else (after if after > self.rows + 1 else self.rows - 1)
        count = self.shape[axis] if axis >= 0 else 1
        require(count == 3, "--channels", expected="three channels for color", got=count)
        return replace(self, color=axis)

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        return self.shape[self.rows], self.shape[self.rows + 1]

    @property
    def pictures(self) -> list[Index]:
        """An index for each picture of the stack, complete but for the rows and columns."""
        mine = (self.rows, self.rows + 1, self.color)
        ranges = [[slice(None)] if i in mine else range(n) for i, n in enumerate(self.shape)]
        return list(product(*ranges))

    def at(self, picture: Index, rows: slice, columns: slice) -> Index:
        """The index of a part of a picture."""
        return *picture[: self.rows], rows, columns, *picture[self.rows + 2 :]

    def spans(self, index: Index) -> tuple[range, range]:
        """The rows and the columns of an index."""
        pairs = zip(index[self.rows : self.rows + 2], self.size, strict=True)
        rows, columns = (range(n)[i] for i, n in pairs if isinstance(i, slice))
        return rows, columns

    def scaled(self, scale: int) -> Layout:
        """The layout of the result."""
        height, width = (scale * n for n in self.size)
        shape = (*self.shape[: self.rows], height, width, *self.shape[self.rows + 2 :])
        return replace(self, shape=shape)

    def planes(self, values: NDArray[Any]) -> NDArray[Any]:
        """Entries of a part of a picture as `(c, h, w)`."""
        if self.color is None:
            return values[None]
        return np.moveaxis(values, -1, 0) if self.color > self.rows else values

    def entries(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Planes `(c, h, w)` in the order of the file's axes; the inverse of `planes`."""
        if self.color is None:
            return planes[0]
        return np.moveaxis(planes, 0, -1) if self.color > self.rows else planes

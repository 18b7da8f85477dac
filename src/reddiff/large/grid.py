"""Windows of a large picture, and the parts of the result that are complete when they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_count
from reddiff.priors.tiled import ramp, starts


@dataclass(frozen=True)
class Box:
    """Rows and columns.

    Arguments:
        rows: The rows, a slice without a step.
        columns: The columns.
    """

    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def times(self, scale: int) -> Box:
        """The same place in a picture that is `scale` times higher and wider."""
        scaled = (slice(s.start * scale, s.stop * scale) for s in (self.rows, self.columns))
        return Box(*scaled)

    def inside(self, other: Box) -> tuple[Box, Box] | None:
        """The part that two boxes share, counted from the corner of each; None if there is none."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        shared = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
        if any(start >= stop for start, stop in shared):
            return None
        corners = [(box.rows.start, box.columns.start) for box in (self, other)]
        mine, its = (
            Box(*(slice(a - c, b - c) for (a, b), c in zip(shared, corner, strict=True)))
            for corner in corners
        )
        return mine, its

    def __str__(self) -> str:
        """The place in words."""
        return (
            f"rows {self.rows.start} to {self.rows.stop - 1}, "
            f"columns {self.columns.start} to {self.columns.stop - 1}"
        )


@dataclass(frozen=True)
class Grid:
    """Windows that cover a picture.

    Arguments:
        size: The height and width of the picture.
        window: The side of a window, in its pixels.
        overlap: How far neighbors overlap at least.
        scale: How many times higher and wider the result is.
        chunk: Parts of the result begin at multiples of this height and width.

    Raises:
        InvalidArgument: If the overlap does not fit the window.
    """

    size: tuple[int, int]
    window: int
    overlap: int
    scale: int = 1
    chunk: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        require_count("--window", self.window, 16)
        require_count("--overlap", self.overlap, 1)
        expected = f"less than half the window, {self.window / 2:g} pixels"
        require(2 * self.overlap < self.window, "--overlap", expected=expected, got=self.overlap)

    @cached_property
    def windows(self) -> list[list[Box]]:
        """The windows, row by row."""
        rows, columns = (
            [slice(s, min(s + self.window, n)) for s in starts(n, self.window, self.overlap)]
            for n in self.size
        )
        return [[Box(down, across) for across in columns] for down in rows]

    @cached_property
    def parts(self) -> list[list[Box]]:
        """The parts of the result, row by row; they do not overlap."""
        found: list[list[slice]] = []
        for n, chunk in zip(self.size, self.chunk, strict=True):
            begin = (self.scale * s for s in starts(n, self.window, self.overlap))
            edges = sorted({start // chunk * chunk for start in begin} | {n * self.scale})
            found.append([slice(a, b) for a, b in pairwise(edges)])
        return [[Box(rows, columns) for columns in found[1]] for rows in found[0]]

    def weights(self, window: Box) -> Float[Tensor, "h w"]:
        """The weights of a window in the result: less than 1 where others overlap it."""
        overlap, like = self.overlap * self.scale, torch.empty(0, dtype=torch.float64)
        ramps = [
            ramp(like, (s.stop - s.start) * self.scale, overlap, s.start == 0, s.stop == n)
            for s, n in zip((window.rows, window.columns), self.size, strict=True)
        ]
        return ramps[0][:, None] * ramps[1]

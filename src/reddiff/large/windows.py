"""The work on one window, and on one part of the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import Diverged
from reddiff.images.io.picture import FLOATS, Picture
from reddiff.images.jobs import lane_of
from reddiff.images.level import choose_level
from reddiff.images.restoration import restore_with
from reddiff.images.settings import Settings
from reddiff.large.formats.base import Source
from reddiff.large.grid import Box, Grid
from reddiff.large.layout import Index
from reddiff.large.tasks import WindowTask
from reddiff.large.values import as_type, missing
from reddiff.priors.base import Prior
from reddiff.results import Status

SAMPLES, SIDE = 16, 256  # windows that the noise level is estimated from, and their largest side


@dataclass(frozen=True)
class Read:
    """A window of the source.

    Arguments:
        values: `(c, h, w)`, as in the file.
        pixels: In [0, 1], and 0 where values are missing.
        valid: Which values are there.
        kept: Which pixels the mask keeps; None without a mask.
    """

    values: NDArray[Any]
    pixels: Float[Tensor, "c h w"]
    valid: Bool[Tensor, "c h w"]
    kept: Bool[Tensor, "1 h w"] | None

    @property
    def known(self) -> bool:
        """Whether anything is measured."""
        return bool(self.valid.any() if self.kept is None else (self.valid & self.kept).any())


@dataclass(frozen=True)
class Work:
    """What every window needs.

    Arguments:
        source: The degraded picture.
        grid: The windows.
        task: What makes their tasks.
        settings: With the noise level of all windows.
        prior: The prior.
        limits: The values of black and white.
        nodata: The value of missing pixels, beside NaN.
        mask: The mask of `inpaint`.
        white: Values of the mask from this one on are kept.
    """

    source: Source
    grid: Grid
    task: WindowTask
    settings: Settings
    prior: Prior
    limits: tuple[float, float]
    nodata: float | None = None
    mask: Source | None = None
    white: float = 0.5

    def read(self, picture: Index, box: Box) -> Read:
        """A window of a picture."""
        layout, (low, high) = self.source.layout, self.limits
        values = layout.planes(self.source.read(layout.at(picture, box.rows, box.columns)))
        gone = missing(values, self.nodata)
        pixels = (np.where(gone, low, values).astype(np.float64) - low) / (high - low)
        kept = None
        if self.mask is not None:
            masked = self.mask.layout
            found = self.mask.read(masked.at(masked.pictures[0], box.rows, box.columns))
            kept = torch.from_numpy(found >= self.white)[None]
        valid = torch.from_numpy(np.ascontiguousarray(~gone))
        planes = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
        return Read(values, planes, valid, kept)

    def restore(self, picture: Index, box: Box) -> NDArray[np.float32]:
        """The pixels of a restored window in [0, 1]; 0 where nothing is measured.

        Its random numbers depend on the seed, its content and its place.

        Raises:
            Diverged: If a value became NaN or inf.
        """
        read = self.read(picture, box)
        if not read.known:
            channels, (height, width) = len(read.pixels), box.times(self.grid.scale).size
            return np.zeros((channels, height, width), np.float32)
        task = self.task.window(read.valid, read.kept)
        digest = sha256(f"{picture}{box.rows.start},{box.columns.start}".encode())
        for part in (read.pixels, read.valid, read.kept):
            digest.update(b"" if part is None else part.numpy().tobytes())
        result = restore_with(
            Picture(read.pixels, None, FLOATS),
            replace(self.settings, task=task, prior=self.prior),
            lane=lane_of(digest.hexdigest()),
        )
        if result.status == Status.DIVERGED:
            raise Diverged(f"the window of {box} diverged: a value became NaN or inf")
        return result.pixels.numpy()

    def blend(
        self, picture: Index, part: Box, windows: Iterable[tuple[Box, NDArray[Any]]]
    ) -> NDArray[Any]:
        """The values of a part of the result, in the order of the file's axes.

        Missing values are those of the source, except where the mask asks for them.

        Arguments:
            picture: The picture.
            part: The part.
            windows: The windows that lie in it, and their pixels.
        """
        scale, (low, high) = self.grid.scale, self.limits
        layout = self.source.layout
        total = np.zeros((1 if layout.color is None else layout.shape[layout.color], *part.size))
        weight = np.zeros(part.size)
        for box, pixels in windows:
            if (shared := part.inside(box.times(scale))) is None:
                continue
            mine, its = ((b.rows, b.columns) for b in shared)
            each = self.grid.weights(box).numpy()[its]
            total[:, *mine] += each * pixels[:, *its]
            weight[mine] += each
        values = as_type(low + (high - low) * (total / weight), self.source.dtype, self.nodata)
        covered = Box(*(slice(s.start // scale, -(-s.stop // scale)) for s in _slices(part)))
        read = self.read(picture, covered)
        gone = ~read.valid if read.kept is None else ~read.valid & read.kept
        cut = tuple(
            slice(s.start - scale * c.start, s.stop - scale * c.start)
            for s, c in zip(_slices(part), _slices(covered), strict=True)
        )
        if bool(gone.any()):
            old, left = (
                a.repeat(scale, -2).repeat(scale, -1)[:, *cut] for a in (read.values, gone.numpy())
            )
            values = np.where(left, old, values)
        return layout.entries(values)

    def noise_level(self) -> float | None:
        """The median of the levels estimated in windows spread over all pictures."""
        pictures = self.source.layout.pictures
        places = [(p, box) for p in pictures for row in self.grid.windows for box in row]
        levels = []
        for picture, whole in places[:: -(-len(places) // SAMPLES)]:
            middle = (
                slice(max(s.start, (s.start + s.stop - SIDE) // 2), s.stop) for s in _slices(whole)
            )
            box = Box(*(slice(s.start, min(s.start + SIDE, s.stop)) for s in middle))
            read = self.read(picture, box)
            if not read.known:
                continue
            task, shown = self.task.window(read.valid, read.kept), Picture(read.pixels)
            pixels = task.reading(read.pixels).pixels
            level, _ = choose_level(None, pixels, shown, task, [])
            levels += [] if level is None else [level]
        return float(np.median(levels)) if levels else None


def _slices(box: Box) -> tuple[slice, slice]:
    return box.rows, box.columns

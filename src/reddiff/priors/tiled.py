"""A prior that looks at large images in overlapping tiles."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.priors.around import Around
from reddiff.priors.base import Prior


class TiledPrior(Around):
    """The estimates of a prior on overlapping tiles, blended by smooth weights.

    The solver still works on the whole image: only the network sees tiles, so neither y nor the
    noise knows of them, and memory is that of one tile plus the image itself.

    Arguments:
        inner: The prior, for `(c, h, w)` of any h and w, or of one fixed square size: smaller
            images are then extended to it, by repeating the edge, and cut.
        tile: The side of a tile in pixels; by default 512, or that of the inner prior.
        overlap: How far neighbors overlap, less than half a tile; by default 64, or a quarter of a
            smaller tile.

    Raises:
        InvalidArgument: If the overlap does not fit the tile, or the tile the inner prior.
    """

    def __init__(self, inner: Prior, tile: int | None = None, overlap: int | None = None) -> None:
        sides = set(inner.shape[1:])
        fixed = next(iter(sides)) if len(sides) == 1 else None
        good = len(inner.shape) == 3 and (sides == {None} or fixed is not None)
        expected = "a prior for (c, h, w) of any size, or of one square size"
        require(good, "inner", expected=expected, got=f"one for {inner.shape}")
        tile = (fixed or 512) if tile is None else tile
        overlap = min(64, tile // 4) if overlap is None else overlap
        super().__init__(inner, (inner.shape[0], None, None))
        good = 0 < overlap < tile / 2
        require(good, "overlap", expected=f"between 1 and {tile / 2:g} pixels", got=overlap)
        good = fixed in (None, tile)
        require(good, "tile", expected=f"{fixed}, as the prior's", got=tile)
        self.tile, self.overlap, self.errors = tile, overlap, inner.errors
        self.least = fixed or 1

    def denoise(self, x: Float[Tensor, "b c h w"], sigma: Tensor) -> Float[Tensor, "b c h w"]:
        """The inner estimates, blended."""
        height, width = x.shape[-2:]
        more = [max(self.least - n, 0) for n in (width, height)]
        if any(more):
            x = pad(x, (0, more[0], 0, more[1]), mode="replicate")
        return self._blended(x, sigma)[..., :height, :width]

    def _blended(self, x: Tensor, sigma: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if max(height, width) <= self.tile:
            return self.inner.denoise(x, sigma)
        total = torch.zeros_like(x)
        weight = x.new_zeros(1, 1, height, width)
        for top in starts(height, self.tile, self.overlap):
            for left in starts(width, self.tile, self.overlap):
                rows, columns = slice(top, top + self.tile), slice(left, left + self.tile)
                part = self.inner.denoise(x[..., rows, columns].contiguous(), sigma)
                window = self._window(x, top, left, *part.shape[-2:])
                total[..., rows, columns] += part * window
                weight[..., rows, columns] += window
        return total / weight

    def _window(self, x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
        """Weights of one tile: 1 inside and towards the image's border, a ramp towards others."""
        down = self._ramp(x, height, top == 0, top + height == x.shape[-2])
        across = self._ramp(x, width, left == 0, left + width == x.shape[-1])
        return down[:, None] * across

    def _ramp(self, like: Tensor, size: int, first: bool, last: bool) -> Tensor:
        # The outer eighth of the overlap has no weight: there the network lacks context.
        dead = self.overlap // 8
        rise = torch.linspace(0, torch.pi, self.overlap - 2 * dead + 2, device=like.device)
        rise = pad((1 - rise[1:-1].cos()) / 2, (dead, 0)).to(like.dtype) + 1e-6
        ones = like.new_ones(size)
        up = ones.clone()
        if not first:
            up[: len(rise)] = rise
        if not last:
            up[size - len(rise) :] *= rise.flip(0)
        return up


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis: evenly spread, neighbors overlapping by `overlap` or more.

    Arguments:
        size: The length of the axis.
        tile: The length of a tile.
        overlap: The least overlap.
    """
    if size <= tile:
        return [0]
    count = -(-(size - overlap) // (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]

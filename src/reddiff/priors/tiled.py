"""A prior that processes large images in overlapping tiles."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.priors.around import Around
from reddiff.priors.base import Prior


class TiledPrior(Around):
    """Applies a prior to overlapping tiles and blends the estimates with smooth weights.

    The solver still works on the whole image; only the network is applied to tiles. y, A and the
    noise are not affected. The memory needed is that of one tile plus the image.

    Arguments:
        inner: A prior for `(c, h, w)` with any h and w, or with one fixed square size. In the
            latter case smaller images are padded, by repeating the edge, and cropped again.
        tile: The side of a tile in pixels; by default 512, or the fixed size of the inner prior.
        overlap: The overlap of adjacent tiles in pixels, less than half a tile; by default 64, or
            a quarter of the tile if that is smaller.

    Raises:
        InvalidArgument: If the inner prior is neither, if the overlap is not between 0 and half a
            tile, or if the tile is not the fixed size.
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
        """The estimates on tiles, blended."""
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
        """Weights of a tile: 1 inside and at the image border, a ramp towards adjacent tiles."""
        down = ramp(x, height, self.overlap, top == 0, top + height == x.shape[-2])
        across = ramp(x, width, self.overlap, left == 0, left + width == x.shape[-1])
        return down[:, None] * across


def ramp(like: Tensor, size: int, overlap: int, first: bool, last: bool) -> Float[Tensor, " size"]:
    """Weights of a tile along an axis: 1 inside and at the image border, a ramp elsewhere.

    The outer eighth of the overlap has almost no weight, because the network lacks context there.

    Arguments:
        like: A tensor of the dtype and on the device of the weights.
        size: The length of the tile.
        overlap: How far the weights rise, in pixels.
        first: Whether the tile begins at the image's border.
        last: Whether it ends there.
    """
    dead = overlap // 8
    rise = torch.linspace(0, torch.pi, overlap - 2 * dead + 2, device=like.device)
    rise = pad((1 - rise[1:-1].cos()) / 2, (dead, 0)).to(like.dtype) + 1e-6
    up = like.new_ones(size)
    if not first:
        up[: len(rise)] = rise
    if not last:
        up[size - len(rise) :] *= rise.flip(0)
    return up


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """The first pixels of evenly spaced tiles along an axis.

    Arguments:
        size: The length of the axis.
        tile: The length of a tile.
        overlap: The smallest overlap of adjacent tiles.
    """
    if size <= tile:
        return [0]
    count = -(-(size - overlap) // (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]

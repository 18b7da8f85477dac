"""Color filter arrays, for demosaicing: a sensor measures one color at each pixel."""

from __future__ import annotations

from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.mask import Selection
from reddiff.operators.shapes import check_y_shape


class BayerPattern(Enum):
    """The colors of the top left 2 x 2 pixels, row by row."""

    RGGB = "RGGB"
    BGGR = "BGGR"
    GRBG = "GRBG"
    GBRG = "GBRG"


class Bayer(Selection):
    """The Bayer color filter array: y `(b, 3, h, w)` is x at the measured color, 0 elsewhere.

    Half of the pixels measure green, a quarter red and a quarter blue. Images may have any size.

    Arguments:
        pattern: The arrangement of the colors.

    Raises:
        InvalidArgument: If `pattern` is not a BayerPattern, or, when applied, if x does not have
            3 channels.

    References:
        B. E. Bayer, US patent 3971065, "Color imaging array", 1976.
    """

    tile: Tensor

    def __init__(self, pattern: BayerPattern = BayerPattern.RGGB) -> None:
        super().__init__()
        known = isinstance(pattern, BayerPattern)
        expected = f"one of {', '.join(map(str, BayerPattern))}"
        require(known, "pattern", expected=expected, got=repr(pattern))
        self.pattern = pattern
        colors = torch.tensor(["RGB".index(letter) for letter in pattern.value]).view(2, 2)
        tile = torch.arange(3)[:, None, None] == colors
        self.register_buffer("tile", tile, persistent=False)

    def extra_repr(self) -> str:
        return self.pattern.name

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "3, h, w")
        got = f"(b, {', '.join(map(str, y_shape))})"
        require(y_shape[0] == 3, "y", expected="shape (b, 3, h, w)", got=got)
        return y_shape

    def spectrum(self, z: Float[Tensor, "b c h w"]) -> Tensor:
        """The mask `(3, h, w)`: 1 where the pixel measures that channel, 0 elsewhere."""
        require(z.shape[1] == 3, "x", expected="shape (b, 3, h, w)", got=tuple(z.shape))
        h, w = z.shape[-2:]
        return self.tile.repeat(1, -(-h // 2), -(-w // 2))[:, :h, :w].to(z.dtype)

    def initial_estimate(self, y: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Bilinear demosaicing: the mean of the adjacent pixels of that color; 0 without any."""
        seen = self.spectrum(y)
        tent = torch.tensor([0.5, 1.0, 0.5], dtype=y.dtype, device=y.device)
        kernel = torch.outer(tent, tent).expand(3, 1, 3, 3)
        weight = conv2d(seen[None], kernel, padding=1, groups=3)
        total = conv2d(torch.where(seen > 0, y, 0), kernel, padding=1, groups=3)
        mean = torch.where(weight > 0, total / torch.where(weight > 0, weight, 1), 0)
        return torch.where(seen > 0, y, mean)

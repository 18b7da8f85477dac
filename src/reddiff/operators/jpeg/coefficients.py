"""The linear part of JPEG: DCT coefficients in units of the quantization steps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.jpeg import color
from reddiff.operators.jpeg.color import SIDE
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.spectral import SpectralOperator

# The matrix from R, G, B to Y, Cb, Cr, without the offset of 128 (T.871, Clause 7).
_TO_YCC = (
    color.LUMA,
    tuple(((i == 2) - weight) / 1.772 for i, weight in enumerate(color.LUMA)),
    tuple(((i == 0) - weight) / 1.402 for i, weight in enumerate(color.LUMA)),
)


class JPEGCoefficients(SpectralOperator):
    r"""The DCT coefficients of JPEG before rounding: :math:`y = Q^{-1} T\,S\,C\,x`.

    C converts RGB to luma and chroma, S subsamples chroma, T is the orthonormal DCT of 8 x 8 blocks
    and Q holds the quantization steps. A file stores y rounded to integers, up to a constant: see
    `measure`. `JPEG` also models clipping and decoding.

    A unit is the group of pixels, 8 x 8 to 16 x 16, that share a block of chroma. A acts in the
    same way on each unit, so that one small singular value decomposition serves all of them.

    y is `(b, rows, columns, m)`, with m numbers per unit: the blocks of luma, then Cb and Cr, each
    with 64 coefficients in row-major (not zigzag) order. x is `(b, c, h, w)`, where h and w are
    multiples of the unit; pad other images first, as encoders do. x and y have the orientation
    stored in the file: `codec.orientation` is not applied.

    Arguments:
        codec: Provides the quantization tables, shared or per lane, the subsampling, and the range
            of x.
        channels: The number of channels of x: 3 for RGB, 1 for gray.

    References:
        | Information Technology: Digital Compression and Coding of Continuous-Tone Still Images
        | (ITU-T Recommendation T.81, 1992), Annex A.3, https://www.w3.org/Graphics/JPEG/itu-t81.pdf

    Raises:
        InvalidArgument: If `channels` is not 1 or 3, or, when applied, if the sides of x are not
            multiples of the unit.
    """

    singular: Tensor
    left: Tensor
    right: Tensor
    middle: Tensor

    def __init__(self, codec: JPEG, channels: int = 3) -> None:
        super().__init__()
        require(channels in (1, 3), "channels", expected="1 or 3", got=channels)
        self.channels = channels
        self.unit = self.unit_of(codec, channels)
        rows, columns = self.unit[0] // SIDE, self.unit[1] // SIDE
        tables = (codec.tables if codec.batched else codec.tables[None]).double()
        scale = 255 / (codec.high - codec.low)
        size = channels * math.prod(self.unit)
        x = torch.eye(size, dtype=tables.dtype, device=tables.device)
        a = _coefficients(scale * x.view(size, channels, *self.unit), (rows, columns))
        steps = _steps(tables, rows * columns, channels)
        left, singular, right = torch.linalg.svd(a.mT / steps[..., None])
        value = (128 + codec.low * scale) * SIDE / steps  # encoders subtract 128 from luma
        first = torch.arange(steps.shape[1], device=steps.device)
        luma = (first % SIDE**2 == 0) & (first < rows * columns * SIDE**2)
        parts = {
            "singular": pad(singular, (0, size - singular.shape[1])),
            "left": left,
            "right": right.mT.contiguous(),
            "middle": torch.where(luma, value, 0),
        }
        for name, part in parts.items():
            part = part[:, None] if part.ndim == 2 else part  # broadcasts over the units of a lane
            self.register_buffer(name, part if codec.batched else part[0], persistent=False)
        self.batched = tuple(parts) if codec.batched else ()

    @staticmethod
    def unit_of(codec: JPEG, channels: int) -> tuple[int, int]:
        """The height and width of a unit in pixels."""
        rows, columns = codec.subsampling.value if channels == 3 else (1, 1)
        return rows * SIDE, columns * SIDE

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "rows, columns, m")
        m = self.left.shape[-1]
        require(y_shape[2] == m, "y", expected=f"{m} coefficients per unit", got=y_shape[2])
        return self.channels, y_shape[0] * self.unit[0], y_shape[1] * self.unit[1]

    def measure(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b r q m"]:
        """The y stored in a JPEG file that decodes to x: integers, except for the DC of luma.

        Encoders subtract 128 from luma, which a linear A cannot do: the DC coefficients of luma
        are therefore integers plus a constant. Encoding the decoded x again recovers almost all
        coefficients of the file, 99.8 % of them up to quality 50.
        """
        middle = self.middle[:, None].to(x) if self.batched else self.middle.to(x)
        return (self(x) - middle).round() + middle

    def spectrum(self, z: Float[Tensor, "b r q n"]) -> Tensor:
        singular = self.singular.to(z)
        return singular[:, None] if self.batched else singular

    def v(self, z: Float[Tensor, "b r q n"]) -> Float[Tensor, "b c h w"]:
        parts = self._times(z, self.right.mT).unflatten(3, (self.channels, *self.unit))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def vt(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b r q n"]:
        (c, h, w), (height, width) = x.shape[1:], self.unit
        good = c == self.channels and h % height == 0 and w % width == 0
        expected = f"{self.channels} channels, and sides that are multiples of {height} x {width}"
        require(good, "x", expected=expected, got=(c, h, w))
        parts = x.unflatten(3, (-1, width)).unflatten(2, (-1, height)).permute(0, 2, 4, 1, 3, 5)
        return self._times(parts.flatten(3), self.right)

    def u(self, z: Float[Tensor, "b r q n"]) -> Float[Tensor, "b r q m"]:
        return self._times(z[..., : self.left.shape[-1]], self.left.mT)

    def ut(self, y: Float[Tensor, "b r q m"]) -> Float[Tensor, "b r q n"]:
        z = self._times(y, self.left)
        return pad(z, (0, self.right.shape[-1] - z.shape[-1]))

    def _times(self, rows: Tensor, matrix: Tensor) -> Tensor:
        """The coordinates of each unit, as row vectors, times the matrix of the lane."""
        matrix = matrix.to(rows)
        return rows @ (matrix[:, None] if self.batched else matrix)


def _coefficients(levels: Float[Tensor, "n c h w"], factors: tuple[int, int]) -> Tensor:
    """The DCT coefficients of n units, `(n, m)`, before division by the quantization steps."""
    planes = levels
    if levels.shape[1] == 3:
        planes = torch.einsum("ij,njhw->nihw", levels.new_tensor(_TO_YCC), levels)
    chroma = avg_pool2d(planes[:, 1:], factors) if levels.shape[1] == 3 else planes[:, 1:]
    cosines = levels.new_tensor(_COSINES)
    found = []
    for plane in (planes[:, :1], chroma):
        blocks = plane.unflatten(2, (-1, SIDE)).unflatten(4, (-1, SIDE)).transpose(3, 4)
        found.append((cosines @ blocks @ cosines.mT).flatten(1))
    return torch.cat(found, 1)


def _steps(tables: Float[Tensor, "b 2 8 8"], blocks: int, channels: int) -> Float[Tensor, "b m"]:
    """The quantization step of each coefficient of a unit."""
    luma, chroma = tables.flatten(2).unbind(1)
    return torch.cat([luma.repeat(1, blocks), chroma.repeat(1, channels - 1)], 1)


# The orthonormal DCT; rows are frequencies.
_COSINES = [
    [
        math.sqrt((2 if k else 1) / SIDE) * math.cos(math.pi * k * (2 * j + 1) / (2 * SIDE))
        for j in range(SIDE)
    ]
    for k in range(SIDE)
]

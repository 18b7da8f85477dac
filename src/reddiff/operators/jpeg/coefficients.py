"""JPEG's linear part: the cosine coefficients of a picture, in the steps of its quantiser."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.jpeg import codec
from reddiff.operators.jpeg.codec import SIDE
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.linear import SpectralOperator
from reddiff.operators.shapes import check_y_shape

# Y, Cb and Cr of R, G and B, without their middle (T.871, Clause 7).
_TO_YCC = (
    codec.LUMA,
    tuple(((i == 2) - weight) / 1.772 for i, weight in enumerate(codec.LUMA)),
    tuple(((i == 0) - weight) / 1.402 for i, weight in enumerate(codec.LUMA)),
)


class JPEGCoefficients(SpectralOperator):
    r"""What a JPEG encoder rounds: :math:`y = Q^{-1} T\,S\,C\,x`, in steps of its quantiser.

    C takes RGB to luma and chroma, S halves the size of chroma (as the codec's subsampling says),
    T is the orthonormal cosine transform of blocks of 8 x 8, and Q is the table of steps. A file
    holds y rounded to whole numbers, but for a constant: see `measure`. `JPEG` is the same with
    rounding, clipping and decoding in it.

    Units of a picture that share their chroma, 8 x 8 to 16 x 16 pixels, are independent and alike,
    so that one small singular value decomposition, made with the operator, is that of all.

    y is `(b, rows, columns, m)`, by unit: its blocks of luma, in rows, then Cb and Cr, each with
    its 64 coefficients in rows (not in zigzag order). x is `(b, c, h, w)` of whole units; others
    are to be extended first, as encoders do. Both are in the orientation of the file, whatever
    `codec.orientation` says.

    Arguments:
        codec: Its tables, subsampling and range of x; of tables per lane if it has those.
        channels: Of x: 3, RGB, or 1, gray.

    References:
        | Information Technology: Digital Compression and Coding of Continuous-Tone Still Images
        | (ITU-T Recommendation T.81, 1992), Annex A.3, https://www.w3.org/Graphics/JPEG/itu-t81.pdf

    Raises:
        InvalidArgument: If channels are not 1 or 3, or (when used) x is not of whole units.
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
        value = (128 + codec.low * scale) * SIDE / steps  # 128 levels are taken off before
        first = torch.arange(steps.shape[1], device=steps.device)
        luma = (first % SIDE**2 == 0) & (first < rows * columns * SIDE**2)
        parts = {
            "singular": pad(singular, (0, size - singular.shape[1])),
            "left": left,
            "right": right.mT.contiguous(),
            "middle": torch.where(luma, value, 0),
        }
        for name, part in parts.items():
            part = part[:, None] if part.ndim == 2 else part  # a row per lane
            self.register_buffer(name, part if codec.batched else part[0], persistent=False)
        self.batched = tuple(parts) if codec.batched else ()

    @staticmethod
    def unit_of(codec: JPEG, channels: int) -> tuple[int, int]:
        """The height and width of the pixels that share their chroma."""
        rows, columns = codec.subsampling.value if channels == 3 else (1, 1)
        return rows * SIDE, columns * SIDE

    def x_shape(self, y_shape: Shape) -> Shape:
        check_y_shape(y_shape, 3, "rows, columns, m")
        m = self.left.shape[-1]
        require(y_shape[2] == m, "y", expected=f"{m} coefficients of a unit", got=y_shape[2])
        return self.channels, y_shape[0] * self.unit[0], y_shape[1] * self.unit[1]

    def measure(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b r q m"]:
        """The y of a file that decodes to x: whole numbers, but for a constant in those of luma.

        The constant is what an encoder takes off x: a linear A cannot. Coding x anew finds nearly
        all numbers of its file, 99.8 % of them up to quality 50.
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
        expected = f"{self.channels} channels of whole units, {height} x {width}"
        require(good, "x", expected=expected, got=(c, h, w))
        parts = x.unflatten(3, (-1, width)).unflatten(2, (-1, height)).permute(0, 2, 4, 1, 3, 5)
        return self._times(parts.flatten(3), self.right)

    def u(self, z: Float[Tensor, "b r q n"]) -> Float[Tensor, "b r q m"]:
        return self._times(z[..., : self.left.shape[-1]], self.left.mT)

    def ut(self, y: Float[Tensor, "b r q m"]) -> Float[Tensor, "b r q n"]:
        z = self._times(y, self.left)
        return pad(z, (0, self.right.shape[-1] - z.shape[-1]))

    def _times(self, rows: Tensor, matrix: Tensor) -> Tensor:
        """Rows of a unit each, times the matrix of the lane."""
        matrix = matrix.to(rows)
        return rows @ (matrix[:, None] if self.batched else matrix)


def _coefficients(levels: Float[Tensor, "n c h w"], factors: tuple[int, int]) -> Tensor:
    """The coefficients of units, `(n, m)`, not yet divided by any step."""
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
    """The step of each coefficient of a unit."""
    luma, chroma = tables.flatten(2).unbind(1)
    return torch.cat([luma.repeat(1, blocks), chroma.repeat(1, channels - 1)], 1)


# The orthonormal cosine transform: rows are frequencies.
_COSINES = [
    [
        math.sqrt((2 if k else 1) / SIDE) * math.cos(math.pi * k * (2 * j + 1) / (2 * SIDE))
        for j in range(SIDE)
    ]
    for k in range(SIDE)
]

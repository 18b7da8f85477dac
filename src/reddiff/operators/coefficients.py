"""JPEG's linear part: the cosine coefficients of a picture, in the steps of its quantiser."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from reddiff.errors import require
from reddiff.operators import codec
from reddiff.operators.base import LinearOperator, Shape
from reddiff.operators.codec import SIDE
from reddiff.operators.jpeg import JPEG

# Y, Cb and Cr of R, G and B, without their middle (T.871, Clause 7).
_TO_YCC = (
    codec.LUMA,
    tuple((float(i == 2) - v) / 1.772 for i, v in enumerate(codec.LUMA)),
    tuple((float(i == 0) - v) / 1.402 for i, v in enumerate(codec.LUMA)),
)


class JPEGCoefficients(LinearOperator):
    r"""What a JPEG encoder rounds: :math:`y = Q^{-1} T\,S\,C\,x`, in steps of its quantiser.

    C takes RGB to luma and chroma, S halves the size of chroma (as `subsampling` says), T is the
    orthonormal cosine transform of blocks of 8 x 8, and Q is the table of steps. With the noise
    `Rounded(1.0, sigma)` it is the likelihood of a JPEG file: a fine step says much, and a
    coefficient of zero only that it is less than half a step. `JPEG` is the same with rounding and
    decoding in it.

    Sides that are no multiple of a block are extended by their last samples, as the reference
    software does. y is `(b, M)`: luma, Cb, Cr, each block after block in rows, each block row after
    row. No spectrum is known for all sizes; data steps take conjugate gradients.

    Arguments:
        codec: Its tables, subsampling and range of x; a set of tables per lane if it has.
        shape: That of one x, `(3, h, w)` RGB or `(1, h, w)` gray.

    References:
        | Information Technology: Digital Compression and Coding of Continuous-Tone Still Images
        | (ITU-T Recommendation T.81, 1992), Annex A.3, https://www.w3.org/Graphics/JPEG/itu-t81.pdf

    Raises:
        InvalidArgument: If the shape is not that of a picture.
    """

    tables: Tensor

    def __init__(self, codec: JPEG, shape: Shape) -> None:
        super().__init__()
        good = len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0
        require(good, "shape", expected="(3, h, w) or (1, h, w)", got=shape)
        self.subsampling, self.low, self.high = codec.subsampling, codec.low, codec.high
        self.shape = tuple(shape)
        self.register_buffer("tables", codec.tables)
        self.batched = codec.batched

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each plane of coefficients."""
        h, w = self.shape[1:]
        rows, columns = self.subsampling.value
        chroma = (_up(-(-h // rows)), _up(-(-w // columns)))
        return [(_up(h), _up(w)), chroma, chroma][: self.shape[0]]

    def x_shape(self, y_shape: Shape) -> Shape:
        """That given."""
        count = sum(h * w for h, w in self.sizes)
        expected = f"shape (b, {count}), the coefficients of {self.shape}"
        require(y_shape == (count,), "y", expected=expected, got=("b", *y_shape))
        return self.shape

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b m"]:
        """The coefficients."""
        got, expected = tuple(x.shape[1:]), f"shape (b, {', '.join(map(str, self.shape))})"
        require(got == self.shape, "x", expected=expected, got=("b", *got))
        planes = self.planes(x * self._scale)
        return torch.cat([self._blocks(p, i).flatten(1) for i, p in enumerate(planes)], 1)

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b c h w"]:
        """A^T y."""
        h, w = self.shape[1:]
        rows, columns = self.subsampling.value
        found = []
        for i, plane in enumerate(self._planes(y, inverse=False)):
            if i and (rows, columns) != (1, 1):
                small = _fold(plane, -(-h // rows), plane.shape[2])
                large = small.repeat_interleave(rows, 1).repeat_interleave(columns, 2)
                found.append(_fold(large / (rows * columns), h, w))
            else:
                found.append(_fold(plane, h, w))
        return self._scale * _mix(torch.stack(found, 1), transpose=True)

    def guess(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b c h w"]:
        """The picture that a decoder shows, up to its whole numbers."""
        h, w = self.shape[1:]
        rows, columns = self.subsampling.value
        luma, *chroma = self._planes(y, inverse=True)
        planes = [luma[:, :h, :w]]
        for plane in chroma:
            small = plane[:, : -(-h // rows), : -(-w // columns)]
            planes.append(codec.spread(small, rows, columns, whole=False)[:, :h, :w])
        x = planes[0][:, None] if not chroma else _to_rgb(*planes)
        return (x / self._scale).clamp(self.low, self.high)

    def planes(self, levels: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Luma and chroma of levels, extended to whole blocks."""
        rows, columns = self.subsampling.value
        h, w = levels.shape[2:]
        luma, *chroma = _mix(levels).unbind(1)
        found = [codec.extend(luma, -h % SIDE, -w % SIDE)]
        for plane in chroma:
            full = codec.extend(plane, -h % rows, -w % (columns * SIDE))
            small = avg_pool2d(full[:, None], (rows, columns))[:, 0]
            found.append(codec.extend(small, -small.shape[1] % SIDE, 0))
        return found

    @property
    def _scale(self) -> float:
        """Levels per unit of x."""
        return 255 / (self.high - self.low)

    def _steps(self, i: int, like: Tensor) -> Tensor:
        """The table of a plane, to be divided by, for blocks `(b, rows, columns, 8, 8)`."""
        tables = self.tables if self.batched else self.tables[None]
        return tables[:, min(i, 1), None, None].to(like)

    def _blocks(self, plane: Float[Tensor, "b h w"], i: int) -> Float[Tensor, "b r q 8 8"]:
        blocks = plane.unflatten(1, (-1, SIDE)).unflatten(3, (-1, SIDE)).transpose(2, 3)
        m = _transform(plane)
        return m @ blocks @ m.mT / self._steps(i, plane)

    def _planes(self, y: Float[Tensor, "b m"], *, inverse: bool) -> list[Tensor]:
        """The planes of coefficients, by the inverse transform or the transpose of `_blocks`."""
        self.x_shape(tuple(y.shape[1:]))
        m = _transform(y)
        planes, start = [], 0
        for i, (h, w) in enumerate(self.sizes):
            blocks = y[:, start : start + h * w].unflatten(1, (h // SIDE, w // SIDE, SIDE, SIDE))
            steps = self._steps(i, y)
            blocks = m.mT @ (blocks * steps if inverse else blocks / steps) @ m
            planes.append(blocks.transpose(2, 3).flatten(3, 4).flatten(1, 2))
            start += h * w
        return planes


@lru_cache
def _cosines() -> list[list[float]]:
    """The orthonormal cosine transform: rows are frequencies."""
    return [
        [
            math.sqrt((2 if k else 1) / SIDE) * math.cos(math.pi * k * (2 * j + 1) / (2 * SIDE))
            for j in range(SIDE)
        ]
        for k in range(SIDE)
    ]


def _transform(like: Tensor) -> Tensor:
    return like.new_tensor(_cosines())


def _mix(x: Tensor, *, transpose: bool = False) -> Tensor:
    """Y, Cb and Cr of three channels, or the transpose; gray is luma."""
    if x.shape[1] == 1:
        return x
    m = x.new_tensor(_TO_YCC)
    return torch.einsum("ji,bjhw->bihw" if transpose else "ij,bjhw->bihw", m, x)


def _to_rgb(luma: Tensor, blue: Tensor, red: Tensor) -> Tensor:
    """The inverse of `_mix`."""
    r, b = luma + 1.402 * red, luma + 1.772 * blue
    g = (luma - codec.LUMA[0] * r - codec.LUMA[2] * b) / codec.LUMA[1]
    return torch.stack([r, g, b], 1)


def _fold(plane: Float[Tensor, "b H W"], h: int, w: int) -> Float[Tensor, "b h w"]:
    """The transpose of `codec.extend`."""
    plane = torch.cat([plane[:, : h - 1], plane[:, h - 1 :].sum(1, keepdim=True)], 1)
    return torch.cat([plane[..., : w - 1], plane[..., w - 1 :].sum(2, keepdim=True)], 2)


def _up(n: int) -> int:
    """The next multiple of a block's side."""
    return -(-n // SIDE) * SIDE

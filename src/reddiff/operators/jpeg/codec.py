"""The stages of a baseline JPEG encoder and decoder, in exact integers, on tensors.

Every value is a whole number held in float64, where sums of products stay exact; a shift to the
right is `_shift`. The rounding of each stage is that of the reference software of the Independent
JPEG Group, which most files in the world went through.

References:
    | Information Technology: Digital Compression and Coding of Continuous-Tone Still Images (ITU-T
    | Recommendation T.81, 1992), Annexes A and K, https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    | JPEG File Interchange Format (ITU-T Recommendation T.871, 2011), Clause 7 (color)
    | Practical Fast 1-D DCT Algorithms with 11 Multiplications (Loeffler, Ligtenberg & Moschytz,
    | 1989), https://doi.org/10.1109/ICASSP.1989.266596
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require

SIDE = 8  # of a block
BITS = 13  # of the fraction of a constant of the transform
COLOR_BITS = 16
LUMA = (0.299, 0.587, 0.114)  # of R, G and B

# Tables K.1 and K.2 of T.81: quality 50.
_LUMA = """
16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55   14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62   18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
_CHROMA = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99"""


def standard_tables(quality: int) -> Int[Tensor, "2 8 8"]:
    """The quantisation tables of luma and chroma that encoders make for a quality.

    Arguments:
        quality: From 1 to 100.

    Raises:
        InvalidArgument: If the quality is no integer of that range.
    """
    good = isinstance(quality, int) and 1 <= quality <= 100
    require(good, "quality", expected="an integer from 1 to 100", got=repr(quality))
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = torch.tensor([[int(n) for n in text.split()] for text in (_LUMA, _CHROMA)])
    return ((base * percent + 50) // 100).clamp(1, 255).view(2, SIDE, SIDE)


@lru_cache
def _transform() -> list[list[int]]:
    """The cosine transform times 2^13 sqrt(8), of whole numbers: rows are frequencies.

    The flow graph of Loeffler, Ligtenberg and Moschytz has constants that are rounded to 13 bits,
    and an entry of the matrix is a sum of up to four of them.
    """
    c = [math.sqrt(2) * math.cos(k * math.pi / 16) for k in range(8)]

    def fix(value: float) -> int:
        return round(value * 2**BITS)

    one, low = 2**BITS, fix(c[6])
    high, deep = low + fix(c[2] - c[6]), low - fix(c[2] + c[6])
    even = [[one, one, one, one], [high, low, -low, -high], [one, -one, -one, one]]
    even.append([low, deep, -deep, -low])
    all_ = fix(c[3])  # of every pair of pixels; the others are of two pairs, and of one
    a, b, d, e = fix(c[7] - c[3]), fix(-c[1] - c[3]), fix(-c[3] - c[5]), fix(c[5] - c[3])
    own_7, own_5 = fix(c[3] + c[5] - c[1] - c[7]), fix(c[1] + c[3] - c[5] + c[7])
    own_3, own_1 = fix(c[1] + c[3] + c[5] - c[7]), fix(c[1] + c[3] - c[5] - c[7])
    odd = [  # over the differences of the pairs, from the outer to the inner
        [all_ + a + e + own_1, all_, all_ + e, all_ + a],
        [all_, all_ + b + d + own_3, all_ + b, all_ + d],
        [all_ + e, all_ + b, all_ + b + e + own_5, all_],
        [all_ + a, all_ + d, all_, all_ + a + d + own_7],
    ]
    rows = []
    for sums, differences in zip(even, odd, strict=True):
        rows += [sums + sums[::-1], differences + [-n for n in reversed(differences)]]
    return rows


def transform(blocks: Float[Tensor, "... 8 8"]) -> Float[Tensor, "... 8 8"]:
    """8 times the cosine transform of blocks of samples, rows first."""
    m = _matrix(blocks)
    half = _shift(blocks @ m.mT, BITS - 2)
    return _shift(m @ half, BITS + 2)


def inverse(coefficients: Float[Tensor, "... 8 8"]) -> Float[Tensor, "... 8 8"]:
    """The samples of cosine coefficients, columns first."""
    m = _matrix(coefficients)
    half = _shift(m.mT @ coefficients, BITS - 2)
    return _shift(half @ m, BITS + 5)


def requantise(
    plane: Float[Tensor, "b h w"], table: Int[Tensor, "#b 8 8"]
) -> Float[Tensor, "b h w"]:
    """What is left of a plane of samples 0 ... 255 once its coefficients are multiples of a table.

    Sides that are no multiple of 8 are filled with their last samples.
    """
    h, w = plane.shape[1:]
    full = extend(plane, -h % SIDE, -w % SIDE)
    rows, columns = full.shape[1] // SIDE, full.shape[2] // SIDE
    blocks = full.unflatten(1, (rows, SIDE)).unflatten(3, (columns, SIDE)).transpose(2, 3) - 128
    step = table[:, None, None].to(plane)
    size = transform(blocks)
    count = ((size.abs() + 4 * step) / (8 * step)).floor()  # halves away from zero
    samples = (inverse(size.sign() * count * step) + 128).clamp(0, 255)
    return samples.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :h, :w]


def to_ycc(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Whole Y, Cb and Cr, 0 ... 255, of whole R, G and B."""
    weights = (LUMA, (-0.16874, -0.33126, 0.5), (0.5, -0.41869, -0.08131))
    whole = [[round(v * 2**COLOR_BITS) for v in row] for row in weights]
    mixed = torch.einsum("ij,bjhw->bihw", rgb.new_tensor(whole), rgb)
    half = 2 ** (COLOR_BITS - 1)
    middle = 128 * 2**COLOR_BITS
    start = rgb.new_tensor([half, middle + half - 1, middle + half - 1])
    return ((mixed + start[:, None, None]) / 2**COLOR_BITS).floor()


def to_rgb(ycc: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Whole R, G and B, 0 ... 255, of whole Y, Cb and Cr."""
    y, cb, cr = ycc[:, 0], ycc[:, 1] - 128, ycc[:, 2] - 128
    weights = (1.402, 1.772, 0.71414, 0.34414)
    red, blue, green_r, green_b = (round(v * 2**COLOR_BITS) for v in weights)
    r, b = y + _shift(red * cr, COLOR_BITS), y + _shift(blue * cb, COLOR_BITS)
    g = y + _shift(-green_b * cb - green_r * cr, COLOR_BITS)
    return torch.stack([r, g, b], 1).clamp(0, 255)


def shrink(plane: Float[Tensor, "b h w"], rows: int, columns: int) -> Float[Tensor, "b h2 w2"]:
    """Whole means of blocks of rows x columns.

    Halves are rounded down and up by turns in blocks of 1 x 2 and 2 x 2, and up in others.

    The last column is repeated up to whole blocks of means (the last row after it, if at all).
    """
    h, w = plane.shape[1:]
    full = extend(plane, -h % rows, -w % (columns * SIDE))
    if rows * columns == 1:
        return full
    sums = full.unflatten(2, (-1, columns)).sum(3).unflatten(1, (-1, rows)).sum(2)
    if columns != 2:
        return ((sums + rows * columns // 2) / (rows * columns)).floor()
    turn = torch.arange(sums.shape[2], device=plane.device) % 2
    return ((sums + turn + (rows == 2)) / (rows * columns)).floor()


def spread(
    plane: Float[Tensor, "b h2 w2"], rows: int, columns: int, *, whole: bool
) -> Float[Tensor, "b h w"]:
    """The plane `rows` times as high and `columns` times as wide, by linear interpolation.

    Samples are repeated instead where the reference software does it: 4 times as wide, and in
    planes of one or two columns that become wider.

    Arguments:
        plane: The samples.
        rows: 1 or 2.
        columns: 1, 2 or 4.
        whole: Round to whole numbers, halves down and up by turns.
    """
    if columns == 4 or (columns == 2 and plane.shape[2] <= 2):
        return plane.repeat_interleave(rows, 1).repeat_interleave(columns, 2)
    sums = plane if rows == 1 else _tent(plane, 1)
    sums = sums if columns == 1 else _tent(sums, 2)
    parts = 4 ** ((rows == 2) + (columns == 2))
    if not whole:
        return sums / parts
    axis, start, step = (1, 1, 1) if columns == 1 else (2, 8, -1) if rows == 2 else (2, 1, 1)
    turn = torch.arange(sums.shape[axis], device=plane.device) % 2
    bias = start + step * (turn[:, None] if axis == 1 else turn)
    return ((sums + bias) / parts).floor() if parts > 1 else sums


def _tent(plane: Tensor, axis: int) -> Tensor:
    """Twice as many samples along an axis: 3 times the nearer and once the other neighbour."""
    n = plane.shape[axis]
    before = torch.cat([plane.narrow(axis, 0, 1), plane.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([plane.narrow(axis, 1, n - 1), plane.narrow(axis, n - 1, 1)], axis)
    pair = torch.stack([3 * plane + before, 3 * plane + after], axis + 1)
    return pair.flatten(axis, axis + 1)


def extend(plane: Float[Tensor, "b h w"], down: int, right: int) -> Float[Tensor, "b H W"]:
    """The plane with its last row and column repeated."""
    return pad(plane, (0, right, 0, down), mode="replicate") if down or right else plane


def _matrix(like: Tensor) -> Tensor:
    return like.new_tensor(_transform())


def _shift(value: Tensor, bits: int) -> Tensor:
    """value / 2^bits, to the nearest whole number, halves up."""
    return (value / 2**bits + 0.5).floor()

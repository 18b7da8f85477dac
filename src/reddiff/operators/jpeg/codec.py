"""The discrete cosine transform (DCT) and quantization of JPEG, in integer arithmetic.

Values are integers stored as float64, in which sums of products are exact. Every stage rounds as
libjpeg does, the software of the Independent JPEG Group that wrote most JPEG files.

References:
    | Information Technology: Digital Compression and Coding of Continuous-Tone Still Images (ITU-T
    | Recommendation T.81, 1992), Annex A, https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    | Practical Fast 1-D DCT Algorithms with 11 Multiplications (Loeffler, Ligtenberg & Moschytz,
    | 1989), https://doi.org/10.1109/ICASSP.1989.266596
"""

from __future__ import annotations

import math
from functools import lru_cache

from jaxtyping import Float, Int
from torch import Tensor

from reddiff.operators.jpeg.color import SIDE, extend, shift

BITS = 13  # fractional bits of the constants of the transform


@lru_cache
def _transform() -> list[list[int]]:
    """The DCT times 2^13 sqrt(8), as an integer matrix whose rows are frequencies.

    The constants in the flow graph of Loeffler, Ligtenberg and Moschytz are rounded to 13
    fractional bits; an entry of the matrix is a sum of up to four of them.
    """
    c = [math.sqrt(2) * math.cos(k * math.pi / 16) for k in range(8)]

    def fix(value: float) -> int:
        return round(value * 2**BITS)

    one, low = 2**BITS, fix(c[6])
    high, deep = low + fix(c[2] - c[6]), low - fix(c[2] + c[6])
    even = [[one, one, one, one], [high, low, -low, -high], [one, -one, -one, one]]
    even.append([low, deep, -deep, -low])
    all_ = fix(c[3])  # occurs in all entries; a, b, d, e in two per row, own_* in one
    a, b, d, e = fix(c[7] - c[3]), fix(-c[1] - c[3]), fix(-c[3] - c[5]), fix(c[5] - c[3])
    own_7, own_5 = fix(c[3] + c[5] - c[1] - c[7]), fix(c[1] + c[3] - c[5] + c[7])
    own_3, own_1 = fix(c[1] + c[3] + c[5] - c[7]), fix(c[1] + c[3] - c[5] - c[7])
    odd = [  # acts on differences x_j - x_(7-j), j = 0 ... 3
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
    """8 times the orthonormal DCT of blocks of samples, computed along rows first."""
    m = _matrix(blocks)
    half = shift(blocks @ m.mT, BITS - 2)
    return shift(m @ half, BITS + 2)


def inverse(coefficients: Float[Tensor, "... 8 8"]) -> Float[Tensor, "... 8 8"]:
    """The inverse DCT of blocks of coefficients, computed along columns first."""
    m = _matrix(coefficients)
    half = shift(m.mT @ coefficients, BITS - 2)
    return shift(half @ m, BITS + 5)


def requantise(
    plane: Float[Tensor, "b h w"], table: Int[Tensor, "#b 8 8"]
) -> Float[Tensor, "b h w"]:
    """A plane of samples (0 to 255) with its DCT coefficients rounded to multiples of `table`.

    Sides that are not multiples of 8 are padded by repeating the last sample.
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


def _matrix(like: Tensor) -> Tensor:
    return like.new_tensor(_transform())

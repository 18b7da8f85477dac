"""The color stages of JPEG: RGB to YCbCr and back, and chroma subsampling.

Values are integers stored as float64, rounded as in libjpeg.

References:
    | JPEG File Interchange Format (ITU-T Recommendation T.871, 2011), Clause 7
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

SIDE = 8  # side of a block of samples
COLOR_BITS = 16  # fractional bits of the weights
LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B


def to_ycc(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Convert R, G, B to Y, Cb, Cr; both are integers from 0 to 255."""
    weights = (LUMA, (-0.16874, -0.33126, 0.5), (0.5, -0.41869, -0.08131))
    whole = [[round(v * 2**COLOR_BITS) for v in row] for row in weights]
    mixed = torch.einsum("ij,bjhw->bihw", rgb.new_tensor(whole), rgb)
    half = 2 ** (COLOR_BITS - 1)
    middle = 128 * 2**COLOR_BITS
    start = rgb.new_tensor([half, middle + half - 1, middle + half - 1])
    return ((mixed + start[:, None, None]) / 2**COLOR_BITS).floor()


def to_rgb(ycc: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Convert Y, Cb, Cr to R, G, B; both are integers from 0 to 255."""
    y, cb, cr = ycc[:, 0], ycc[:, 1] - 128, ycc[:, 2] - 128
    weights = (1.402, 1.772, 0.71414, 0.34414)
    red, blue, green_r, green_b = (round(v * 2**COLOR_BITS) for v in weights)
    r, b = y + shift(red * cr, COLOR_BITS), y + shift(blue * cb, COLOR_BITS)
    g = y + shift(-green_b * cb - green_r * cr, COLOR_BITS)
    return torch.stack([r, g, b], 1).clamp(0, 255)


def shrink(plane: Float[Tensor, "b h w"], rows: int, columns: int) -> Float[Tensor, "b h2 w2"]:
    """Downsample a plane: rounded means of blocks of rows x columns.

    Halves are rounded up; in blocks of 1 x 2 and 2 x 2, they are rounded down and up alternately.
    The last column is repeated until the means fill blocks of 8. The last row is repeated until
    the number of rows is a multiple of `rows`.
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
    """Upsample a plane by `rows` and `columns`, by linear interpolation.

    Like libjpeg, it repeats samples instead for 4 columns, and for 2 columns if the plane has at
    most two.

    Arguments:
        plane: The samples.
        rows: 1 or 2.
        columns: 1, 2 or 4.
        whole: Whether to round to integers, halves alternately down and up.
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
    """4 times the plane at twice the resolution: 3 times the nearer sample plus the farther one."""
    n = plane.shape[axis]
    before = torch.cat([plane.narrow(axis, 0, 1), plane.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([plane.narrow(axis, 1, n - 1), plane.narrow(axis, n - 1, 1)], axis)
    pair = torch.stack([3 * plane + before, 3 * plane + after], axis + 1)
    return pair.flatten(axis, axis + 1)


def extend(plane: Float[Tensor, "b h w"], down: int, right: int) -> Float[Tensor, "b H W"]:
    """Pad a plane by repeating its last row and column."""
    return pad(plane, (0, right, 0, down), mode="replicate") if down or right else plane


def shift(value: Tensor, bits: int) -> Tensor:
    """value / 2^bits, rounded to the nearest integer, halves up."""
    return (value / 2**bits + 0.5).floor()

"""Pixel values other than 8- or 16-bit levels: floats and other integers."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reddiff.errors import PictureError, require
from reddiff.images.io.picture import FLOATS, SLACK, Picture

UNSIGNED, SIGNED, REAL = 1, 2, 3  # the sample formats of a TIFF


class Values(Enum):
    """The meaning of the numbers in a file."""

    LEVELS = auto()  # unsigned, up to 16 bits: 0 is black, the largest is white
    NUMBERS = auto()  # black and white are given by a range


def as_values(path: Path, sampleformat: int, bits: int) -> Values:
    """The meaning of numbers in this format.

    Raises:
        PictureError: If the format cannot be read.
    """
    if sampleformat == UNSIGNED and bits in (1, 2, 4, 8, 16):
        return Values.LEVELS
    known = {UNSIGNED: (32,), SIGNED: (8, 16, 32), REAL: (16, 32, 64)}
    if bits in known.get(sampleformat, ()):
        return Values.NUMBERS
    names = {UNSIGNED: "integers", SIGNED: "signed integers", REAL: "floats"}
    got = f"{names.get(sampleformat, 'numbers')} of {bits} bits"
    raise PictureError(path, expected="8 or 16 bits per channel, or floats", got=got)


def to_picture(array: NDArray[Any], value_range: tuple[float, float] | None) -> Picture:
    """A picture from numbers `(h, w, c)`, with black and white at the ends of the range.

    Floats in [0, 1] need no range. Values beyond the range are not clipped.

    Raises:
        InvalidArgument: If there is no range and one is needed, or values are not finite.
    """
    planes = np.moveaxis(array, -1, 0).astype(np.float64)
    colors = planes if len(planes) in (1, 3) else planes[:-1]
    finite = np.isfinite(planes)
    got = f"nan or inf in {planes.size - int(finite.sum())} of {planes.size}"
    require(bool(finite.all()), "image", expected="finite values", got=got)
    low, high = float(colors.min()), float(colors.max())
    if value_range is None:
        good = array.dtype.kind == "f" and low >= -SLACK and high <= 1 + SLACK
        expected = "floats in [0, 1], or the values of black and white (--range LOW,HIGH)"
        got = f"values from {low:.6g} to {high:.6g}"
        require(good, "image", expected=expected, got=got)
        black, white = 0.0, 1.0
    else:
        black, white = value_range
    colors = (colors - black) / (white - black)
    beyond = int(((colors < -SLACK) | (colors > 1 + SLACK)).sum())
    notes: tuple[str, ...] = ()
    if beyond:
        share = 100 * beyond / colors.size
        notes = (
            f"{beyond} values ({share:.2g} %) lie outside the range {black:g} to {white:g}: the "
            f"file has {low:.4g} to {high:.4g}.",
        )
    pixels = torch.from_numpy(colors.astype(np.float32))
    alpha = None
    if len(planes) in (2, 4):
        top = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        alpha = torch.from_numpy((planes[-1:] / top).clip(0, 1).astype(np.float32))
    return Picture(pixels, alpha, FLOATS, value_range=value_range, notes=notes)

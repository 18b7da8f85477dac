"""Quantization tables of JPEG."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.operators.jpeg.color import SIDE

# Tables K.1 and K.2 of T.81, which are those of quality 50.
_LUMA = """
16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55   14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62   18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
_CHROMA = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99"""


def standard_tables(quality: int) -> Int[Tensor, "2 8 8"]:
    """The quantization tables of luma and chroma that libjpeg uses for a quality.

    Arguments:
        quality: From 1 to 100.

    Raises:
        InvalidArgument: If `quality` is not an integer in that range.
    """
    good = isinstance(quality, int) and 1 <= quality <= 100
    require(good, "quality", expected="an integer from 1 to 100", got=repr(quality))
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = torch.tensor([[int(n) for n in text.split()] for text in (_LUMA, _CHROMA)])
    return ((base * percent + 50) // 100).clamp(1, 255).view(2, SIDE, SIDE)


def tables_of(quality: int | Tensor | None, per_lane: bool) -> Int[Tensor, "*b 2 8 8"]:
    """The tables for a quality, or for one quality per lane."""
    if not per_lane:
        if not isinstance(quality, int):
            got = repr(quality)
            raise InvalidArgument("quality", expected="an integer from 1 to 100", got=got)
        return standard_tables(quality)
    vector = isinstance(quality, Tensor) and quality.ndim == 1 and not quality.is_floating_point()
    if not isinstance(quality, Tensor) or not vector:
        raise InvalidArgument("quality", expected="whole numbers (b,)", got=repr(quality))
    return torch.stack([standard_tables(q) for q in quality.tolist()]).to(quality.device)


def check_tables(tables: Tensor, per_lane: bool) -> None:
    """Raise InvalidArgument unless the tables have the right shape and entries."""
    form = "(b, 2, 8, 8)" if per_lane else "(2, 8, 8)"
    shape = tuple(tables.shape)
    fits = shape[-3:] == (2, 8, 8) and len(shape) == (4 if per_lane else 3) and shape[0] > 0
    require(fits, "tables", expected=f"shape {form}", got=shape)
    good = bool(((tables >= 1) & (tables <= 65535) & (tables == tables.round())).all())
    got = f"values from {float(tables.min()):g} to {float(tables.max()):g}"
    require(good, "tables", expected="whole numbers from 1 to 65535", got=got)

"""Random complex masks ("codes") for coded diffraction patterns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.random import DRAWING, Keys


def uniform_codes(count: int, size: tuple[int, int], *, seed: int = 0) -> Float[Tensor, "k 2 h w"]:
    """Codes of modulus 1 and uniform random phase: `(count, 2, h, w)` (Re, Im), float64.

    Arguments:
        count: The number of codes, at least 1.
        size: (h, w) of the image, at least 1 each.
        seed: Random seed.

    Raises:
        InvalidArgument: If `count` or `size` is less than 1.
    """
    angle = 2 * math.pi * _uniform(count, size, seed)[0]
    return torch.stack([angle.cos(), angle.sin()], 1)


def octanary_codes(count: int, size: tuple[int, int], *, seed: int = 0) -> Float[Tensor, "k 2 h w"]:
    """Octanary codes: `(count, 2, h, w)` (Re, Im), float64.

    The phase factor is 1, -1, i or -i with equal probability. The modulus is sqrt(1/2) with
    probability 0.8 and sqrt(3) otherwise, so that its mean square is 1.

    Arguments:
        count: The number of codes, at least 1.
        size: (h, w) of the image, at least 1 each.
        seed: Random seed.

    Raises:
        InvalidArgument: If `count` or `size` is less than 1.

    References:
        | Phase Retrieval from Coded Diffraction Patterns (Candes, Li & Soltanolkotabi, 2015),
        | Equation 1.8
    """
    turn, size_of = _uniform(count, size, seed)
    modulus = torch.where(size_of < 0.8, math.sqrt(0.5), math.sqrt(3.0))
    quarter = (4 * turn).floor().long()
    signs = torch.tensor([[1, 0, -1, 0], [0, 1, 0, -1]], dtype=torch.float64)
    return torch.stack([modulus * part[quarter] for part in signs], 1)


def _uniform(count: int, size: tuple[int, int], seed: int) -> Float[Tensor, "2 k h w"]:
    least = min(count, *size)
    got = f"{count} of {size}"
    require(least >= 1, "count", expected="at least 1 code of at least 1 x 1", got=got)
    rng = Keys(seed, (0,)).at(DRAWING)
    return rng.rand_like(torch.empty(1, 2, count, *size, dtype=torch.float64))[0]

"""The orthonormal discrete cosine transform (DCT) of images of any size."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.fft import irfft, rfft


def dct2(x: Tensor) -> Tensor:
    r"""The orthonormal DCT-II along the last two axes.

    .. math:: z_k = \sqrt{2 / n} \sum_j x_j \cos(\pi k (2 j + 1) / (2 n)),\quad
        z_0 = \sqrt{1 / n} \sum_j x_j

    Computed with one real FFT per axis.

    References:
        J. Makhoul, "A fast cosine transform in one and two dimensions", IEEE Trans. ASSP, 1980.
    """
    return _dct(_dct(x).mT).mT


def idct2(z: Tensor) -> Tensor:
    """The inverse of `dct2`, which is also its transpose."""
    return _idct(_idct(z).mT).mT


def _dct(x: Tensor) -> Tensor:
    n = x.shape[-1]
    even_then_odd = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    a = rfft(even_then_odd) * _turn(n, x.dtype, x.device)
    z = torch.cat([a.real, -a.imag[..., 1 : (n + 1) // 2].flip(-1)], -1)
    return z * _scale(n, x.dtype, x.device)


def _idct(z: Tensor) -> Tensor:
    n = z.shape[-1]
    z = z / _scale(n, z.dtype, z.device)
    back = torch.cat([torch.zeros_like(z[..., :1]), z.flip(-1)[..., : n // 2]], -1)
    v = irfft(torch.complex(z[..., : n // 2 + 1], -back) * _turn(n, z.dtype, z.device).conj(), n=n)
    half = (n + 1) // 2
    x = torch.empty_like(v)
    x[..., ::2], x[..., 1::2] = v[..., :half], v[..., half:].flip(-1)
    return x


@lru_cache(maxsize=64)
def _turn(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """exp(-i pi k / (2 n)) for k = 0 ... n / 2."""
    with torch.inference_mode(False):  # autograd accepts it later
        angle = torch.arange(n // 2 + 1, dtype=dtype, device=device) * (-math.pi / (2 * n))
        return torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=64)
def _scale(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """sqrt(2 / n), and sqrt(1 / n) for k = 0."""
    with torch.inference_mode(False):
        scale = torch.full((n,), math.sqrt(2 / n), dtype=dtype, device=device)
        scale[0] = math.sqrt(1 / n)
        return scale

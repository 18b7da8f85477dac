"""The orthonormal discrete cosine transform of images, of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fft import irfft, rfft


def dct2(x: Tensor) -> Tensor:
    r"""The orthonormal DCT-II along the last two axes.

    .. math:: z_k = \sqrt{2 / n} \sum_j x_j \cos(\pi k (2 j + 1) / 2 n),\quad
        z_0 = \sqrt{1 / n} \sum_j x_j

    By one real FFT per axis.

    References:
        J. Makhoul, "A fast cosine transform in one and two dimensions", IEEE Trans. ASSP, 1980.
    """
    return _dct(_dct(x).mT).mT


def idct2(z: Tensor) -> Tensor:
    """The inverse of `dct2`, and its transpose."""
    return _idct(_idct(z).mT).mT


def _dct(x: Tensor) -> Tensor:
    n = x.shape[-1]
    even_then_odd = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    a = rfft(even_then_odd) * _turn(x)
    z = torch.cat([a.real, -a.imag[..., 1 : (n + 1) // 2].flip(-1)], -1)
    return z * _scale(x)


def _idct(z: Tensor) -> Tensor:
    n = z.shape[-1]
    z = z / _scale(z)
    back = torch.cat([torch.zeros_like(z[..., :1]), z.flip(-1)[..., : n // 2]], -1)
    v = irfft(torch.complex(z[..., : n // 2 + 1], -back) * _turn(z).conj(), n=n)
    half = (n + 1) // 2
    x = torch.empty_like(v)
    x[..., ::2], x[..., 1::2] = v[..., :half], v[..., half:].flip(-1)
    return x


def _turn(x: Tensor) -> Tensor:
    """exp(-i pi k / 2 n) for k = 0 ... n / 2."""
    n = x.shape[-1]
    angle = torch.arange(n // 2 + 1, dtype=x.dtype, device=x.device) * (-math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle)


def _scale(x: Tensor) -> Tensor:
    n = x.shape[-1]
    scale = torch.full((n,), math.sqrt(2 / n), dtype=x.dtype, device=x.device)
    scale[0] = math.sqrt(1 / n)
    return scale

"""Complex images as two real channels (Re, Im), and the centered Fourier transform."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import fft2, fftshift, ifft2, ifftshift

PLANE = (-2, -1)


def join(x: Float[Tensor, "*n 2 h w"]) -> Complex[Tensor, "*n h w"]:
    """Re + i Im."""
    return torch.complex(x[..., 0, :, :], x[..., 1, :, :])


def split(z: Complex[Tensor, "*n h w"]) -> Float[Tensor, "*n 2 h w"]:
    """(Re, Im)."""
    return torch.stack([z.real, z.imag], -3)


def fourier(z: Complex[Tensor, "*n h w"]) -> Complex[Tensor, "*n h w"]:
    """The orthonormal 2-D DFT, with the origins of space and frequency at (h // 2, w // 2)."""
    return fftshift(fft2(ifftshift(z, PLANE), norm="ortho"), PLANE)


def inverse_fourier(z: Complex[Tensor, "*n h w"]) -> Complex[Tensor, "*n h w"]:
    """The inverse, and adjoint, of `fourier`."""
    return fftshift(ifft2(ifftshift(z, PLANE), norm="ortho"), PLANE)

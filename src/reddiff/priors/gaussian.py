"""Gaussian priors; their posterior for a linear A and Gaussian noise has a closed form.

Computations use the dtype of the prior; use float64 for reference solutions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.priors.covariance import Covariance
from reddiff.priors.gaussian_posterior import GaussianPosterior
from reddiff.problem import Problem
from reddiff.random import Rng

Spectral = Callable[[Tensor], Tensor]


class GaussianBase(Prior):
    r"""A Gaussian prior N(m, C), of which a subclass gives the eigendecomposition of C."""

    trusted = True

    mean: Tensor

    @abstractmethod
    def eigen(self, like: Float[Tensor, "b *n"]) -> Covariance:
        """C for x with the shape of `like`, shared by all lanes."""

    def filter(self, v: Float[Tensor, "b *n"], f: Spectral) -> Float[Tensor, "b *n"]:
        """f(C) v, where f acts on the eigenvalues of C, which have a lane axis."""
        c = self.eigen(v)
        return c.back(f(c.variance) * c.to(v))

    @final
    def denoise(self, x: Float[Tensor, "b *n"], sigma: Tensor) -> Float[Tensor, "b *n"]:
        """m + C (C + sigma^2 I)^-1 (x - m)."""

        def wiener(c: Tensor) -> Tensor:
            return c / (c + per_lane(sigma.flatten(), c) ** 2)

        return self.mean + self.filter(x - self.mean, wiener)

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C v."""
        return self.filter(v, lambda c: c)

    @final
    def error_covariance(self, s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
        """(C^-1 + s^-2 I)^-1, which is exact."""
        return self.eigen(like).given(s)

    def sample(self, like: Float[Tensor, "b *n"], rng: Rng) -> Float[Tensor, "b *n"]:
        """Draws of x, one per lane, with the shape of `like`."""
        return self.mean + self.filter(rng.randn_like(like), torch.sqrt)

    def posterior(self, problem: Problem) -> GaussianPosterior:
        """The exact posterior of a linear problem with Gaussian noise.

        Raises:
            Unsupported: If the operator is not linear or the noise not Gaussian, or sigma is 0.
        """
        return GaussianPosterior(self, problem)


class GaussianPrior(GaussianBase):
    """N(mean, cov) with a dense covariance.

    Arguments:
        mean: `(*n)`, which is the shape of x.
        cov: `(N, N)`, symmetric positive semi-definite, N the number of entries of x.

    Raises:
        InvalidArgument: If the shapes do not match, or cov is not symmetric positive semi-definite.
    """

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        super().__init__(tuple(mean.shape))
        n = mean.numel()
        require(cov.shape == (n, n), "cov", expected=f"shape {(n, n)}", got=tuple(cov.shape))
        symmetric = torch.allclose(cov, cov.mT, rtol=1e-4, atol=1e-8)
        require(symmetric, "cov", expected="a symmetric matrix", got="an asymmetric one")
        c, q = torch.linalg.eigh(cov)
        least = float(c.min() / c.max().clamp(min=torch.finfo(c.dtype).tiny))
        psd = least > -1e-6
        require(psd, "cov", expected="no negative eigenvalue", got=f"{least:.3g} of the largest")
        self.register_buffer("mean", mean)
        self.register_buffer("c", c.clamp(min=0))
        self.register_buffer("q", q)

    c: Tensor
    q: Tensor

    def eigen(self, like: Float[Tensor, "b *n"]) -> Covariance:
        """Q diag(c) Q^T."""

        def to(v: Tensor) -> Tensor:
            return v.flatten(1) @ self.q

        def back(z: Tensor) -> Tensor:
            return (z @ self.q.mT).view(len(z), *like.shape[1:])

        return Covariance(self.c[None], to, back)


class GaussianRandomField(GaussianBase):
    r"""A periodic stationary Gaussian field with power spectrum :math:`|f|^{\gamma}`.

    f is in cycles per pixel. At f = 0 the power is that of the lowest frequency along the longer
    side. Channels are independent. Any height and width is accepted.

    Arguments:
        exponent: :math:`\gamma`; about -2 for natural images.
        std: The standard deviation of a pixel, the same at every size.
        mean: The mean of a pixel.
        channels: The number of channels.
        dtype: The floating-point dtype of computations.

    Raises:
        InvalidArgument: If `std` is not positive.
    """

    def __init__(
        self,
        exponent: float = -2.2,
        std: float = 0.5,
        mean: float = 0.0,
        channels: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__((channels, None, None))
        require(std > 0, "std", expected="a positive number", got=std)
        self.exponent, self.std = exponent, std
        self.register_buffer("mean", torch.tensor(mean, dtype=dtype))

    def spectrum(self, height: int, width: int) -> Float[Tensor, "h w2"]:
        """The eigenvalues of C at the frequencies of `torch.fft.rfft2`."""
        fy = fftfreq(height, dtype=self.mean.dtype, device=self.mean.device)[:, None]
        full = fftfreq(width, dtype=self.mean.dtype, device=self.mean.device)
        lowest = 1 / max(height, width)
        mean_power = self._power((fy**2 + full**2).sqrt(), lowest).mean()
        half = rfftfreq(width, dtype=self.mean.dtype, device=self.mean.device)
        return self._power((fy**2 + half**2).sqrt(), lowest) * self.std**2 / mean_power

    def _power(self, f: Tensor, lowest: float) -> Tensor:
        return torch.where(f == 0, lowest, f) ** self.exponent

    def eigen(self, like: Float[Tensor, "b c h w"]) -> Covariance:
        """C, whose eigenvalues are the power spectrum in all channels."""
        height, width = like.shape[-2:]

        def back(z: Tensor) -> Tensor:
            return irfft2(z, s=(height, width))

        return Covariance(self.spectrum(height, width)[None, None], rfft2, back)

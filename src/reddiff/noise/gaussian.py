"""Gaussian noise: one level per lane, one per entry, or an unknown level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported, require
from reddiff.lanes import per_lane
from reddiff.noise.base import Noise, check_numbers
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Gaussian(Noise):
    r"""White Gaussian noise, :math:`y = a + \sigma n`.

    Arguments:
        sigma: The standard deviation in the units of y, 0 or more: a number, or one per lane
            `(b,)`. With 0 there is no density, and solvers that need one refuse the problem.

    Raises:
        InvalidArgument: If sigma is negative or not finite.
    """

    sigma: float | Tensor

    def __post_init__(self) -> None:
        check_numbers("sigma", self.sigma, zero=True)

    @cached_property
    def noiseless(self) -> bool:
        """Whether any lane has sigma = 0."""
        return bool((torch.as_tensor(self.sigma) == 0).any())

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a + sigma n."""
        return a + per_lane(self.sigma, a) * rng.randn_like(a)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / (2 sigma^2) + log(sigma sqrt(2 pi))."""
        return _nll(y, a, self._positive(a))

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / sigma^2."""
        return (a - y) / self._positive(a) ** 2

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        return per_lane(self.sigma, a).expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        return (1 / self._positive(a) ** 2).expand_as(a)

    def scaled(self, factor: float) -> Gaussian:
        return replace(self, sigma=factor * self.sigma)

    def _positive(self, like: Tensor) -> Tensor:
        if self.noiseless:
            raise Unsupported(
                "Gaussian(sigma=0) has no density: expected sigma > 0 for a likelihood in nats"
            )
        return per_lane(self.sigma, like)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian(Noise):
    r"""Gaussian noise with a known level for every entry, :math:`y_i = a_i + \sigma_i n_i`.

    For one level per lane use `Gaussian`, which more solvers accept, and with which the default
    solver is faster.

    Arguments:
        sigma: The standard deviations in the units of y, positive, with the axes of y and
            broadcastable to it: `(1, 3, 1, 1)` is one level per channel. Values at unmeasured
            entries are not used.

    Raises:
        InvalidArgument: If sigma is not a tensor, or not positive and finite, or, in `check`, if it
            does not broadcast to y.
    """

    sigma: Tensor

    def __post_init__(self) -> None:
        tensor = isinstance(self.sigma, Tensor) and self.sigma.ndim >= 2
        got = tuple(self.sigma.shape) if isinstance(self.sigma, Tensor) else repr(self.sigma)
        require(tensor, "sigma", expected="a tensor (1 or b, ...) with the axes of y", got=got)
        good = bool((torch.isfinite(self.sigma) & (self.sigma > 0)).all())
        values = f"values from {float(self.sigma.min()):.4g} to {float(self.sigma.max()):.4g}"
        require(good, "sigma", expected="positive finite values", got=values)

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a + sigma n."""
        return a + self.sigma.to(a) * rng.randn_like(a)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / (2 sigma^2) + log(sigma sqrt(2 pi))."""
        return _nll(y, a, self.sigma.to(a))

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / sigma^2."""
        return (a - y) / self.sigma.to(a) ** 2

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        return self.sigma.to(a).expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        return (1 / self.sigma.to(a) ** 2).expand_as(a)

    def check(self, y: Tensor) -> None:
        """Raise InvalidArgument unless sigma broadcasts to y."""
        got = tuple(self.sigma.shape)
        fits = len(got) == y.ndim and all(n in (1, m) for n, m in zip(got, y.shape, strict=True))
        expected = f"a shape that broadcasts to y, {(f'1 or {len(y)}', *y.shape[1:])}"
        require(fits, "sigma", expected=expected, got=got)

    def scaled(self, factor: float) -> DiagonalGaussian:
        return replace(self, sigma=factor * self.sigma)

    def _per_lane(self) -> dict[str, Tensor]:
        return {} if len(self.sigma) == 1 else {"sigma": self.sigma}


@dataclass(frozen=True, eq=False)
class UnknownGaussian(Noise):
    r"""Gaussian noise with an unknown level per lane, :math:`y = a + \sigma n`.

    Solvers such as noise-aware RED-diff estimate sigma; the result is `Reconstruction.noise_level`.
    This noise can be neither sampled nor evaluated.
    """

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        raise self._unsupported()

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        raise self._unsupported()

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        raise self._unsupported()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        raise self._unsupported()

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        return torch.full_like(a, torch.nan)

    def scaled(self, factor: float) -> UnknownGaussian:
        return self

    def _unsupported(self) -> Unsupported:
        return Unsupported("UnknownGaussian: expected Gaussian(sigma), for a likelihood in nats")


def _nll(y: Tensor, a: Tensor, sigma: Tensor) -> Tensor:
    return ((y - a) / sigma) ** 2 / 2 + sigma.log() + math.log(2 * math.pi) / 2

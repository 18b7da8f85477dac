"""Noise models: what y is, given a = A(x). Every nll is a sum over y, in nats, per lane."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import InvalidArgument, Unsupported, require
from reddiff.lanes import lanes
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Noise(ABC):
    """The law of y given a = A(x), independent over entries."""

    @abstractmethod
    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """A draw of y."""

    @abstractmethod
    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """-log p(y | a) of each entry, in nats."""

    @abstractmethod
    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """Its derivative with respect to a."""

    @abstractmethod
    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """The standard deviation of each entry of y given a, in the units of y."""

    @abstractmethod
    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """That of the parabola of slope `grad_each` at a whose least value is at a = y.

        Finite and 0 or more everywhere. Where a can be a mean of y it is the Fisher information
        about a, 1 / std(a)^2, so that Gauss-Newton with it is Fisher scoring.
        """

    def nll(self, y: Tensor, a: Tensor, measured: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
        """-log p(y | a) in nats, summed over the measured entries of each lane."""
        return torch.where(measured, self.nll_each(y, a), 0).flatten(1).sum(1)

    def grad(self, y: Tensor, a: Tensor, measured: Bool[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """The derivative of `nll` with respect to a."""
        return torch.where(measured, self.grad_each(y, a), 0)

    def select(self, index: Tensor) -> Noise:
        """The noise of some of the lanes."""
        return self

    def check(self, y: Tensor) -> None:
        """Raise InvalidArgument if y `(b, ...)` cannot come from this noise."""


@dataclass(frozen=True, eq=False)
class Gaussian(Noise):
    r""":math:`y = a + \sigma n`.

    Arguments:
        sigma: The standard deviation in the units of y: a number, or one per lane `(b,)`.
            Zero is the noiseless limit, which has no density: solvers that need one say so.

    Raises:
        InvalidArgument: If sigma is negative or not finite.
    """

    sigma: float | Tensor

    def __post_init__(self) -> None:
        if isinstance(self.sigma, Tensor):
            good = bool((torch.isfinite(self.sigma) & (self.sigma >= 0)).all())
            vector = self.sigma.ndim in (0, 1)
            require(vector, "sigma", expected="a number or shape (b,)", got=self.sigma.shape)
        else:
            number = isinstance(self.sigma, Real)
            good = number and math.isfinite(self.sigma) and self.sigma >= 0
        require(good, "sigma", expected="finite values of 0 or more", got=self.sigma)

    @property
    def noiseless(self) -> bool:
        """Whether any lane has sigma = 0."""
        return bool((torch.as_tensor(self.sigma) == 0).any())

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a + sigma n."""
        return a + lanes(self.sigma, a) * rng.randn_like(a)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / (2 sigma^2) + log(sigma sqrt(2 pi))."""
        sigma = self._positive(a)
        return ((y - a) / sigma) ** 2 / 2 + sigma.log() + math.log(2 * math.pi) / 2

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / sigma^2."""
        return (a - y) / self._positive(a) ** 2

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """Sigma."""
        return lanes(self.sigma, a).expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """1 / sigma^2."""
        return (1 / self._positive(a) ** 2).expand_as(a)

    def select(self, index: Tensor) -> Gaussian:
        """Picks sigma where there is one per lane."""
        if isinstance(self.sigma, Tensor) and self.sigma.ndim == 1:
            return replace(self, sigma=self.sigma[index])
        return self

    def check(self, y: Tensor) -> None:
        """Check that a sigma per lane has as many lanes as y."""
        if isinstance(self.sigma, Tensor) and self.sigma.ndim == 1:
            got = f"{len(self.sigma)} values"
            expected = f"one value per lane of y, {len(y)}"
            require(len(self.sigma) == len(y), "sigma", expected=expected, got=got)

    def _positive(self, like: Tensor) -> Tensor:
        if self.noiseless:
            raise Unsupported(
                "Gaussian(sigma=0) has no density: expected sigma > 0 for a likelihood in nats"
            )
        return lanes(self.sigma, like)


@dataclass(frozen=True, eq=False)
class UnknownGaussian(Noise):
    r""":math:`y = a + \sigma n` with a :math:`\sigma` per lane that nobody knows.

    For solvers that find it as they go, such as noise-aware RED-diff; what they found is
    `Reconstruction.noise_level`. There is nothing to sample from, and no likelihood.
    """

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """Raises Unsupported."""
        raise self._unsupported()

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """Raises Unsupported."""
        raise self._unsupported()

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """Raises Unsupported."""
        raise self._unsupported()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """Raises Unsupported."""
        raise self._unsupported()

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """NaN."""
        return torch.full_like(a, torch.nan)

    def _unsupported(self) -> Unsupported:
        return Unsupported("UnknownGaussian: expected Gaussian(sigma), for a likelihood in nats")


@dataclass(frozen=True, eq=False)
class Poisson(Noise):
    r""":math:`g y \sim \mathrm{Poisson}(g a)`: y in the units of a, with g counts per unit.

    Below a = `floor` the negative log-likelihood goes on along its tangent where that falls
    towards larger a, and is constant elsewhere, so that a wrong sign is pushed back to the domain.

    Arguments:
        gain: Counts per unit of a, positive.
        floor: The least rate a, in units of a, positive; a millionth of a count by default.

    Raises:
        InvalidArgument: If gain or floor is not positive and finite, or (on `check`) y has
            negative entries.
    """

    gain: float
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.floor is None:
            object.__setattr__(self, "floor", 1e-6 / self.gain if self.gain else 1.0)
        for name in ("gain", "floor"):
            value = getattr(self, name)
            good = math.isfinite(value) and value > 0
            require(good, name, expected="a positive finite number", got=value)

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """Poisson(g a) / g, exact: by inversion below 64 counts, else as a sum of such draws.

        Raises:
            InvalidArgument: If a has negative entries.
        """
        least = float(a.min())
        require(least >= 0, "a", expected="rates of 0 or more", got=least)
        rate = (self.gain * a).double()
        pieces = (rate / 64).ceil().clamp(min=1)  # of each entry, whatever its neighbours need
        counts = torch.zeros_like(rate)
        for i in range(int(pieces.max())):
            counts += torch.where(i < pieces, _poisson(rate / pieces, rng.rand_like(rate)), 0)
        return (counts / self.gain).to(a.dtype)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g a - g y log(g a) + log (g y)!."""
        inside = a.clamp(min=self.floor)
        counts = self.gain * y
        value = self.gain * inside - torch.xlogy(counts, self.gain * inside)
        return value + torch.lgamma(counts + 1) + (a - inside) * self.grad_each(y, a)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g (1 - y / a)."""
        slope = self.gain * (1 - y / a.clamp(min=self.floor))
        return torch.where(a < torch.as_tensor(self.floor), slope.clamp(max=0), slope)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """sqrt(a / g), a no less than `floor`."""
        return (a.clamp(min=self.floor) / self.gain).sqrt()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g / a; below `floor`, what a step to y needs, and g / |a| where there is no slope.

        The latter keeps a step from crossing the kink that no count has at zero from either side.
        """
        floor = torch.as_tensor(self.floor).to(a)
        pushed = (a < floor) & (y > floor)
        reach = torch.where(pushed, (y - floor) / torch.where(pushed, y - a, 1), 1)
        return self.gain * reach / torch.where(pushed, floor, a.abs().clamp(min=self.floor))

    def check(self, y: Tensor) -> None:
        """Check that y has no negative entries."""
        least = float(y.min())
        if least < 0:
            raise InvalidArgument("y", expected="values of 0 or more under Poisson", got=least)


def _poisson(rate: Tensor, u: Tensor) -> Tensor:
    """Counts by inversion of the distribution function: the number of its values below u."""
    count = torch.zeros_like(rate)
    term = torch.exp(-rate)
    total = term.clone()
    k = 0
    while bool((below := u > total).any()) and k < 400:
        k += 1
        count += below
        term = term * rate / k
        total = total + term
    return count

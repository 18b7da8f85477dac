"""Distributions of the increments of random walks, as Gaussian scale mixtures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_count, require_positive
from reddiff.random import Rng

TINY = 1e-150  # lower bound on |u|, whose square does not underflow


@dataclass(frozen=True)
class Increments(ABC):
    """The distribution of an increment u, a scale mixture: u given w is N(0, w), w is random.

    Arguments:
        std: The standard deviation of u, positive.

    Raises:
        InvalidArgument: If `std` is not positive and finite.
    """

    std: float

    def __post_init__(self) -> None:
        require_positive("std", self.std)

    rate: float = 1.0  # the probability that an increment is not 0

    @abstractmethod
    def density(self, u: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """p(u), given that u is not 0."""

    @abstractmethod
    def variance(self, like: Tensor, rng: Rng) -> Tensor:
        """Draws of w, given that u is not 0."""

    @abstractmethod
    def variance_given(self, u: Tensor, rng: Rng) -> Tensor:
        """Draws of w given u, which is not 0."""


@dataclass(frozen=True)
class GaussianIncrements(Increments):
    """u is N(0, std^2): w = std^2 is constant."""

    def density(self, u: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        return torch.exp(-((u / self.std) ** 2) / 2) / (self.std * math.sqrt(2 * math.pi))

    def variance(self, like: Tensor, rng: Rng) -> Tensor:
        return torch.full_like(like, self.std**2)

    def variance_given(self, u: Tensor, rng: Rng) -> Tensor:
        return torch.full_like(u, self.std**2)


@dataclass(frozen=True)
class LaplaceIncrements(Increments):
    """p(u) = exp(-|u| / b) / (2 b) with b = std / sqrt(2): w is exponential with mean 2 b^2.

    References:
        | The Bayesian Lasso (Park and Casella, 2008), Section 2
    """

    @property
    def _b(self) -> float:
        return self.std / math.sqrt(2 * self.rate)

    def density(self, u: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        return torch.exp(-u.abs() / self._b) / (2 * self._b)

    def variance(self, like: Tensor, rng: Rng) -> Tensor:
        return -2 * self._b**2 * torch.log1p(-rng.rand_like(like))

    def variance_given(self, u: Tensor, rng: Rng) -> Tensor:
        """1 / w is inverse Gaussian with mean 1 / (b |u|) and shape 1 / b^2."""
        mean = 1 / (self._b * u.abs().clamp(min=TINY))
        return 1 / _inverse_gaussian(mean, self._b**-2, rng)


@dataclass(frozen=True)
class BernoulliLaplaceIncrements(LaplaceIncrements):
    """u is Laplace distributed with probability `rate`, and 0 otherwise.

    Arguments:
        std: The standard deviation of u, zeros included.
        rate: The probability that u is not 0, between 0 and 1.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.rate < 1, "rate", expected="between 0 and 1", got=self.rate)


@dataclass(frozen=True)
class StudentIncrements(Increments):
    """A scaled Student's t distribution: w is freedom scale^2 / chi-square(freedom).

    Arguments:
        std: The standard deviation of u.
        freedom: The degrees of freedom, an integer of at least 3, so that `std` is finite.
    """

    freedom: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("freedom", self.freedom, 3)

    @property
    def _size(self) -> float:
        """freedom scale^2, where the scale follows from the standard deviation."""
        return self.std**2 * (self.freedom - 2)

    def density(self, u: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        half = (self.freedom + 1) / 2
        constant = math.lgamma(half) - math.lgamma(self.freedom / 2)
        top = math.exp(constant) / math.sqrt(math.pi * self._size)
        return top * (1 + u**2 / self._size) ** -half

    def variance(self, like: Tensor, rng: Rng) -> Tensor:
        return self._size / _chi_square(like, self.freedom, rng)

    def variance_given(self, u: Tensor, rng: Rng) -> Tensor:
        return (self._size + u**2) / _chi_square(u, self.freedom + 1, rng)


def _chi_square(like: Tensor, freedom: int, rng: Rng) -> Tensor:
    return sum((rng.randn_like(like) ** 2 for _ in range(freedom)), torch.zeros_like(like))


def _inverse_gaussian(mean: Tensor, shape: float, rng: Rng) -> Tensor:
    """Draws from an inverse Gaussian distribution.

    References:
        | Generating Random Variates Using Transformations with Multiple Roots (Michael, Schucany
        | and Haas, 1976)
    """
    t = mean * rng.randn_like(mean) ** 2 / (2 * shape)
    root = 1 + t + (t * (t + 2)).sqrt()  # mean / root and mean * root solve the quadratic
    return torch.where(rng.rand_like(mean) < root / (1 + root), mean / root, mean * root)

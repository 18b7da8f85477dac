"""Priors with a known posterior, for use in specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from reddiff.priors import (
    BernoulliLaplaceIncrements,
    GaussianIncrements,
    GaussianMixture,
    GaussianRandomField,
    LaplaceIncrements,
    RandomWalk,
    StudentIncrements,
)
from reddiff.priors.increments import Increments
from reddiff.random import DRAWING, Keys

ExactPrior = GaussianRandomField | GaussianMixture | RandomWalk

INCREMENTS: dict[str, Callable[[float], Increments]] = {
    "gaussian": GaussianIncrements,
    "laplace": LaplaceIncrements,
    "student": StudentIncrements,
    "bernoulli-laplace": BernoulliLaplaceIncrements,
}


class Part(BaseModel):
    """A part of a spec; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldPrior(Part):
    """A Gaussian random field, whose posterior is known: `reddiff.priors.GaussianRandomField`."""

    exponent: float = -2.2
    std: float = Field(default=0.5, gt=0)

    def make(self, side: int | None) -> ExactPrior:
        """The prior, for images of any size."""
        return GaussianRandomField(self.exponent, self.std)


class MixturePrior(Part):
    """A mixture of Gaussians, whose posterior is known.

    The means of the `components` have independent Gaussian pixels of standard deviation `std`. Each
    component has the standard deviation `width` around its mean.
    """

    components: int = Field(default=4, ge=1)
    std: float = Field(default=0.5, gt=0)
    width: float = Field(default=0.1, gt=0)

    def make(self, side: int | None) -> ExactPrior:
        """The prior, for images with one channel and this side."""
        side = side or 8
        k, n = self.components, side * side
        like = torch.empty(k, 1, side, side, dtype=torch.float64)
        means = self.std * Keys(0, tuple(range(k))).at(DRAWING).randn_like(like)
        covs = self.width**2 * torch.eye(n, dtype=torch.float64).expand(k, n, n).clone()
        return GaussianMixture(torch.ones(k, dtype=torch.float64), means, covs)


class WalkPrior(Part):
    """A signal with independent increments: `reddiff.priors.RandomWalk`, of images 1 pixel high.

    The increments have the standard deviation `std`.
    """

    increments: Literal["gaussian", "laplace", "student", "bernoulli-laplace"] = "laplace"
    std: float = Field(default=0.14, gt=0)

    def make(self, side: int | None) -> ExactPrior:
        """The prior, for images with one channel, a height of 1 pixel and this width."""
        return RandomWalk(INCREMENTS[self.increments](self.std), side or 32)

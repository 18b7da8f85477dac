"""What a noisy y says of x, coordinate by coordinate, where A has a spectral form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.lanes import lanes
from reddiff.noise import Gaussian
from reddiff.operators.base import SpectralOperator
from reddiff.problem import Problem


@dataclass(frozen=True, eq=False)
class Measured:
    r"""What y says of the spectral coordinates of x.

    Arguments:
        operator: A.
        y: :math:`U^T y`, in units of y.
        s: The singular values, 1 where they are 0 or below the rounding error of the largest.
        sigma: sigma_y, in units of y, with all axes.
        seen: Where the singular values are neither.
    """

    operator: SpectralOperator
    y: Tensor
    s: Tensor
    sigma: Tensor
    seen: Bool[Tensor, "b *k"]

    @classmethod
    def of(cls, problem: Problem) -> Measured:
        """That of a problem with a spectral operator and Gaussian noise."""
        operator, noise = problem.operator, problem.noise
        assert isinstance(operator, SpectralOperator)  # noqa: S101  (`check` has seen to it)
        assert isinstance(noise, Gaussian)  # noqa: S101
        y = operator.ut(problem.y)
        s = operator.spectrum(y).expand_as(y)
        least = 100 * torch.finfo(y.dtype).eps * s.flatten(1).amax(1)
        seen = s > lanes(least, s)
        return cls(operator, y, torch.where(seen, s, 1), lanes(noise.sigma, y), seen)

    @property
    def scaled(self) -> Tensor:
        """y_i / s_i, 0 where nothing is seen."""
        return torch.where(self.seen, self.y / self.s, 0)

    def reach(self, level: Float[Tensor, " b"]) -> Bool[Tensor, "b *k"]:
        """Where y_i / s_i has no more noise than this level."""
        return self.seen & (self.sigma <= self.s * lanes(level, self.s))

    def fresh(self, level: Float[Tensor, " b"], eta_b: float) -> Float[Tensor, "b *k"]:
        """The noise that takes eta_b y_i / s_i to the level where it is within `reach`, else it."""
        wide = lanes(level, self.s).expand_as(self.s)
        rest = (wide**2 - (eta_b * self.sigma / self.s) ** 2).clamp(min=0).sqrt()
        return torch.where(self.reach(level), rest, wide)

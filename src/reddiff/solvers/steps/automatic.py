"""Chooses an exact method for conditional draws where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from jaxtyping import Float
from torch import Tensor

from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.steps.conditional import Conditional, PerturbAndSolve, Sharpened
from reddiff.solvers.steps.mcmc import HMC
from reddiff.spectral_view import SpectralView


@final
@dataclass(frozen=True)
class Automatic(Conditional):
    """`PerturbAndSolve` for a linear A and Gaussian noise, otherwise another method.

    Arguments:
        otherwise: The method for other problems.
        sharpen: Whether to use `Sharpened` if A has a spectral form.
    """

    otherwise: Conditional = field(default_factory=HMC)
    sharpen: bool = False

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        return self._of(problem)(problem, center, r, start, rng)

    def check(self, problem: Problem) -> None:
        """Raise Unsupported if the chosen method is not defined for the problem."""
        self._of(problem).check(problem)

    def _of(self, problem: Problem) -> Conditional:
        if self.sharpen and SpectralView.of(problem) is not None:
            return Sharpened()
        return PerturbAndSolve() if problem.linear_gaussian else self.otherwise

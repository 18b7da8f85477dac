"""Exact posteriors of Gaussian priors for linear problems with Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import per_lane
from reddiff.linalg import cg
from reddiff.operators.linear import LinearOperator
from reddiff.problem import Problem
from reddiff.random import DRAWING, Keys

if TYPE_CHECKING:
    from reddiff.priors.gaussian import GaussianBase


@dataclass(frozen=True, eq=False)
class GaussianPosterior:
    """p(x | y) for a Gaussian prior, a linear operator and Gaussian noise, without matrices.

    Arguments:
        prior: N(m, C).
        problem: The problem.
        tol: The relative residual at which conjugate gradients stop.
        iterations: The largest number of conjugate gradient iterations.

    Raises:
        Unsupported: If the operator is not linear, the noise not Gaussian, or its sigma 0.
    """

    prior: GaussianBase
    problem: Problem
    tol: float = 1e-12
    iterations: int = 5000

    def __post_init__(self) -> None:
        likelihood_sigma(self.problem)

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """m + C A^T (A C A^T + sigma_y^2 I)^-1 (y - A m)."""
        shape = (len(self.problem), *self.problem.x_shape)
        m = self.prior.mean.expand(shape)
        return m + self._gain(self.problem.residual(m))

    def covariance(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The posterior covariance times v: C v - C A^T (A C A^T + sigma_y^2 I)^-1 A C v."""
        cv = self.prior.covariance(v)
        return cv - self._gain(self._measure(cv))

    def sample(self, n: int, *, seed: int = 0) -> Float[Tensor, "b n *m"]:
        """n exact draws per lane, by Matheron's rule: joint draws of (x, y), corrected to y."""
        wide = Problem.select(self.problem, _spread(self.problem, n))
        keys = Keys(seed, tuple(range(len(self.problem)))).repeat(n)
        rng = keys.at(DRAWING)
        x = self.prior.sample(wide.y.new_empty(len(wide), *wide.x_shape), rng)
        y = wide.noise.sample(wide.operator(x), rng)
        gain = GaussianPosterior(self.prior, wide, self.tol, self.iterations)._gain
        return (x + gain(torch.where(wide.measured, wide.y - y, 0))).unflatten(0, (-1, n))

    def _measure(self, x: Tensor) -> Tensor:
        return torch.where(self.problem.measured, self.problem.operator(x), 0)

    def _gain(self, r: Tensor) -> Tensor:
        """C A^T (A C A^T + sigma_y^2 I)^-1 r."""
        operator = self.problem.linear
        var = per_lane(likelihood_sigma(self.problem), r) ** 2

        def back(v: Tensor) -> Tensor:
            return self.prior.covariance(operator.adjoint(v))

        def matvec(v: Tensor) -> Tensor:
            return self._measure(back(v)) + var * v

        return back(cg(matvec, r, tol=self.tol, iterations=self.iterations))


def dense_matrix(problem: Problem) -> Float[Tensor, "b M N"]:
    """The operator of a linear problem as a dense matrix, one per lane.

    Raises:
        Unsupported: If the operator is not linear.
    """
    if not isinstance(problem.operator, LinearOperator):
        raise Unsupported("posterior: expected a linear operator, got a nonlinear one")
    shape, b = problem.x_shape, len(problem)
    n = math.prod(shape)
    eye = torch.eye(n, dtype=problem.y.dtype, device=problem.y.device).view(n, *shape)
    columns = [problem.operator(e.expand(b, *shape)).flatten(1) for e in eye]
    return torch.stack(columns, 2) * problem.measured.flatten(1)[..., None]


def likelihood_sigma(problem: Problem) -> Tensor | float:
    """sigma_y of a linear problem with Gaussian noise.

    Raises:
        Unsupported: If the operator is not linear, the noise not Gaussian, or sigma 0.
    """
    if not problem.linear_gaussian:
        raise Unsupported(
            "posterior: expected a linear operator and Gaussian noise, got "
            f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
        )
    if bool((torch.as_tensor(problem.sigma_y) == 0).any()):
        raise Unsupported("posterior: expected sigma > 0, got sigma = 0")
    return problem.sigma_y


def _spread(problem: Problem, n: int) -> Tensor:
    return torch.arange(len(problem), device=problem.y.device).repeat_interleave(n)

"""The mean, and draws, of a Gaussian x given y, by conjugate gradients over y."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import per_lane
from reddiff.linalg import Map, cg
from reddiff.operators.base import Linearisation
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.base_sampler import vp_alpha
from reddiff.solvers.steps.proximal import LEAST_SIGMA

TOL, ITERATIONS = 1e-4, 30  # of the conjugate gradients, for solvers without a setting of their own


def conditioned(
    problem: Problem,
    x_0: Float[Tensor, "b *n"],
    near: Linearisation,
    covariance: Map,
    var_y: Tensor,
    *,
    iterations: int,
    tol: float = 0.0,
) -> Float[Tensor, "b *n"]:
    """x_0 + V A^T (var_y + A V A^T)^-1 (y - A x_0): x of mean x_0 and covariance V, given y.

    Arguments:
        problem: Of Gaussian noise.
        x_0: The mean of x before y.
        near: A at x_0.
        covariance: v -> V v.
        var_y: The variance of the noise, broadcastable with y.
        iterations: The most conjugate gradient steps.
        tol: Their tolerance.
    """

    def back(w: Tensor) -> Tensor:
        return covariance(near.pull(w))

    def matvec(w: Tensor) -> Tensor:
        return torch.where(problem.measured, var_y * w + near.push(back(w)), 0)

    r = torch.where(problem.measured, problem.y - near.a, 0)
    return x_0 + back(cg(matvec, r, tol=tol, iterations=iterations))


def moment_matched(
    problem: Problem,
    x_0: Float[Tensor, "b *n"],
    s: Float[Tensor, " b"],
    covariance: Map,
    *,
    iterations: int = ITERATIONS,
    tol: float = TOL,
) -> Float[Tensor, "b *n"]:
    """`conditioned` with the noise of the problem, and A linearized at x_0.

    Arguments:
        problem: Of Gaussian noise.
        x_0: The estimate at level s.
        s: The levels `(b,)`.
        covariance: v -> V v.
        iterations: The most conjugate gradient steps.
        tol: Their tolerance.
    """
    near = problem.operator.linearise(x_0)
    var_y = noise_variance(problem, near, x_0, s)
    return conditioned(problem, x_0, near, covariance, var_y, iterations=iterations, tol=tol)


def noise_variance(problem: Problem, near: Linearisation, x_0: Tensor, s: Tensor) -> Tensor:
    """sigma_y^2, broadcastable with y, with a little in the place of 0.

    Arguments:
        problem: Of Gaussian noise.
        near: A at x_0.
        x_0: The estimate at level s.
        s: The levels `(b,)`.
    """
    sigma = per_lane(problem.sigma_y, s)
    if bool((sigma == 0).any()):
        least = LEAST_SIGMA * s * vp_alpha(s) * problem.operator.norm(x_0, near)
        sigma = torch.where(sigma > 0, sigma, torch.where(least > 0, least, 1))
    return per_lane(sigma**2, problem.y)


def perturbed_data(problem: Problem, rng: Rng) -> Problem:
    """The problem with another draw of its Gaussian noise added to y."""
    y = problem.y + per_lane(problem.sigma_y, problem.y) * rng.randn_like(problem.y)
    return problem.derived(y=torch.where(problem.measured, y, 0))


def check_linear_gaussian(option: str, problem: Problem) -> None:
    """Raise Unsupported unless A is linear and the noise Gaussian, as an option needs it."""
    if not problem.linear_gaussian:
        got = f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
        raise Unsupported(f"{option}: expected a LinearOperator and Gaussian noise, got {got}")

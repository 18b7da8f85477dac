"""Conditional means of a Gaussian x given y, by conjugate gradients in the space of y."""

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

TOL, ITERATIONS = 1e-4, 30  # defaults of the conjugate gradients


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
    """x_0 + V A^T (var_y + A V A^T)^-1 (y - A x_0), the mean of x given y for x of N(x_0, V).

    Arguments:
        problem: A problem with Gaussian noise.
        x_0: The mean of x before y.
        near: A, linearized at x_0.
        covariance: v -> V v.
        var_y: The variance of the noise, which broadcasts to y.
        iterations: The largest number of conjugate gradient iterations.
        tol: The relative residual at which they stop.
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
        problem: A problem with Gaussian noise.
        x_0: The estimate at level s.
        s: The noise levels `(b,)`.
        covariance: v -> V v.
        iterations: The largest number of conjugate gradient iterations.
        tol: The relative residual at which they stop.
    """
    near = problem.operator.linearise(x_0)
    var_y = noise_variance(problem, near, x_0, s)
    return conditioned(problem, x_0, near, covariance, var_y, iterations=iterations, tol=tol)


def noise_variance(problem: Problem, near: Linearisation, x_0: Tensor, s: Tensor) -> Tensor:
    """sigma_y^2, which broadcasts to y, with a small positive number in place of 0.

    Arguments:
        problem: A problem with Gaussian noise.
        near: A, linearized at x_0.
        x_0: The estimate at level s.
        s: The noise levels `(b,)`.
    """
    sigma = per_lane(problem.sigma_y, s)
    if bool((sigma == 0).any()):
        least = LEAST_SIGMA * s * vp_alpha(s) * problem.operator.norm(x_0, near)
        sigma = torch.where(sigma > 0, sigma, torch.where(least > 0, least, 1))
    return per_lane(sigma**2, problem.y)


def perturbed_data(problem: Problem, rng: Rng) -> Problem:
    """The problem with a further draw of its Gaussian noise added to y."""
    y = problem.y + per_lane(problem.sigma_y, problem.y) * rng.randn_like(problem.y)
    return problem.derived(y=torch.where(problem.measured, y, 0))


def check_linear_gaussian(option: str, problem: Problem) -> None:
    """Raise Unsupported unless A is linear and the noise Gaussian, as `option` requires."""
    if not problem.linear_gaussian:
        got = f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
        raise Unsupported(f"{option}: expected a LinearOperator and Gaussian noise, got {got}")

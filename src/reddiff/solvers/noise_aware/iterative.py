"""The step for a linear A without a spectral form, by conjugate gradients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot, per_lane
from reddiff.linalg import Solution
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.noise_aware.correction import measured_step
from reddiff.solvers.noise_aware.step import CG_ITERATIONS, CG_TOL, Level, StepResult

# Coefficients of a polynomial for sqrt(1 - t) on [0, 1]; its square is within 0.009 of 1 - t.
SQRT = (1, -0.3756, -1.1342, 2.2264, -1.6214)


def iterative_step(
    problem: Problem,
    operator: LinearOperator,
    prior: Prior,
    w: Tensor,
    base: Tensor,
    eps: Tensor,
    level: Level,
    rng: Rng,
) -> StepResult:
    r"""The step of `NoiseAwareREDDiff` by conjugate gradients; `base` is w - omega e.

    Let :math:`K (y - A w)` be the data step. The noise is
    :math:`\xi = (I - K A)\, s\,\varepsilon + K n` with n independent of :math:`\varepsilon`. The
    covariance of n is :math:`(2 \lambda - 1) \sigma_y^2 I + (2 \tau^2 - s^2) A A^T`, or an
    approximation of it where this is not positive semi-definite.
    """

    def towards_y(residual: Tensor, size2: Tensor, tau2: Tensor) -> Solution:
        """size2 A^T (tau2 A A^T + lambda sigma_y^2)^-1 residual."""
        noise2 = level.weight * level.sigma_y**2
        b = per_lane(size2 / noise2, w) * operator.adjoint(residual)
        return operator.solution(b, 1.0, tau2 / noise2, tol=CG_TOL, iterations=CG_ITERATIONS)

    added = per_lane(level.scale * level.s, w) * eps
    moved, residual = w + added, problem.residual(base + added)
    noise = _noise(problem, operator, w, level, rng)
    residual = residual + per_lane(level.scale, noise) * noise
    found = towards_y(residual, level.s**2, level.tau2)
    z = moved + found.x
    denoised = prior(z, level.s)

    def plain() -> Solution:
        step = towards_y(problem.residual(denoised), level.fresh2, level.fresh2)
        if not bool(level.drawing.any()):
            return Solution(denoised + step.x, step.converged)
        # Half of it again where A damps x, so that y does not count twice there.
        again = towards_y(operator(step.x), level.fresh2, level.fresh2)
        x = torch.where(per_lane(level.drawing, w) > 0, again.x, step.x)
        return Solution(denoised + x, step.converged & (again.converged | ~level.drawing))

    last = measured_step(problem, operator, prior, denoised, level, plain)
    return StepResult(
        mu=last.x,
        denoised=denoised,
        error=z - denoised,
        freedom=_freedom(problem, operator, eps, denoised - z, level)
        if level.found
        else torch.zeros_like(level.s),
        solved=found.converged & last.converged,
    )


def _noise(
    problem: Problem, operator: LinearOperator, w: Tensor, level: Level, rng: Rng
) -> Float[Tensor, "b *m"]:
    """Noise with covariance (2 lambda - 1) sigma_y^2 I + (2 tau^2 - s^2) A A^T.

    If the first term is negative, it is replaced by a small positive one. If the second term is
    positive, the noise is a sum of two draws. Otherwise the square root of the covariance is
    approximated by a polynomial in A A^T (`SQRT`).
    """
    white = (2 * level.weight - 1).clamp(min=1e-3).sqrt() * level.sigma_y
    excess = 2 * level.tau2 - level.s**2
    n = rng.randn_like(problem.y)
    lacking = (-excess).clamp(min=0) / white**2
    if bool((lacking > 0).any()):
        total = SQRT[-1] * n
        for factor in SQRT[-2::-1]:
            total = factor * n + per_lane(lacking, n) * operator(operator.adjoint(total))
        n = total
    n = per_lane(white, n) * n
    if bool((excess > 0).any()):  # the last draw of a step: no other one depends on it
        n = n + operator(per_lane(excess.clamp(min=0).sqrt(), w) * rng.randn_like(w))
    return torch.where(problem.measured, n, 0)


def _freedom(
    problem: Problem, operator: LinearOperator, eps: Tensor, shift: Tensor, level: Level
) -> Float[Tensor, " b"]:
    """Degrees of freedom per entry; in the mean, those of `spectral_step` if all s_i are equal."""
    a_eps, a_shift = operator(eps), operator(shift)
    taken = dot(a_eps, a_eps) - dot(a_shift, a_shift) / level.s**2
    return taken / (level.norm**2 * problem.count)

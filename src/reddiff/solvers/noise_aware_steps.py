r"""Steps of noise-aware RED-diff for a linear A and Gaussian noise of y.

With :math:`\sigma` the noise of the coordinate that y measures best, or the level s if that is
less, :math:`\tau^2 = s^2 - \lambda \sigma^2 + \omega s^2`, at most :math:`s^2`,
:math:`\tau_\rho^2 = (1 - \omega / \lambda) \rho^2 (s^2 - \sigma^2)`, :math:`D = D(z, s)`
and e the z - D of the step before, both forms compute

.. math:: z = w + s^2 A^T (\tau^2 A A^T + \lambda \sigma_y^2)^{-1} (y - A (w - \omega e))
    + \rho\,\xi, \qquad
    \mu = D + \tau_\rho^2 A^T (\tau_\rho^2 A A^T + \lambda \sigma_y^2)^{-1} (y - A D)

where :math:`\xi` brings the noise that z has from y up to s in every direction, so that the
input of the denoiser has the noise level it is given. The second step corrects the error that this
noise leaves in D; it has the variance :math:`\tau_\rho^2` at most, and what D has from y is
not counted again. For priors that are not Gaussian the second step knows more of that error
(`measured_step`). At :math:`s = \sigma`, :math:`\lambda = 1` and :math:`\omega = 0` the first is a
gradient step on the data term and the second is the identity: proximal gradient descent, whose
fixed point on a Gaussian prior is the posterior mean. At :math:`\omega = \lambda` and
:math:`\rho = 0` they are those of ADMM, with e the scaled dual variable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.lanes import dot, per_lane
from reddiff.linalg import Solution
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.steps.conditioning import conditioned
from reddiff.spectral_view import SpectralView

CG_TOL, CG_ITERATIONS = 1e-2, 20  # a tighter one is lost under the noise added next
FEW = 6  # CG iterations of the correction by y: more change little, and amplify rounding errors
# sqrt(1 - t) for t in [0, 1] in powers of t; its square is within 0.009 of 1 - t everywhere.
SQRT = (1, -0.3756, -1.1342, 2.2264, -1.6214)


@dataclass(frozen=True, eq=False)
class Level:
    """What one step knows of the noise.

    Arguments:
        s: The noise level of the step, `(b,)`.
        sigma_y: The noise of y, above 0, `(b,)`.
        norm: The largest singular value of A, `(b,)`.
        scale: Rho, the ratio of the noise added to the noise that would bring z to the level s,
            `(b,)`.
        weight: Lambda, the weight of the prior where A damps x, above 0 and at most 1, `(b,)`.
        dual: Omega, from 0 to lambda, `(b,)`.
        other: U, how little Gaussian the prior is, from 0 to 1, `(b,)`.
        found: Whether sigma_y is being found; only then are the degrees of freedom of use.
    """

    s: Float[Tensor, " b"]
    sigma_y: Float[Tensor, " b"]
    norm: Float[Tensor, " b"]
    scale: Float[Tensor, " b"]
    weight: Float[Tensor, " b"]
    dual: Float[Tensor, " b"]
    other: Float[Tensor, " b"]
    found: bool

    @property
    def best(self) -> Float[Tensor, " b"]:
        """Noise of the best measured coordinate, at most s."""
        return torch.minimum(self.sigma_y / self.norm, self.s)

    @property
    def tau2(self) -> Float[Tensor, " b"]:
        """Tau^2 of the step before the denoiser."""
        return self.s**2 - (self.weight * self.best**2 - self.dual * self.s**2).clamp(min=0)

    @property
    def left(self) -> Float[Tensor, " b"]:
        """The part of the correction by y after the denoiser that the dual variable leaves."""
        return 1 - self.dual / self.weight

    @property
    def fresh2(self) -> Float[Tensor, " b"]:
        """The variance of the noise in z that is not of y, as the correction by y takes it."""
        return self.left * self.scale**2 * (self.s**2 - self.best**2)


@dataclass(frozen=True, eq=False)
class Moved:
    """Result of one step.

    Arguments:
        mu: The next mean.
        denoised: D.
        error: z - D, what the denoiser took away.
        freedom: Degrees of freedom of D for each measured entry of y (Stein), `(b,)`.
        solved: Whether the data steps reached their tolerance, `(b,)`.
    """

    mu: Tensor
    denoised: Tensor
    error: Tensor
    freedom: Float[Tensor, " b"]
    solved: Bool[Tensor, " b"]


def spectral_step(
    problem: Problem,
    view: SpectralView,
    prior: Prior,
    w: Tensor,
    base: Tensor,
    eps: Tensor,
    level: Level,
) -> Moved:
    """The step in the spectral coordinates of A, exactly; base is w - omega e.

    Coordinates with less noise than s take Tweedie's formula at their own noise.
    """
    operator, seen, z_y, sigma = view.operator, view.seen, view.x, view.sigma_x
    s = per_lane(level.s, z_y)
    matched = view.reach(level.s)
    noise2 = per_lane(level.weight, z_y) * sigma**2
    weight = s**2 / (per_lane(level.tau2, z_y) + noise2)
    weight = torch.where(seen, weight, 0).clamp(max=1)  # of y in z
    fresh = (s**2 - (weight * sigma) ** 2).clamp(min=0).sqrt()
    noise = per_lane(level.scale, z_y) * operator.vt(eps)
    start = operator.vt(w)
    z = weight * z_y + (1 - weight) * start + fresh * noise
    if base is not w:
        z = z + weight * (start - operator.vt(base))
    given = operator.v(z)
    denoised = prior(given, level.s)
    d = operator.vt(denoised)

    def plain() -> Solution:
        left, share = per_lane(level.left, z_y), (sigma / s) ** 2
        own2, open2 = left * (s**2 - sigma**2), per_lane(level.fresh2, z_y)
        to_y = torch.where(matched, own2 / (own2 + sigma**2), open2 / (open2 + noise2))
        mu = torch.where(seen, to_y * z_y + (1 - to_y) * d, d)
        mu = mu - torch.where(matched, left * share * (z - z_y), 0)
        return Solution(operator.v(mu), torch.ones_like(level.s, dtype=torch.bool))

    found = measured_step(problem, operator, prior, denoised, level, plain)
    taken = torch.where(matched, 1 - ((d - z) / s) ** 2, 0)
    return Moved(
        mu=found.x,
        denoised=denoised,
        error=given - denoised,
        freedom=taken.flatten(1).sum(1) / problem.count,
        solved=found.converged,
    )


def iterative_step(
    problem: Problem,
    operator: LinearOperator,
    prior: Prior,
    w: Tensor,
    base: Tensor,
    eps: Tensor,
    level: Level,
    rng: Rng,
) -> Moved:
    r"""The step by conjugate gradients, for an A without a spectral form; base is w - omega e.

    With :math:`\varepsilon` and n independent, :math:`\xi` is
    :math:`(I - K A)\, s\,\varepsilon + K n`, where :math:`K (y - A w)` is the move towards y and n
    has the covariance :math:`(2 \lambda - 1) \sigma_y^2 + (2 \tau^2 - s^2) A A^T`, or as near to it
    as a covariance can be.
    """

    def towards_y(residual: Tensor, size2: Tensor, tau2: Tensor) -> Solution:
        """size^2 A^T (tau^2 A A^T + lambda sigma_y^2)^-1 residual."""
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
        return Solution(denoised + step.x, step.converged)

    last = measured_step(problem, operator, prior, denoised, level, plain)
    return Moved(
        mu=last.x,
        denoised=denoised,
        error=z - denoised,
        freedom=_freedom(problem, operator, eps, denoised - z, level)
        if level.found
        else torch.zeros_like(level.s),
        solved=found.converged & last.converged,
    )


def measured_step(
    problem: Problem,
    operator: LinearOperator,
    prior: Prior,
    d: Tensor,
    level: Level,
    plain: Callable[[], Solution],
) -> Solution:
    r"""D + P A^T (A P A^T + lambda sigma_y^2)^-1 (y - A D), with the measured error of the prior.

    P is :math:`\tau_\rho^2 ((1 - u) I + u\,C_s / s^2)`, and the inverse is a few CG iterations.
    Lanes with u = 0 take the `plain` step.
    """
    used, x = level.other > 0, d
    if not bool(used.any()):
        return plain()
    other = per_lane(level.other, d)
    if bool((used & (level.fresh2 > 0)).any()):
        errors = prior.error_covariance(level.s, d).scaled(1 / level.s**2)

        def spread(v: Tensor) -> Tensor:
            return per_lane(level.fresh2, v) * ((1 - other) * v + other * errors(v))

        near, noise2 = operator.linearise(d), level.weight * level.sigma_y**2
        var_y = per_lane(noise2, problem.y)
        x = conditioned(problem, d, near, spread, var_y, tol=CG_TOL, iterations=FEW)
    if bool(used.all()):
        return Solution(x, used)
    rest = plain()
    return Solution(torch.where(other > 0, x, rest.x), used | rest.converged)


def _noise(
    problem: Problem, operator: LinearOperator, w: Tensor, level: Level, rng: Rng
) -> Float[Tensor, "b *m"]:
    """Noise of covariance (2 lambda - 1) sigma_y^2 + (2 tau^2 - s^2) A A^T, with A A^T <= norm^2.

    The first part is left out where it is negative. Where the second is positive it is a sum of two
    draws; else the square root of the covariance is a polynomial in A A^T (`SQRT`).
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
    if bool((excess > 0).any()):
        n = n + operator(per_lane(excess.clamp(min=0).sqrt(), w) * rng.randn_like(w))
    return torch.where(problem.measured, n, 0)


def _freedom(
    problem: Problem, operator: LinearOperator, eps: Tensor, shift: Tensor, level: Level
) -> Float[Tensor, " b"]:
    """Degrees of freedom as in `spectral_step`; equal in the mean if A has one singular value."""
    a_eps, a_shift = operator(eps), operator(shift)
    taken = dot(a_eps, a_eps) - dot(a_shift, a_shift) / level.s**2
    return taken / (level.norm**2 * problem.count)

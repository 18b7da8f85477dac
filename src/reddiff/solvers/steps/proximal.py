"""The proximal map of the negative log-likelihood, for any operator and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import dot, finite, norm, per_lane, pick
from reddiff.linalg import Solution, conjugate_gradients, power_iteration
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import Linearisation, Operator
from reddiff.operators.linear import LinearOperator
from reddiff.problem import Problem

LEAST_SIGMA = 1e-3  # replaces sigma_y = 0, in units of s ||A||
ARMIJO, HALVINGS = 1e-4, 6  # of the line search
FORCING = 0.03  # largest relative residual of the system of a Gauss-Newton step


@torch.no_grad()
def proximal_map(
    problem: Problem,
    d: Float[Tensor, "b *n"],
    s: Tensor,
    *,
    start: Tensor | None = None,
    sigma_y: Tensor | float | None = None,
    tol: float = 1e-3,
    iterations: int = 50,
    steps: int = 3,
) -> Solution:
    r"""The proximal map of the negative log-likelihood.

    .. math:: x = \arg\min_x \; -\log p(y \mid A(x)) + \lVert x - d \rVert^2 / 2 s^2

    For a linear A and Gaussian noise it is exact if A has a closed form, and otherwise computed by
    conjugate gradients. In all other cases it is computed by Gauss-Newton steps with
    `Noise.curvature` (Fisher scoring for a linear A) and a backtracking line search. They converge
    to a local minimum near the start, and never increase the objective of a lane.

    For sigma = 0 the limit is the x closest to d that is consistent with y. It is approximated by
    sigma = 0.001 s ||A||, so that the system can be solved in single precision. The relative error
    is 1e-6 in the direction of the norm of A; directions that A attenuates to less than 0.001 of
    its norm stay at d.

    Arguments:
        problem: y, A and the noise. For low Poisson counts, a `floor` of about 0.01 counts makes
            the systems less stiff, so that more of them converge.
        d: The estimate of x by the prior.
        s: The standard deviation of x around d, 0 or more, in units of x, `(b,)`.
        start: The initial x; d by default.
        sigma_y: Replaces the sigma of Gaussian noise: a number, or one per lane.
        tol: The tolerance of convergence. For a linear A with Gaussian noise, this is the relative
            residual of the normal equations. Otherwise a lane has converged if the sum of the
            gradients of the two terms is smaller than `tol` times the sum of their norms, or if a
            full step was smaller than `tol` ||x - d||; with a straight-through gradient also if the
            line search fails.
        iterations: The largest number of conjugate gradient iterations per linear system.
        steps: The largest number of Gauss-Newton steps.

    Returns:
        x, and which lanes have converged.

    Raises:
        InvalidArgument: For a wrong shape of s or start, or `sigma_y` with non-Gaussian noise.

    References:
        | Methods of Conjugate Gradients for Solving Linear Systems (Hestenes & Stiefel, 1952)
        | Numerical Optimization (Nocedal & Wright, 2006), Algorithms 3.1 and 10.1 (line search
        | and Gauss-Newton)
    """
    expected = f"one level per lane, shape ({len(d)},)"
    require(s.shape == (len(d),), "s", expected=expected, got=tuple(s.shape))
    start = d if start is None else start
    fits = start.shape == d.shape
    require(fits, "start", expected=f"shape {tuple(d.shape)}, as d", got=tuple(start.shape))
    s = s.to(d)
    noise = problem.noise
    if sigma_y is not None:
        got = type(noise).__name__
        gaussian = isinstance(noise, Gaussian)
        require(gaussian, "sigma_y", expected="none, unless the noise is Gaussian", got=got)
        noise = Gaussian(sigma_y)
        noise.check(problem.y)
    if isinstance(noise, Gaussian) and noise.noiseless:
        noise = _limit(noise, problem.operator, start, s)
    if isinstance(noise, Gaussian) and isinstance(problem.operator, LinearOperator):
        return _linear(problem, problem.operator, noise, d, s, start, tol, iterations)
    return _Objective(problem, noise, d, s).descend(start, tol, iterations, steps)


def _limit(noise: Gaussian, operator: Operator, x: Tensor, s: Tensor) -> Gaussian:
    """The noise with LEAST_SIGMA s ||A|| in place of sigma = 0, for A linearized at x."""
    near = operator.linearise(x)
    # a lower bound within a factor of about 2, which is enough for a scale
    size = power_iteration(lambda v: near.pull(near.push(v)), x, iterations=4).sqrt()
    least = LEAST_SIGMA * s * size
    sigma = torch.where(per_lane(noise.sigma, s) > 0, per_lane(noise.sigma, s), least)
    return Gaussian(torch.where(sigma > 0, sigma, 1))  # if s = 0 or A = 0, any sigma is correct


def _linear(
    problem: Problem,
    operator: LinearOperator,
    noise: Gaussian,
    d: Tensor,
    s: Tensor,
    start: Tensor,
    tol: float,
    iterations: int,
) -> Solution:
    """The closed form: x - d is the ridge regression of y - A d with weight s^2 / sigma^2."""
    weight = (s / per_lane(noise.sigma, s)) ** 2
    first = None if start is d else start - d
    residual = problem.residual(d)
    found = operator.ridge(residual, weight, start=first, tol=tol, iterations=iterations)
    return Solution(d + found.x, found.converged)


@dataclass(frozen=True, eq=False)
class _Objective:
    """The objective times s^2, which may be 0: s^2 nll(y, A(x)) + ||x - d||^2 / 2."""

    problem: Problem
    noise: Noise
    d: Tensor
    s: Tensor

    def descend(self, x: Tensor, tol: float, iterations: int, steps: int) -> Solution:
        """At most `steps` Gauss-Newton steps from x, until gradient or step is small."""
        small = torch.zeros_like(self.s, dtype=torch.bool)
        for step in range(steps + 1):
            near = self.problem.operator.linearise(x)
            force, ratio = self.force(x, near)
            done = small | (ratio <= tol)
            if step == steps or done.all():
                break
            force = pick(done, torch.zeros_like(force), force)
            found = self.direction(near, force, ratio, iterations)
            delta, a = found.x, near.a
            del near  # free this graph before building the next one
            small = done | (found.converged & (norm(delta) <= tol * norm(x - self.d)))
            stride = self.stride(x, a, delta, -dot(force, delta))
            if self.problem.operator.straight_through:  # its gradient does not vanish at a minimum
                small = small | (stride == 0)
            x = x + per_lane(stride, x) * delta
        return Solution(x, done)

    def force(self, x: Tensor, near: Linearisation) -> tuple[Tensor, Tensor]:
        """The negative gradient, and its norm relative to the sum of those of its terms, `(b,)`."""
        slope = self.noise.grad(self.problem.y, near.a, self.problem.measured)
        data, prior = per_lane(self.s**2, x) * near.pull(slope), x - self.d
        force = -(data + prior)
        total = norm(data) + norm(prior)
        return force, norm(force) / torch.where(total > 0, total, 1)

    def direction(
        self, near: Linearisation, force: Tensor, ratio: Tensor, iterations: int
    ) -> Solution:
        """The solution of (s^2 J^T W J + I) x = force, to a tolerance that depends on `ratio`.

        Conjugate gradients started at zero give a descent direction after any number of iterations.
        """
        curvature = self.noise.curvature(self.problem.y, near.a)
        weight = torch.where(self.problem.measured, curvature, 0)
        weight = per_lane(self.s**2, weight) * weight

        def matvec(v: Tensor) -> Tensor:
            return near.pull(weight * near.push(v)) + v

        tol = ratio.clamp(max=FORCING)
        found = conjugate_gradients(matvec, force, tol=tol, iterations=iterations)
        usable = finite(found.x)
        x = pick(usable, found.x, torch.zeros_like(force))
        return Solution(x, found.converged & usable)

    def stride(self, x: Tensor, a: Tensor, delta: Tensor, slope: Tensor) -> Tensor:
        """The first step length of 1, 1/2, 1/4, ... with sufficient decrease, else 0, per lane."""
        stride = torch.ones_like(self.s)
        for _ in range(HALVINGS + 1):
            change = self.change(x, a, per_lane(stride, x) * delta)
            enough = (change <= ARMIJO * stride * slope) | (slope == 0)  # or a stationary point
            if enough.all():
                break
            stride = torch.where(enough, stride, stride / 2)
        return torch.where(enough, stride, 0)

    def change(self, x: Tensor, a: Tensor, step: Tensor) -> Tensor:
        """The change of the objective by a step from x, summed over entries in float64.

        A difference of sums, or of rounded -log p(y | a), would hide small decreases.
        """
        y, after = self.problem.y.double(), self.problem.operator(x + step).double()
        each = self.noise.nll_each(y, after) - self.noise.nll_each(y, a.double())
        data = torch.where(self.problem.measured, each, 0).flatten(1).sum(1)
        return self.s**2 * data.to(x) + dot(step, x - self.d + step / 2)

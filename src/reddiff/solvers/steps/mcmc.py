"""Draws from a likelihood near a center by Langevin steps and Hamiltonian Monte Carlo."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_count, require_positive
from reddiff.lanes import dot, finite, per_lane, pick
from reddiff.noise import Gaussian
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.solvers.steps.conditional import Conditional, check_density, perturbed
from reddiff.solvers.steps.likelihood import Target, curvature

STABLE = 1.5  # the most that h times the curvature may be: at 2 Langevin steps diverge
SPREAD = 0.2  # how much a trajectory's step varies about the one asked for: none has a period


@final
@dataclass(frozen=True, eq=False)
class Langevin(Conditional):
    r"""Unadjusted Langevin steps: :math:`x \leftarrow x - h \nabla U(x) + \sqrt{2h}\,n`.

    U is the negative logarithm of the density. Biased: where U has the curvature l, the variance
    is 1 / (l - h l^2 / 2), too large by the factor 1 / (1 - step / 2) in the stiffest direction.
    And slow: soft directions, of curvature 1 / r^2, forget the start after r^2 / h steps. Poisson
    noise is tamed, see `energy.tamed_grad`: the mean of one count is off by a sixth of its spread.

    Arguments:
        steps: How many.
        step: h times the largest curvature, from 0 to 2. That is taken to be
            ||J||^2 `curvature(problem)` + 1 / r^2, with J the derivative of A at the start.
        lr: h itself, in units of x^2, in place of `step`; one number, or one per lane. It is cut to
            1.5 over the largest curvature, beyond which steps diverge: so for a large ||J||.
        tau: The sigma of a Gaussian likelihood in place of the noise of the problem.

    References:
        | Exponential Convergence of Langevin Distributions and Their Discrete Approximations
        | (Roberts & Tweedie, 1996)

    Raises:
        InvalidArgument: If an argument is out of its range.
    """

    steps: int = 100
    step: float = 0.2
    lr: float | Tensor | None = None
    tau: float | None = None

    def __post_init__(self) -> None:
        require_count("steps", self.steps)
        require(0 < self.step < 2, "step", expected="a number between 0 and 2", got=self.step)
        for name, value in (("lr", self.lr), ("tau", self.tau)):
            good = value is None or isinstance(value, Tensor) or 0 < value < math.inf
            require(good, name, expected="a positive number or None", got=value)

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        noise = problem.noise if self.tau is None else Gaussian(self.tau)
        target = Target(problem, noise, center, r, curvature(problem, noise))
        stiffness = target.stiffness(start)
        # a published lr is for ||A|| = 1: at ||A|| > 1.41 the same step would diverge
        lr, stable = self.lr, STABLE / stiffness
        h = self.step / stiffness if lr is None else stable.clamp(max=lr)
        h, x = per_lane(h, start), start
        scale = (2 * h).sqrt()
        for _ in range(self.steps):
            x = torch.addcmul(x, h, target.grad(x)[0], value=-1)
            x = x.addcmul_(scale, rng.randn_like(x))
        return x

    def check(self, problem: Problem) -> None:
        """Raise Unsupported for Gaussian noise of sigma 0, unless there is a `tau`."""
        if self.tau is None:
            check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Langevin:
        """The same with `lr` times the factor."""
        return self if self.lr is None else replace(self, lr=self.lr * factor)


@final
@dataclass(frozen=True)
class HMC(Conditional):
    """Hamiltonian Monte Carlo: leapfrog trajectories, each accepted or rejected, lane by lane.

    No bias but that of the first x: every trajectory leaves the density as it is. The first x is
    what `PerturbAndSolve` would draw, were A linear where it ends (without noise on y, unless
    Gaussian), so that soft directions need not be walked. The steps within a trajectory shrink
    with the fourth root of the number of unknowns, which keeps the acceptance. A few trajectories
    do for a smooth likelihood; next to zero counts of Poisson noise it takes a hundred.

    Arguments:
        steps: How many trajectories.
        leapfrog: Steps within each; all are of one size, which varies by SPREAD between them.
        step: Their size, in units of (stiffness^2 N)^(-1/4), with N entries of x.

    References:
        | MCMC Using Hamiltonian Dynamics (Neal, 2011), Sections 3 and 4.4,
        | https://arxiv.org/abs/1206.1901

    Raises:
        InvalidArgument: If an argument is not positive.
    """

    steps: int = 10
    leapfrog: int = 10
    step: float = 1.5

    def __post_init__(self) -> None:
        require_count("steps", self.steps)
        require_count("leapfrog", self.leapfrog)
        require_positive("step", self.step)

    def __call__(
        self, problem: Problem, center: Float[Tensor, "b *n"], r: Tensor, start: Tensor, rng: Rng
    ) -> Float[Tensor, "b *n"]:
        target = Target(problem, problem.noise, center, r, curvature(problem, problem.noise))
        size = self.step * start[0].numel() ** -0.25 * target.stiffness(start).rsqrt()
        x = perturbed(problem, center, r, start, rng)
        grad, a = target.grad(x)
        sound = finite(center) & finite(grad)  # a rejection must not hide a divergence
        for _ in range(self.steps):
            h = per_lane(size * (1 + SPREAD * (2 * rng.rand_like(size) - 1)), x)
            p = rng.randn_like(x)
            new, q, new_grad, new_a = x, p, grad, a
            for _ in range(self.leapfrog):
                q = q - h / 2 * new_grad
                new = new + h * q
                new_grad, new_a = target.grad(new)
                q = q - h / 2 * new_grad
            rise = target.rise(x, a, new, new_a) + _half_square(p, q)
            accepted = rng.rand_like(rise) < (-rise).exp()  # not if it is NaN
            x, grad, a = (pick(accepted, u, v) for u, v in ((new, x), (new_grad, grad), (new_a, a)))
        return pick(sound, x, torch.nan)


def _half_square(p: Tensor, q: Tensor) -> Tensor:
    """(||q||^2 - ||p||^2) / 2 per lane, in double."""
    p, q = p.double(), q.double()
    return dot(q - p, q + p) / 2

"""Conditional draws by Langevin steps and Hamiltonian Monte Carlo."""

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

STABLE = 1.5  # upper limit of h times the curvature; Langevin steps diverge from 2 on
SPREAD = 0.2  # relative random variation of the step size, which avoids periodic trajectories


@final
@dataclass(frozen=True, eq=False)
class Langevin(Conditional):
    r"""Unadjusted Langevin steps: :math:`x \leftarrow x - h \nabla U(x) + \sqrt{2h}\,n`.

    U is the negative log density. The draws are biased: for curvature l of U, the variance is 1 /
    (l - h l^2 / 2), which in the stiffest direction is too large by a factor 1 / (1 - step / 2).
    Convergence is slow: directions with curvature 1 / r^2 need r^2 / h steps to decorrelate.
    Gradients of Poisson noise are clipped (`likelihood.tamed_grad`); for a single count this shifts
    the mean by a sixth of the standard deviation.

    Arguments:
        steps: The number of steps, at least 1.
        step: h times the largest curvature, between 0 and 2. The curvature is bounded by
            ||J||^2 `curvature(problem, noise)` + 1 / r^2, with J the Jacobian of A at the start.
        lr: h, in units of x^2, in place of `step`; one number, or one per lane. It is limited to
            1.5 divided by the largest curvature, because steps diverge beyond; this happens for
            large ||J||.
        tau: The sigma of a Gaussian likelihood that replaces the noise of the problem.

    References:
        | Exponential Convergence of Langevin Distributions and Their Discrete Approximations
        | (Roberts & Tweedie, 1996)

    Raises:
        InvalidArgument: If an argument is out of range.
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
        # published values of lr are for ||A|| = 1; for ||A|| > 1.41 they would diverge
        lr, stable = self.lr, STABLE / stiffness
        h = self.step / stiffness if lr is None else stable.clamp(max=lr)
        h, x = per_lane(h, start), start
        scale = (2 * h).sqrt()
        for _ in range(self.steps):
            x = torch.addcmul(x, h, target.grad(x)[0], value=-1)
            x = x.addcmul_(scale, rng.randn_like(x))
        return x

    def check(self, problem: Problem) -> None:
        """Raise Unsupported for Gaussian noise with sigma = 0, unless there is a `tau`."""
        if self.tau is None:
            check_density(self, problem.noise)

    def paced(self, factor: Tensor) -> Langevin:
        """The method with `lr` times the factor."""
        return self if self.lr is None else replace(self, lr=self.lr * factor)


@final
@dataclass(frozen=True)
class HMC(Conditional):
    """Hamiltonian Monte Carlo: leapfrog trajectories, accepted or rejected in each lane.

    Every trajectory leaves the density invariant, so that the only bias is that of the initial x.
    This is the draw of `PerturbAndSolve` for A linearized at the solution (y is perturbed only if
    the noise is Gaussian), which is already spread out in directions of low curvature. The step
    size decreases with the fourth root of the number of unknowns, which keeps the acceptance rate
    constant. A few trajectories suffice for a smooth likelihood; Poisson noise with counts close to
    zero needs about a hundred.

    Arguments:
        steps: The number of trajectories.
        leapfrog: The number of leapfrog steps per trajectory. The step size is constant within a
            trajectory and varies randomly by 20 % between them.
        step: The mean step size, in units of stiffness^(-1/2) N^(-1/4) for N entries of x.

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
        sound = finite(center) & finite(grad)  # rejections must not hide a divergence
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
            accepted = rng.rand_like(rise) < (-rise).exp()  # false for NaN
            x, grad, a = (pick(accepted, u, v) for u, v in ((new, x), (new_grad, grad), (new_a, a)))
        return pick(sound, x, torch.nan)


def _half_square(p: Tensor, q: Tensor) -> Tensor:
    """(||q||^2 - ||p||^2) / 2 per lane, in float64."""
    p, q = p.double(), q.double()
    return dot(q - p, q + p) / 2

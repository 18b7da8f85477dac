"""The potential of conditional draws: clipped gradients and a bound on the curvature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot, per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.problem import Problem


@dataclass(frozen=True, eq=False)
class Target:
    """The potential -log p(y | A(x)) + ||x - c||^2 / (2 r^2), up to a constant.

    Arguments:
        problem: Provides y and A.
        noise: The noise.
        center: c.
        r: The standard deviation of the Gaussian, `(b,)`.
        cap: Upper bound on the likelihood curvature `(b,)`; steeper gradients are clipped to it.
    """

    problem: Problem
    noise: Noise
    center: Tensor
    r: Tensor
    cap: Tensor

    def grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient, with that of the likelihood clipped, and A(x)."""
        data, a = tamed_grad(self.problem, self.noise, x, self.cap)
        return torch.addcdiv(data, x - self.center, per_lane(self.r, x) ** 2), a

    def stiffness(self, x: Tensor) -> Tensor:
        """An upper bound on the curvature near x, `(b,)`."""
        return self.problem.operator.norm(x) ** 2 * self.cap + 1 / self.r.to(self.cap) ** 2

    def rise(self, x: Tensor, a: Tensor, new: Tensor, new_a: Tensor) -> Tensor:
        """Its value at `new` minus that at x, `(b,)`; entries are subtracted first, in float64."""
        y, c = self.problem.y.double(), self.center.double()
        each = self.noise.nll_each(y, new_a.double()) - self.noise.nll_each(y, a.double())
        data = torch.where(self.problem.measured, each, 0).flatten(1).sum(1)
        x, new = x.double(), new.double()
        return data + dot(new - x, (new - c) + (x - c)) / (2 * self.r.double() ** 2)


def tamed_grad(problem: Problem, noise: Noise, x: Tensor, cap: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of -log p(y | A(x)) with its curvature limited to `cap`, and A(x).

    It is exact for Gaussian likelihoods. For Poisson likelihoods it is clipped where the rate is
    far below the count: the curvature is unbounded there, and no step size would be stable.
    """
    a, pull = problem.operator.vjp(x)
    slope = noise.grad(problem.y, a, problem.measured)
    if isinstance(noise, Gaussian):
        return pull(slope), a
    ratio = per_lane(cap, a) / noise.curvature(problem.y, a).clamp(min=torch.finfo(a.dtype).tiny)
    return pull(slope * ratio.clamp(max=1)), a


def curvatures(problem: Problem, noise: Noise) -> Float[Tensor, "b *m"]:
    """`Noise.curvature` at one standard deviation above y, which is finite also for zero counts.

    This is the solution of a = y + std(a), found by iteration; for a count of zero, a = 1.

    Raises:
        Unsupported: If the noise is Gaussian with sigma = 0.
    """
    a = problem.y.abs()
    for _ in range(8):
        a = problem.y + noise.std(a)
    return torch.where(problem.measured, noise.curvature(problem.y, a), 0)


def curvature(problem: Problem, noise: Noise) -> Float[Tensor, " b"]:
    """The largest of `curvatures`, per lane."""
    return curvatures(problem, noise).flatten(1).amax(1)

"""SITCOM: optimizes the input of the network so that its output is consistent with y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reddiff.errors import require_count, require_nonnegative, require_positive
from reddiff.lanes import dot, per_lane, pick
from reddiff.noise import Gaussian
from reddiff.operators.base import Operator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, vp_alpha
from reddiff.solvers.steps.likelihood import curvatures

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # of Adam
LEAST_NOISE = 1e-3  # lower bound on the target rms residual, relative to the rms of y


@dataclass(frozen=True)
class SITCOM(Sampler):
    r"""Step-wise triple-consistent sampling.

    At every level, in VP variables:

    .. math:: v = \arg\min_v \lVert y - A(D(v)) \rVert^2 + \lambda \lVert x_t - v \rVert^2, \qquad
        x_{t'} = \alpha' D(v) + \sigma' n

    minimized by Adam through the network, starting at :math:`v = x_t`. To avoid fitting the noise,
    a lane stops once the rms of its residual equals that of the noise (or a thousandth of that of
    y). It is still evaluated, so that all steps have the same cost. The method is an optimizer: its
    results are not distributed as the posterior. For non-Gaussian noise the squares are weighted by
    the curvature of the noise, and the residual is measured in standard deviations.

    Arguments:
        schedule: The noise levels.
        lr: The learning rate of Adam, in units of x_t, above 0.
        inner: Adam steps per level, at least 1.
        weight: :math:`\lambda`, >= 0.

    References:
        | SITCOM: Step-wise Triple-Consistent Diffusion Sampling for Inverse Problems
        | (Alkhouri et al., 2024), Algorithm 1, https://arxiv.org/abs/2410.04479
        | Adam: A Method for Stochastic Optimization (Kingma & Ba, 2014)

    Raises:
        InvalidArgument: If an argument is out of range.
    """

    lr: float = 0.02
    inner: int = 30
    weight: float = 0.0

    requires: ClassVar[type[Operator]] = Operator

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("lr", self.lr)
        require_count("inner", self.inner)
        require_nonnegative("weight", self.weight)

    @classmethod
    def paper(
        cls, steps: int = 20, prior: Prior | None = None, *, lr: float = 0.02, inner: int = 30
    ) -> SITCOM:
        """The published settings, for images in [-1, 1], without the regularizer.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            lr: See the class.
            inner: See the class.
        """
        schedule = vp_within(steps)
        return preset_for(prior, cls(schedule, lr, inner, clip=1.0))

    @property
    def cost(self) -> StepCost:
        return StepCost(self.inner + 1, self.inner)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        alpha = per_lane(vp_alpha(s), state.x)
        weight = _weight(problem)
        x_t = v = alpha * state.x
        first = second = torch.zeros_like(v)
        done = torch.zeros_like(s, dtype=torch.bool)
        for i in range(1, self.inner + 1):
            x_0, pullback = self.denoise_vjp(prior, v / alpha, s)
            a, pull = problem.operator.vjp(x_0)
            done = done | _explained(problem, a)
            residual = torch.where(problem.measured, a - problem.y, 0)
            grad = pullback(pull(2 * weight * residual)) / alpha + 2 * self.weight * (v - x_t)
            del pullback, pull  # free these graphs before building the next ones
            first = BETA_1 * first + (1 - BETA_1) * grad
            second = BETA_2 * second + (1 - BETA_2) * grad**2
            size = (second / (1 - BETA_2**i)).sqrt() + EPS
            v = pick(done, v, v - self.lr * first / (1 - BETA_1**i) / size)
        x_0 = self.denoise(prior, v / alpha, s)
        return arrive(x_0 + per_lane(s_next, x_0) * rng.randn_like(x_0), x_0, s_next)


def _weight(problem: Problem) -> Float[Tensor, "b *m"]:
    """The weights of the squares: 1 for Gaussian noise, otherwise its curvature."""
    if isinstance(problem.noise, Gaussian):
        return torch.ones_like(problem.y)
    return curvatures(problem, problem.noise)


def _explained(problem: Problem, a: Tensor) -> Bool[Tensor, " b"]:
    """Whether the residual is no larger than the noise."""
    count = problem.count.clamp(min=1)
    least = LEAST_NOISE * (dot(problem.y, problem.y) / count).sqrt()
    std = torch.maximum(problem.noise.std(a), per_lane(least, a))
    std = std.clamp(min=torch.finfo(a.dtype).tiny)
    z = torch.where(problem.measured, problem.noise.residual(problem.y, a) / std, 0)
    return dot(z, z) <= count

"""TMPD: MMPS with a diagonal approximation of the covariance of A x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require_share
from reddiff.lanes import dot, per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim
from reddiff.solvers.steps.conditioning import noise_variance


@dataclass(frozen=True)
class TMPD(Sampler):
    r"""Tweedie moment projected diffusion.

    .. math:: E[x \mid x_t, y] \approx x_0 + V A^T
        \mathrm{diag}(\sigma_y^2 + A V A^T \mathbf{1})^{-1} (y - A x_0), \qquad
        V = \sigma_t^2\, \partial x_0 / \partial x_t \quad (\alpha_t = 1)

    replaces the denoiser in DDIM. V is the covariance of x given x_t, by Tweedie's formula. The
    covariance A V A^T is replaced by the diagonal matrix of its row sums, so that a step needs two
    backward passes. A nonlinear A is linearized at x_0, which is our generalization.

    For a Gaussian prior with diagonal A V A^T, such as a mask on independent pixels, it is exact up
    to the discretization error. Otherwise it is biased. Positive correlations make the row sums
    larger than the variance of fine detail, which is then fitted too little. Negative correlations,
    as for an A with both signs, make them too small (negative sums are set to 0). As published, the
    guidance then overshoots and runs diverge: use MMPS or `shorten`.

    Arguments:
        schedule: The noise levels.
        eta: The share of new noise in a DDIM step, from 0 to 1.
        shorten: Whether to shorten guidance that overshoots, by exact line search on the linear
            system that MMPS solves. If A V A^T has no negative entry this has no effect, because
            row sums then bound it from above. Not in the paper.

    References:
        | Tweedie Moment Projected Diffusions for Inverse Problems (Boys et al., 2023),
        | Section 3, https://arxiv.org/abs/2310.06721

    Raises:
        InvalidArgument: If eta is not in [0, 1].
    """

    eta: float = 1.0
    shorten: bool = True

    noises: ClassVar[type[Noise]] = Gaussian

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("eta", self.eta)

    @classmethod
    def paper(cls, steps: int = 1000, prior: Prior | None = None) -> TMPD:
        """The published settings of the VP sampler: DDPM (eta = 1), without clipping.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
        """
        return preset_for(prior, cls(vp_within(steps), shorten=False))

    @property
    def cost(self) -> StepCost:
        return StepCost(vjps=2)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0 = self.guided(problem, prior, state.x, s)
        return arrive(ddim(state.x, x_0, s, s_next, self.eta, rng), x_0, s_next)

    def guided(
        self, problem: Problem, prior: Prior, x: Float[Tensor, "b *n"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + s n = x, y], with row sums in place of the covariance."""
        x_0, pullback = prior.vjp(x, s)
        x_0 = self._clipped(x_0)
        near = problem.operator.linearise(x_0)

        def back(w: Tensor) -> Tensor:
            return per_lane(s**2, x) * pullback(near.pull(w))

        var_y = noise_variance(problem, near, x_0, s)
        sums = near.push(back(problem.measured.to(x_0))).clamp(min=0)
        r = torch.where(problem.measured, problem.y - near.a, 0)
        w = torch.where(problem.measured, r / (var_y + sums), 0)
        guidance = back(w)
        if self.shorten:
            curvature = dot(w, var_y * w + near.push(guidance))
            best = dot(w, r) / torch.where(curvature > 0, curvature, 1)
            guidance = per_lane(torch.where(curvature > 0, best.clamp(max=1), 1), x) * guidance
        return x_0 + guidance

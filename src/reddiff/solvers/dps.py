"""DPS: DDPM guided by the gradient of the residual norm through the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_nonnegative
from reddiff.lanes import norm, per_lane
from reddiff.noise import Gaussian
from reddiff.operators.base import Operator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim, vp_alpha


@dataclass(frozen=True)
class DPS(Sampler):
    r"""Diffusion posterior sampling.

    .. math:: x_{t-1} \leftarrow \mathrm{DDPM}(x_t, D) - \zeta\,\nabla_{x_t} \lVert y - A(D) \rVert

    in VP variables. The gradient is taken through the network, and the norm is that of a single
    lane. sigma_y does not occur. For non-Gaussian noise the residual is weighted by the square root
    of half the curvature of the noise at y; for Poisson noise this is the weight of the paper.

    Arguments:
        schedule: The noise levels.
        zeta: :math:`\zeta`, the step size, in units of x.

    References:
        | Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2022),
        | Algorithm 1 and Equation 20, https://arxiv.org/abs/2209.14687

    Raises:
        InvalidArgument: If zeta is negative or not finite.
    """

    zeta: float = 0.3

    requires: ClassVar[type[Operator]] = Operator

    def __post_init__(self) -> None:
        super().__post_init__()
        require_nonnegative("zeta", self.zeta)

    @classmethod
    def paper(cls, steps: int = 1000, prior: Prior | None = None, *, zeta: float = 0.3) -> DPS:
        """The published settings, for images in [-1, 1] (Appendix D.1).

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            zeta: 0.3 for Gaussian and motion deblurring and super-resolution, 0.5 for random
                inpainting, 1 for box inpainting and phase retrieval.
        """
        schedule = vp_within(steps)
        return preset_for(prior, cls(schedule, zeta, clip=1.0))

    @property
    def cost(self) -> StepCost:
        return StepCost(vjps=1)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0, pullback = self.denoise_vjp(prior, state.x, s)  # Tweedie's formula
        grad = pullback(residual_norm_grad(problem, x_0))  # of ||y - A(x_0)|| with respect to x_t
        x = ddim(state.x, x_0, s, s_next, 1.0, rng)  # x'_{t-1} ~ DDPM
        # x_{t-1} = alpha' x', and the gradient with respect to x_t is that of x over alpha
        zeta = self.zeta / (vp_alpha(s) * vp_alpha(s_next))
        return arrive(x - per_lane(zeta, grad) * grad, x_0, s_next)


def residual_norm_grad(problem: Problem, x_0: Tensor) -> Tensor:
    """The gradient of the (weighted) ||y - A(x_0)|| with respect to x_0; 0 if the norm is 0."""
    a, pull = problem.operator.vjp(x_0)
    y, noise = problem.y, problem.noise
    r = torch.where(problem.measured, -noise.residual(y, a), 0)
    weight = torch.ones_like(r)
    if noise.censored:  # the likelihood can be flat at a = y
        weight = 1 / (noise.std(y) * 2**0.5)
    elif not isinstance(noise, Gaussian):
        weight = (noise.curvature(y, y) / 2).sqrt()
    r = weight * r
    size = norm(r)
    return pull(weight * r / per_lane(torch.where(size > 0, size, 1), r))

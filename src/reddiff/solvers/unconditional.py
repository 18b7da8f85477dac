"""Samplers of the prior, which ignore y: for checks of a prior, and as a basis of others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_share
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import karras, preset, vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""Draws from the prior by DDIM steps.

    Arguments:
        schedule: The noise levels.
        eta: The share of new noise in each step, from 0 to 1: 0 is a deterministic map of the
            initial noise, 1 is DDPM.

    References:
        | Denoising Diffusion Implicit Models (Song et al., 2020), Equation 12,
        | https://arxiv.org/abs/2010.02502
        | Denoising Diffusion Probabilistic Models (Ho et al., 2020), Algorithm 2,
        | https://arxiv.org/abs/2006.11239

    Raises:
        InvalidArgument: If eta is not in [0, 1].
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("eta", self.eta)

    @classmethod
    def ddpm(cls, steps: int = 1000, prior: Prior | None = None) -> DDIM:
        """DDPM: eta = 1 on the linear VP schedule (T = 1000), within the range of the prior."""
        return preset_for(prior, cls(vp_within(steps), eta=1.0))

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        return arrive(ddim(state.x, x_0, s, s_next, self.eta, rng), x_0, s_next)


@dataclass(frozen=True)
class Heun(Sampler):
    r"""Draws from the prior by second-order Heun steps along the probability flow ODE.

    .. math:: \frac{dx}{ds} = \frac{x - D(x, s)}{s}

    Each step costs two evaluations. (In the last step, to level 0, the second one is not needed. It
    is made so that all steps cost the same.)

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
        | Algorithm 1, https://arxiv.org/abs/2206.00364
    """

    @classmethod
    def edm(cls, steps: int = 18, prior: Prior | None = None) -> Heun:
        """The levels of the paper, from 80 to 0.002, within the range of the prior if given."""
        return preset_for(prior, cls(preset(partial(karras, steps), 0.002, 80.0)))

    @property
    def cost(self) -> StepCost:
        return StepCost(2)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        """An Euler step, corrected by the trapezoidal rule."""
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        euler = ddim(state.x, x_0, s, s_next, 0.0, rng)
        level = torch.where(s_next > 0, s_next, s)
        slope = (state.x - x_0) / per_lane(s, x_0)
        there = (euler - self.denoise(prior, euler, level)) / per_lane(level, x_0)
        x = state.x + per_lane(s_next - s, x_0) * (slope + there) / 2
        return arrive(torch.where(per_lane(s_next, x) > 0, x, euler), x_0, s_next)

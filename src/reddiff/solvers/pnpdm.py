"""PnP-DM: split Gibbs sampling with one variable for the likelihood and one for the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require, require_count
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, StepCost, preset_for
from reddiff.solvers.inits import Init, zeros
from reddiff.solvers.runs import inner_levels, reverse_sde
from reddiff.solvers.steps.automatic import Automatic
from reddiff.solvers.steps.conditional import Conditional


@dataclass(frozen=True)
class Chain(State):
    """The current draw, and the mean of the last draws.

    Arguments:
        x: The current draw.
        mean: The mean, including the current draw.
    """

    x: Tensor
    mean: Tensor


@dataclass(frozen=True)
class PnPDM(Solver[Chain]):
    r"""Plug-and-play diffusion models: a split Gibbs sampler with coupling :math:`\rho`.

    .. math:: z \sim p(y \mid A(z))\, e^{-\|z - x\|^2 / 2 \rho^2}, \qquad
        x \sim p(x)\, e^{-\|x - z\|^2 / 2 \rho^2}

    x is drawn by reverse diffusion from z at noise level rho, which is exact up to the
    discretization. The stationary distribution of x is proportional to p(x) times the likelihood of
    A x + A rho n + noise, and converges to the posterior as rho -> 0. With `conditional.Sharpened`
    it is the posterior for any rho up to sigma_y / ||A||. In directions that y does not determine,
    with posterior variance c, the chain needs about c / rho^2 steps to decorrelate. Therefore rho
    starts high and decreases.

    Arguments:
        schedule: rho for each step.
        conditional: The method to draw z.
        evaluations: Levels of the reverse diffusion, with one network evaluation each.
        end: Ratio of the last of these levels to rho, in (0, 1]. It is raised where the level would
            be below the range of the prior.
        average: The number of last draws that the estimate averages. With 1 it is a draw; the mean
            of many draws is close to the posterior mean.
        start: The initial x.

    References:
        | Principled Probabilistic Imaging using Diffusion Models as Plug-and-Play Priors
        | (Wu et al., 2024), Algorithm 1, https://arxiv.org/abs/2405.18782

    Raises:
        InvalidArgument: If an argument is out of range.
    """

    conditional: Conditional = field(default_factory=Automatic)
    evaluations: int = 10
    end: float = 0.05
    average: int = 1
    start: Init = field(default=zeros, kw_only=True)

    has_fixed_point: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("evaluations", self.evaluations)
        require_count("average", self.average)
        require(0 < self.end <= 1, "end", expected="a number above 0, up to 1", got=self.end)

    @classmethod
    def paper(
        cls, steps: int = 60, prior: Prior | None = None, *, rho_min: float = 0.3, average: int = 20
    ) -> PnPDM:
        """The published coupling, 10 * 0.9^k down to `rho_min`, and the mean of the last draws.

        The reverse diffusion differs from the paper: it has fewer steps, of second order.

        Arguments:
            steps: The number of draws; those that are not averaged are the burn-in, 40 in the
                paper. With fewer than 60 steps the coupling decreases faster in proportion.
            prior: If given, levels are limited to its range.
            rho_min: The last coupling, in units of x. About half of sigma_y / ||A|| is close to the
                posterior; a larger value has the effect of more noise in y.
            average: See the class.
        """
        schedule = preset(partial(_published, steps, rho_min))
        return preset_for(prior, cls(schedule, average=average))

    @classmethod
    def annealed(
        cls, steps: int = 100, prior: Prior | None = None, *, rho_min: float, average: int = 1
    ) -> PnPDM:
        """Settings that draw closer to the posterior: 1 / rho increases linearly from 1 / 10.

        More steps are thus made where rho is small and the chain slow. On Gaussian problems this
        needs a quarter of the steps of the published coupling, or of a geometric one. If A has a
        spectral form, z is drawn by `conditional.Sharpened`.

        Arguments:
            steps: The number of draws, including the burn-in.
            prior: If given, levels are limited to its range.
            rho_min: The last coupling: about sigma_y / ||A||.
            average: See the class.
        """
        schedule = preset(partial(_annealed, steps, rho_min))
        return preset_for(prior, cls(schedule, Automatic(sharpen=True), average=average))

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        self.conditional.check(problem)

    @property
    def draws_posterior(self) -> bool:
        """True unless the estimate is a mean of several draws."""
        return self.average == 1

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Chain:
        x = self.start(problem, rng)
        return Chain(x, x)

    @property
    def cost(self) -> StepCost:
        return StepCost(self.evaluations)

    def step(
        self, state: Chain, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Chain:
        """z given x, then x given z."""
        rho = self.schedule.levels.to(state.x)[k]
        z = self.conditional(problem, state.x, rho, state.x, rng)
        table = inner_levels(rho, (self.end * rho).clamp(min=prior.sigma_min), self.evaluations)
        x = reverse_sde(prior, z, table, rng)
        kept = (k - (len(self.schedule) - self.average)).clamp(min=0).to(x)  # averaged before
        return Chain(x, state.mean + (x - state.mean) / per_lane(kept + 1, x))

    def estimate(self, state: Chain) -> Float[Tensor, "b *n"]:
        """The mean of the last draws; before averaging starts, the current draw."""
        return state.mean


def decaying(steps: int, low: float, high: float = 10.0, factor: float = 0.9) -> Schedule:
    """The levels max(high * factor^k, low), the coupling of PnP-DM.

    Raises:
        InvalidArgument: If `steps` < 1, not 0 < low <= high < inf, or factor is not in (0, 1].
    """
    _check_range(steps, low, high)
    require(0 < factor <= 1, "factor", expected="a number above 0, up to 1", got=factor)
    return _held((high * factor ** torch.arange(steps, dtype=torch.float64)).clamp(min=low))


def harmonic(steps: int, low: float, high: float = 10.0) -> Schedule:
    """Levels from high to low, with 1 / rho evenly spaced.

    Raises:
        InvalidArgument: If `steps` < 1, or not 0 < low <= high < inf.
    """
    _check_range(steps, low, high)
    return _held(1 / torch.linspace(1 / high, 1 / low, steps, dtype=torch.float64))


def _published(steps: int, rho_min: float, sigma_min: float, sigma_max: float) -> Schedule:
    require_count("steps", steps)
    high, factor = min(10.0, sigma_max), 0.9 ** max(1.0, 60 / steps)
    return decaying(steps, min(max(rho_min, sigma_min), high), high, factor)


def _annealed(steps: int, rho_min: float, sigma_min: float, sigma_max: float) -> Schedule:
    high = min(10.0, sigma_max)
    return harmonic(steps, min(max(rho_min, sigma_min), high), high)


def _check_range(steps: int, low: float, high: float) -> None:
    require_count("steps", steps)
    good = 0 < low <= high < math.inf
    require(good, "low, high", expected="0 < low <= high < inf", got=f"{low}, {high}")


def _held(rho: Tensor) -> Schedule:
    """A schedule of these levels that stays at the last one."""
    rho = torch.cat([rho, rho[-1:]])
    return Schedule(torch.ones_like(rho), rho)

"""PnP-DM: split Gibbs sampling, one variable for the likelihood and one for the prior."""

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
    """The last draw, and the mean of the last few.

    Arguments:
        x: The draw.
        mean: The mean, the draw included.
    """

    x: Tensor
    mean: Tensor


@dataclass(frozen=True)
class PnPDM(Solver[Chain]):
    r"""Plug-and-play diffusion models: the split Gibbs sampler, at a coupling :math:`\rho`.

    .. math:: z \sim p(y \mid A(z))\, e^{-\|z - x\|^2 / 2 \rho^2}, \qquad
        x \sim p(x)\, e^{-\|x - z\|^2 / 2 \rho^2}

    The second is what the reverse diffusion from level rho makes of z, so that it needs no
    approximation but that of its steps. The x of the stationary chain follow p(x) times the
    likelihood blurred by rho: that of A x + A rho n + noise, and the posterior as rho -> 0; with
    `conditional.Sharpened`, the posterior itself for any rho up to sigma_y / ||A||. But what y
    leaves open with the variance c takes of the order of c / rho^2 steps to forget: hence levels
    that fall.

    Arguments:
        schedule: rho, step by step.
        conditional: How z is drawn.
        evaluations: Levels of the reverse diffusion, one network evaluation each.
        end: The last of them, over rho. (Nor is it below the lowest level of the prior.)
        average: How many of the last draws the estimate averages: 1 is a draw, and the mean of
            many is close to the posterior mean.
        start: The first x.

    References:
        | Principled Probabilistic Imaging using Diffusion Models as Plug-and-Play Priors
        | (Wu et al., 2024), Algorithm 1, https://arxiv.org/abs/2405.18782

    Raises:
        InvalidArgument: If an argument is out of its range.
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
        """The published coupling, 10 * .9^k down to `rho_min`, and the mean of the last draws.

        The reverse diffusion is ours: fewer steps, of second order.

        Arguments:
            steps: Draws; those that are not averaged are the burn-in, 40 in the paper. With fewer
                than 60 the coupling falls as much faster.
            rho_min: The last coupling, in units of x: the estimate is that of noise at least as
                large. About half of sigma_y / ||A|| is close to the posterior.
            average: See the class.
            prior: The levels are those that this prior is good for; by default all of them.
        """
        schedule = preset(partial(_published, steps, rho_min))
        return preset_for(prior, cls(schedule, average=average))

    @classmethod
    def annealed(
        cls, steps: int = 100, prior: Prior | None = None, *, rho_min: float, average: int = 1
    ) -> PnPDM:
        """Draws that are closer to the posterior: 1 / rho rises evenly, from 1 / 10.

        That leaves the more time the smaller rho is and the slower the chain. On Gaussian problems
        it needs a fourth of the steps of the published coupling, or of one even in log rho. Where
        A has a spectral form, z is drawn by `conditional.Sharpened`.

        Arguments:
            steps: Draws, the burn-in included.
            rho_min: The last coupling: about sigma_y / ||A||.
            average: See the class.
            prior: The levels are those that this prior is good for; by default all of them.
        """
        schedule = preset(partial(_annealed, steps, rho_min))
        return preset_for(prior, cls(schedule, Automatic(sharpen=True), average=average))

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        self.conditional.check(problem)

    @property
    def draws_posterior(self) -> bool:
        """It does, unless it averages."""
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
        kept = (k - (len(self.schedule) - self.average)).clamp(min=0).to(x)  # draws in the mean
        return Chain(x, state.mean + (x - state.mean) / per_lane(kept + 1, x))

    def estimate(self, state: Chain) -> Float[Tensor, "b *n"]:
        """The mean of the last draws, once they are being averaged; before, the last draw."""
        return state.mean


def decaying(steps: int, low: float, high: float = 10.0, factor: float = 0.9) -> Schedule:
    """max(high * factor^k, low): the coupling of PnP-DM.

    Raises:
        InvalidArgument: If `steps` < 1, not 0 < low <= high < inf, or factor is not in (0, 1].
    """
    _check_range(steps, low, high)
    require(0 < factor <= 1, "factor", expected="a number above 0, up to 1", got=factor)
    return _held((high * factor ** torch.arange(steps, dtype=torch.float64)).clamp(min=low))


def harmonic(steps: int, low: float, high: float = 10.0) -> Schedule:
    """From high to low, 1 / rho evenly spaced.

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
    """These levels, the last of them kept."""
    rho = torch.cat([rho, rho[-1:]])
    return Schedule(torch.ones_like(rho), rho)

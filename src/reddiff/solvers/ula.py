"""ULA: Langevin steps on the posterior, with the score of the prior at a level of noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import held, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, preset_for
from reddiff.solvers.inits import Init, zeros
from reddiff.solvers.steps.likelihood import curvature, tamed_grad


@dataclass(frozen=True)
class Walk(State):
    """Where a chain is.

    Arguments:
        x: The draw.
        stiffness: A bound on the curvature of -log p(y | A(x)) `(b,)`.
    """

    x: Tensor
    stiffness: Tensor


@dataclass(frozen=True)
class ULA(Solver[Walk]):
    r"""The unadjusted Langevin algorithm, with Tweedie's formula for the prior's score.

    .. math:: x \leftarrow x + h \left[ \frac{D(x, s) - x}{s^2} + \nabla \log p(y \mid A(x)) \right]
        + \sqrt{2h}\, n

    At a constant level it draws from p(y | A(x)) p_s(x), with the prior blurred by s: not the
    posterior, but near it where s is small against what y and the prior leave open. Its variance
    is too large by 1 / (1 - step_size / 2) in the stiffest direction, and less in others.

    Arguments:
        schedule: The levels s: `constant`, or annealed down to the one that is meant.
        step_size: h times a bound on the curvature, from 0 to 2. The bound is ||J||^2 times the
            `energy.curvature` of the noise + 1 / s^2, with J the derivative of A at the start.
        start: The first x, to which noise of the first level is added.

    References:
        | Bayesian Imaging Using Plug & Play Priors: When Langevin Meets Tweedie
        | (Laumont et al., 2021), Equation 3.5 without the projection,
        | https://arxiv.org/abs/2103.04715

    Raises:
        InvalidArgument: If step_size is not between 0 and 2.
    """

    step_size: float = 1 / 3
    start: Init = field(default=zeros, kw_only=True)

    has_fixed_point: ClassVar[bool] = False

    def __post_init__(self) -> None:
        good = 0 < self.step_size < 2
        require(good, "step_size", expected="a number between 0 and 2", got=self.step_size)

    @classmethod
    def paper(
        cls, steps: int = 1000, prior: Prior | None = None, *, sigma: float = 10 / 255
    ) -> ULA:
        """One level, and a third of the step that the curvature allows.

        Arguments:
            steps: How many; chains on pictures need many thousands.
            sigma: The level: 5 / 255 of pictures in [0, 1] is 10 / 255 of those in [-1, 1].
            prior: The levels are those that this prior is good for; by default all of them.
        """
        return preset_for(prior, cls(preset(partial(held, steps, sigma))))

    def needs_density(self) -> bool:
        return True

    @property
    def draws_posterior(self) -> bool:
        return True

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Walk:
        """The start, noise of the first level, and how stiff the likelihood is there."""
        x = self.start(problem, rng)
        x = x + self.schedule.levels[0].to(x) * rng.randn_like(x)
        return Walk(x, problem.operator.norm(x) ** 2 * curvature(problem, problem.noise))

    def step(
        self, state: Walk, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Walk:
        x, s = state.x, self.schedule.levels.to(state.x)[k]
        cap = curvature(problem, problem.noise)
        h = per_lane(self.step_size / (state.stiffness + s**-2), x)
        data, _ = tamed_grad(problem, problem.noise, x, cap)
        force = (prior(x, s) - x) / per_lane(s, x) ** 2 - data
        return Walk(x + h * force + (2 * h).sqrt() * rng.randn_like(x), state.stiffness)

    def estimate(self, state: Walk) -> Float[Tensor, "b *n"]:
        return state.x

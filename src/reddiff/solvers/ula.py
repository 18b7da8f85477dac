"""ULA: Langevin sampling of the posterior, with the score of the prior at a noise level."""

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
    """The state of a chain.

    Arguments:
        x: The current draw.
        stiffness: An upper bound on the curvature of -log p(y | A(x)), `(b,)`.
    """

    x: Tensor
    stiffness: Tensor


@dataclass(frozen=True)
class ULA(Solver[Walk]):
    r"""The unadjusted Langevin algorithm, with Tweedie's formula for the prior's score.

    .. math:: x \leftarrow x + h \left[ \frac{D(x, s) - x}{s^2} + \nabla \log p(y \mid A(x)) \right]
        + \sqrt{2h}\, n

    At a constant level s it draws from p(y | A(x)) p_s(x), where p_s is the prior smoothed by noise
    of level s. This is close to the posterior if s is small compared with the posterior spread. The
    variance is too large by a factor 1 / (1 - step_size / 2) in the stiffest direction, and by less
    in others.

    Arguments:
        schedule: The levels s: constant, or annealed down to the target level.
        step_size: h times an upper bound on the curvature, between 0 and 2. The bound is
            ||J||^2 `curvature(problem, noise)` + 1 / s^2, with J the Jacobian of A at the start.
        start: The initial x, to which noise of the first level is added.

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
        """The published settings: one noise level, and a step size of 1/3.

        Arguments:
            steps: The number of steps; chains on images need many thousands.
            prior: If given, levels are limited to its range.
            sigma: The noise level; 10 / 255 for images in [-1, 1] is 5 / 255 for those in [0, 1].
        """
        return preset_for(prior, cls(preset(partial(held, steps, sigma))))

    def needs_density(self) -> bool:
        return True

    @property
    def draws_posterior(self) -> bool:
        return True

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Walk:
        """The start plus noise of the first level, and the stiffness of the likelihood there."""
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

"""DAPS: a clean x by the probability flow, a draw around it given y, and new noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import InvalidArgument, require, require_count, require_positive
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import SLACK, Schedule, karras, preset
from reddiff.solvers.base import Solver, StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive
from reddiff.solvers.runs import inner_levels, probability_flow
from reddiff.solvers.steps.conditional import Conditional, PerturbAndSolve
from reddiff.solvers.steps.conditioning import moment_matched, perturbed_data
from reddiff.solvers.steps.mcmc import Langevin


@dataclass(frozen=True)
class DAPS(Sampler):
    r"""Decoupled annealing posterior sampling.

    At level s:

    .. math:: c = \mathrm{ODE}(x), \qquad
        x_0 \sim p(y \mid A(x_0))\, e^{-\|x_0 - c\|^2 / 2 s^2}, \qquad x \leftarrow x_0 + s' n

    The likelihood is halved as in the equation; the released code has it without the half, which
    is noise of sigma_y / sqrt(2). The Gaussian around c of width s stands for p(x_0 | x): it is
    too wide where s is above the spread of the prior, and has no correlations. So the draws are
    approximate, however exact the conditional ones are: on random Gaussian problems, 200 levels,
    their mean is within .2 of the posterior's spread, their variance 1.3 to 1.7 times its.

    **With the covariance of the prior's error** :math:`C_s` (`Prior.error_covariance`) in the place
    of :math:`s^2 I`, for linear A and Gaussian noise, x_0 is drawn from
    :math:`p(y \mid A x_0)\, N(x_0; c, C_s)`. With `ode_steps` = 1, where c is D, that is
    p(x_0 | x_t, y) of a Gaussian prior, and draws are exact there at any number of levels. Ours.

    Arguments:
        schedule: The levels. The last draw, at its last level above 0, is the estimate.
        conditional: How x_0 is drawn. `PerturbAndSolve()` is exact for linear problems.
        ode_steps: Network evaluations a level, those of Euler's method.
        ode_end: The least level of the ODE (from which it jumps to D), or s where that is less.
        decay: The step size of a conditional with a published one, at the last level, over that
            at the first; linear in the step between.
        error_covariance: Whether x_0 is drawn with the covariance of the prior's error; the
            conditional has to be `PerturbAndSolve()`.

    References:
        | Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing
        | (Zhang et al., 2024), Algorithm 1, https://arxiv.org/abs/2407.01521

    Raises:
        InvalidArgument: If an argument is out of its range.
    """

    conditional: Conditional = field(default_factory=Langevin)
    ode_steps: int = 5
    ode_end: float = 0.01
    decay: float = 1.0
    error_covariance: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("ode_steps", self.ode_steps)
        require_positive("ode_end", self.ode_end)
        require_positive("decay", self.decay)
        exact = isinstance(self.conditional, PerturbAndSolve)
        expected = "PerturbAndSolve() with error_covariance=True"
        got = type(self.conditional).__name__
        require(exact or not self.error_covariance, "conditional", expected=expected, got=got)

    @classmethod
    def paper(
        cls, steps: int = 200, prior: Prior | None = None, *, lr: float = 1e-4, tau: float = 0.01
    ) -> DAPS:
        """The published settings, for pictures in [-1, 1]: 100 Langevin steps a level.

        Arguments:
            steps: Levels from 100 to .1; five evaluations each.
            lr: The step size of Langevin steps, which falls to 1 % of it; per task in the paper.
                Cut where it would diverge, which at the tau below is for ||A|| above 1.2.
            tau: The sigma of the likelihood, whatever that of the noise.
            prior: The levels are those that this prior is good for; by default all of them.
        """
        schedule = preset(partial(_levels, steps))
        conditional = Langevin(100, lr=lr, tau=tau)
        return preset_for(prior, cls(schedule, conditional, decay=0.01))

    def check(self, problem: Problem, prior: Prior) -> None:
        """Also the conditional, and the levels of the ODE."""
        super().check(problem, prior)
        self.conditional.check(problem)
        if self.ode_end < prior.sigma_min * (1 - SLACK):
            expected = f"at least {prior.sigma_min:.4g}, the lowest level of the prior"
            raise InvalidArgument("ode_end", expected=expected, got=self.ode_end)

    def fitted(self, prior: Prior) -> Solver[Diffused]:
        """Also the last level of the ODE."""
        made = super().fitted(prior)
        if self.schedule.remake is None or not isinstance(made, DAPS):
            return made
        return replace(made, ode_end=max(made.ode_end, prior.sigma_min))

    @property
    def cost(self) -> StepCost:
        return StepCost(self.ode_steps)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        table = inner_levels(s, torch.full_like(s, self.ode_end), self.ode_steps)
        center = probability_flow(lambda x, v: self.denoise(prior, x, v), state.x, table)
        if self.error_covariance:
            errors = prior.error_covariance(s, center)
            around = center + errors.root(rng.randn_like(center))
            x_0 = moment_matched(perturbed_data(problem, rng), around, s, errors)
        else:
            x_0 = self._drawn(problem, center, s, k, rng)
        return arrive(x_0 + per_lane(s_next, x_0) * rng.randn_like(x_0), x_0, s_next)

    def _drawn(
        self, problem: Problem, center: Tensor, s: Tensor, k: Int[Tensor, " b"], rng: Rng
    ) -> Tensor:
        """A draw about the center, of the conditional."""
        gone = k.to(s) / max(len(self.schedule) - 1, 1)
        conditional = self.conditional.paced(1 + gone * (self.decay - 1))
        return conditional(problem, center, s, center, rng)


def _levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    return karras(steps, max(0.1, sigma_min), min(100.0, sigma_max))

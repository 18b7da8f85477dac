"""DAPS: the probability flow to a clean x, a draw near it given y, and new noise."""

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

    Each step, from level s to s', is

    .. math:: c = \mathrm{ODE}(x), \qquad
        x_0 \sim p(y \mid A(x_0))\, e^{-\|x_0 - c\|^2 / 2 s^2}, \qquad x \leftarrow x_0 + s' n

    The log-likelihood is that of the equation. The released code omits its factor 1/2, which
    corresponds to noise of sigma_y / sqrt(2). The Gaussian around c approximates p(x_0 | x). It is
    too wide where s exceeds the spread of the prior, and it has no correlations. Draws are
    therefore approximate, even if those from the conditional are exact. On random Gaussian problems
    with 200 levels, their mean is within 0.2 standard deviations of the posterior mean, and their
    variance is 1.3 to 1.7 times too large.

    With `error_covariance` (our extension, for linear A and Gaussian noise) the covariance
    :math:`C_s` of the prior's error (`Prior.error_covariance`) replaces :math:`s^2 I`: x_0 is drawn
    from :math:`p(y \mid A x_0)\, N(x_0; c, C_s)`. With `ode_steps` = 1, c is D, and for Gaussian
    priors this is p(x_0 | x_t, y): draws are then exact for any number of levels.

    Arguments:
        schedule: The noise levels. The draw at the last level above 0 is the estimate.
        conditional: The method to draw x_0. `PerturbAndSolve()` is exact for linear problems.
        ode_steps: Euler steps of the ODE, and thus network evaluations, per level.
        ode_end: The last level of the ODE, from which it goes to D; s if that is lower.
        decay: Ratio of the step size of the conditional at the last level to that at the first, if
            it has a published step size; it changes linearly with the step.
        error_covariance: Whether to use the covariance of the prior's error; `conditional` must
            then be `PerturbAndSolve()`.

    References:
        | Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing
        | (Zhang et al., 2024), Algorithm 1, https://arxiv.org/abs/2407.01521

    Raises:
        InvalidArgument: If an argument is out of range.
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
        """The published settings, for images in [-1, 1]: 100 Langevin steps per level.

        Arguments:
            steps: The number of levels, from 100 to 0.1, with five evaluations each.
            prior: If given, levels are limited to its range.
            lr: The first step size of the Langevin steps; it falls to 1 % of that. The paper sets
                it per task. It is reduced where the steps would diverge; with the default tau
                that is for ||A|| above 1.2.
            tau: The sigma of the likelihood, used in place of sigma_y.
        """
        schedule = preset(partial(_levels, steps))
        conditional = Langevin(100, lr=lr, tau=tau)
        return preset_for(prior, cls(schedule, conditional, decay=0.01))

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        self.conditional.check(problem)
        if self.ode_end < prior.sigma_min * (1 - SLACK):
            expected = f"at least {prior.sigma_min:.4g}, the lowest level of the prior"
            raise InvalidArgument("ode_end", expected=expected, got=self.ode_end)

    def fitted(self, prior: Prior) -> Solver[Diffused]:
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
        """A draw near the center, from `conditional`."""
        gone = k.to(s) / max(len(self.schedule) - 1, 1)
        conditional = self.conditional.paced(1 + gone * (self.decay - 1))
        return conditional(problem, center, s, center, rng)


def _levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    return karras(steps, max(0.1, sigma_min), min(100.0, sigma_max))

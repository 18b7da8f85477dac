"""MMPS: posterior means at each level, from the mean and the covariance given by the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require_count, require_share
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, geometric, preset
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim
from reddiff.solvers.steps.conditioning import moment_matched


@dataclass(frozen=True)
class MMPS(Sampler):
    r"""Moment matching posterior sampling.

    .. math:: E[x \mid x_t, y] \approx x_0 + V A^T (\sigma_y^2 + A V A^T)^{-1} (y - A x_0), \qquad
        V = \sigma_t^2\, \partial x_0 / \partial x_t \quad (\alpha_t = 1)

    replaces the denoiser in DDIM. V is the covariance of x given x_t, by Tweedie's formula. A
    product with V is a backward pass through the network, and the linear system is solved by a few
    conjugate gradient iterations. A nonlinear A is linearized at x_0, which is our generalization.

    For a Gaussian prior the mean is exact once the conjugate gradients have converged, and the only
    bias of the draws is the discretization error. For other priors, x given x_t is assumed to be
    Gaussian, and V to be symmetric, which holds for an exact denoiser. sigma_y = 0 is replaced by
    0.001 times the standard deviation that PiGDM assumes for A x; directions that A hardly measures
    are then left to the prior.

    Arguments:
        schedule: The noise levels.
        iterations: The number of conjugate gradient iterations, each with one backward pass; the
            mean needs one more. Published values are 1 to 5; with as many as y has entries, the
            system is solved exactly.
        eta: The share of new noise in a DDIM step, from 0 to 1. For Gaussian priors 0.5 needs the
            fewest steps: with 100 `karras` levels the covariance is within 10 %.

    References:
        | Learning Diffusion Priors from Observations by Expectation Maximization (Rozet et al.,
        | 2024), Section 4.2, https://arxiv.org/abs/2405.13712

    Raises:
        InvalidArgument: If `iterations` is not an integer above 0, or eta is not in [0, 1].
    """

    iterations: int = 5
    eta: float = 0.5

    noises: ClassVar[type[Noise]] = Gaussian

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("iterations", self.iterations)
        require_share("eta", self.eta)

    @classmethod
    def paper(cls, steps: int = 256, prior: Prior | None = None, *, iterations: int = 1) -> MMPS:
        """The published settings: DDPM (eta = 1), levels even in log sigma from 100 to 0.001.

        Arguments:
            steps: The number of levels; 256 in the released code for CIFAR-10.
            prior: If given, levels are limited to its range.
            iterations: 1 for masked images; more for operators with a wider spectrum.
        """
        schedule = preset(partial(_levels, steps))
        return preset_for(prior, cls(schedule, iterations, eta=1.0))

    @property
    def cost(self) -> StepCost:
        return StepCost(vjps=self.iterations + 1)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0 = self.guided(problem, prior, state.x, s)
        return arrive(ddim(state.x, x_0, s, s_next, self.eta, rng), x_0, s_next)

    def guided(
        self, problem: Problem, prior: Prior, x: Float[Tensor, "b *n"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """E[x_0 | x_0 + s n = x, y], by moment matching."""
        x_0, pullback = prior.vjp(x, s)
        x_0 = self._clipped(x_0)  # clips the mean only, so that V stays symmetric

        def covariance(v: Tensor) -> Tensor:
            return per_lane(s**2, x) * pullback(v)

        return moment_matched(problem, x_0, s, covariance, iterations=self.iterations, tol=0.0)


def _levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    return geometric(steps, max(1e-3, sigma_min), min(1e2, sigma_max))

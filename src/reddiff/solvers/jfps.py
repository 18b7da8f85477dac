"""JFPS: MMPS with an assumed covariance of x, which needs no backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require_count, require_share
from reddiff.noise import Gaussian, Noise
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, geometric, preset
from reddiff.solvers.base import preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim
from reddiff.solvers.steps.conditioning import ITERATIONS, moment_matched
from reddiff.solvers.steps.spread import PowerLaw, Spread


@dataclass(frozen=True)
class JFPS(Sampler):
    r"""Jacobian-free posterior sampling.

    .. math:: E[x \mid x_t, y] \approx x_0 + V A^T (\sigma_y^2 + A V A^T)^{-1} (y - A x_0), \qquad
        V = (C^{-1} + s^{-2})^{-1}

    replaces the denoiser in DDIM. C is an assumed covariance of x, which does not depend on the
    prior, and V is the covariance of x given x_t for a Gaussian x. A step therefore costs one
    evaluation, while MMPS also needs backward passes. A nonlinear A is linearized at x_0, which is
    our generalization.

    For a Gaussian prior with covariance C, the only bias of the draws is the discretization error.
    sigma_y = 0 is treated as in MMPS.

    Arguments:
        schedule: The noise levels.
        spread: C.
        iterations: The largest number of conjugate gradient iterations, which evaluate A but not
            the network.
        eta: The share of new noise in a DDIM step, from 0 to 1.

    References:
        | The guidance `JFPSDenoiser` of azula (Rozet), https://github.com/probabilists/azula

    Raises:
        InvalidArgument: If `iterations` is not an integer above 0, or eta is not in [0, 1].
    """

    spread: Spread = field(default_factory=PowerLaw)
    iterations: int = ITERATIONS
    eta: float = 1.0

    noises: ClassVar[type[Noise]] = Gaussian

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("iterations", self.iterations)
        require_share("eta", self.eta)

    @classmethod
    def default(
        cls, steps: int = 64, prior: Prior | None = None, *, spread: Spread | None = None
    ) -> JFPS:
        """DDPM (eta = 1) with levels evenly spaced in log sigma from 100 to 0.01.

        Arguments:
            steps: The number of levels.
            prior: If given, levels are limited to its range.
            spread: C; by default that of images in [-1, 1].
        """
        made = cls(preset(partial(_levels, steps)), PowerLaw() if spread is None else spread)
        return preset_for(prior, made)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0 = self.guided(problem, self.denoise(prior, state.x, s), s)
        return arrive(ddim(state.x, x_0, s, s_next, self.eta, rng), x_0, s_next)

    def guided(
        self, problem: Problem, x_0: Float[Tensor, "b *n"], s: Float[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """E[x | x_t, y], from x_0 = E[x | x_t] at level s."""
        v = self.spread.eigen(x_0).given(s)
        return moment_matched(problem, x_0, s, v, iterations=self.iterations)


def _levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    return geometric(steps, max(1e-2, sigma_min), min(1e2, sigma_max))

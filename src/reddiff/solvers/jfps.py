"""JFPS: MMPS without a backward pass, with an assumed covariance of x."""

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

    takes the place of the denoiser in DDIM. C is the covariance of x, assumed and not taken from
    the prior, and V is that of x given x_t for a Gaussian x. So it costs one evaluation a step,
    where MMPS goes back through the network. A nonlinear A is linearized at x_0, which is our
    generalization.

    On a Gaussian prior whose covariance is C, draws are biased by the steps' size alone. sigma_y =
    0 is taken as in MMPS.

    Arguments:
        schedule: The levels.
        spread: C.
        iterations: The most conjugate gradient steps, which evaluate A and not the network.
        eta: How much of the noise a DDIM step draws anew, from 0 to 1.

    References:
        | The guidance `JFPSDenoiser` of azula (Rozet), https://github.com/probabilists/azula

    Raises:
        InvalidArgument: If iterations is not an integer above 0, or eta not between 0 and 1.
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
        """DDPM (eta = 1) on levels even in log sigma from 100 to 0.01.

        Arguments:
            steps: Levels.
            prior: The levels are those that this prior is good for; by default all of them.
            spread: C; that of pictures in [-1, 1] by default.
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
        """E[x | x_t, y] from E[x | x_t] = x_0 at level s."""
        v = self.spread.eigen(x_0).given(s)
        return moment_matched(problem, x_0, s, v, iterations=self.iterations)


def _levels(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    return geometric(steps, max(1e-2, sigma_min), min(1e2, sigma_max))

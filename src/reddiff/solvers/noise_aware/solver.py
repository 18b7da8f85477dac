"""RED-diff with exact data steps and weights that follow from the noise level of y."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, UnknownGaussian
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import preset
from reddiff.solvers.base import Solver, unsolved
from reddiff.solvers.noise_aware.levels import Levels, log_even
from reddiff.solvers.noise_aware.linear import linear_step
from reddiff.solvers.noise_aware.nonlinear import nonlinear_step
from reddiff.solvers.noise_aware.realism import REALISM, inertia, momentum_of, noise_scale_of
from reddiff.solvers.noise_aware.start import initial_state
from reddiff.solvers.noise_aware.state import NoiseAwareState

SIGMA_MIN, SIGMA_MAX = 0.01, 20.0  # for x with entries of about 1


@dataclass(frozen=True)
class NoiseAwareREDDiff(Solver[NoiseAwareState]):
    r"""Noise-aware RED-diff: alternates data steps and denoising at decreasing noise levels s.

    At level s, the negative log posterior under the smoothed prior has the gradient
    :math:`\nabla(-\log p(y \mid A(\mu))) + (\mu - D(\mu + s\,\varepsilon, s)) / s^2`. This is the
    gradient of RED-diff with :math:`\lambda_t = 1 / s^2` and a data term in nats.

    A step combines :math:`\mu` and y into an input z of the denoiser, with noise of level s, and
    then corrects the output of the denoiser by y. Let :math:`\sigma` be the noise of the best
    measured coordinate, at most s, :math:`w = \mu + \beta (\mu - \mu_\mathrm{previous})` the
    extrapolation by momentum, and e the z - D of the step before:

    .. math:: z = w + s^2 A^T (\tau^2 A A^T + \lambda \sigma_y^2)^{-1} (y - A (w - \omega e))
        + \rho\,\xi, \qquad
        \mu \leftarrow D + P A^T (A P A^T + \lambda \sigma_y^2)^{-1} (y - A D),

    where :math:`D = D(z, s)`, :math:`\tau^2 = \min(s^2, s^2 - \lambda \sigma^2 + \omega s^2)` and
    :math:`P = (1 - \omega / \lambda) \rho^2 (s^2 - \sigma^2)`.

    **Noise matching.** :math:`\xi` is Gaussian. Its covariance raises the noise of y in z to level
    s in every direction, so that the input of the denoiser has the stated noise level and no noise
    is counted twice. At the last level, :math:`s = \sigma`, this is a gradient step on the data
    term followed by the denoiser, whose fixed point for a Gaussian prior is the posterior mean. If
    A has a spectral form, all steps are exact, and coordinates with less noise than s use Tweedie's
    formula at their own noise level. Other linear operators use conjugate gradients. For A = I the
    result is :math:`D(y, \sigma_y)`. Nonlinear operators and other noise use proximal steps
    (`reddiff.solvers.steps.proximal`) at :math:`D(w + \rho s\,\varepsilon, s)`.

    **Realism** r is the fraction of the posterior variance that the iterates have: at 1 the last
    iterate is a draw, at 0 the posterior mean of a Gaussian prior. It determines :math:`\rho`,
    :math:`\beta` and :math:`\xi`, and for non-Gaussian priors :math:`\lambda` and :math:`\omega`,
    which are otherwise 1 and 0 (see `reddiff.solvers.noise_aware.realism`).

    **Levels** are evenly spaced in log s, from the first of the schedule to a last level per lane.
    This is the noise of the best measured coordinate, :math:`\sigma_y / \lVert A \rVert`, but not
    below the last level of the schedule. It is a quarter of that for nonlinear A and non-Gaussian
    noise, and lower for r above 3/4, down to the last level of the schedule at r = 1. For a
    Gaussian prior and r = 1 it is also at most 1/24 of the noise.

    **Piecewise constant operators** (rounding, JPEG) are replaced by a smooth approximation, whose
    error counts as noise (`Problem.smoothed`).

    **Unknown noise** (`UnknownGaussian`): sigma_y is estimated from the smallest residual of D so
    far, and s decreases until it reaches that estimate (discrepancy principle).

    Arguments:
        schedule: The noise levels, rescaled to the last level of each lane.
        realism: r, from 0 to 1.

    Raises:
        InvalidArgument: If realism is not in [0, 1].

    References:
        | RED-diff's weight and gradient: https://arxiv.org/abs/2305.04391, Section 3.
        | The proximal step: DiffPIR, Equation 12, https://arxiv.org/abs/2305.08995.
    """

    has_fixed_point: ClassVar[bool] = False  # levels decrease until the end
    estimates_noise: ClassVar[bool] = True

    realism: float = REALISM

    def __post_init__(self) -> None:
        good = 0 <= self.realism <= 1
        require(good, "realism", expected="a number from 0 to 1", got=self.realism)

    @classmethod
    def default(
        cls,
        steps: int = 50,
        *,
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        realism: float = REALISM,
    ) -> NoiseAwareREDDiff:
        """Settings for x with entries of about 1, for any operator and noise.

        Arguments:
            steps: Network evaluations.
            sigma_min: The lower bound of the last level.
            sigma_max: The first level.
            realism: See the class.

        Raises:
            InvalidArgument: If an argument is out of range.
        """
        return cls(preset(partial(log_even, steps), sigma_min, sigma_max), realism)

    @classmethod
    def for_prior(
        cls, prior: Prior, steps: int = 50, *, realism: float = REALISM
    ) -> NoiseAwareREDDiff:
        """`default`, with levels within the range of the prior."""
        low, high = max(SIGMA_MIN, prior.sigma_min), min(SIGMA_MAX, prior.sigma_max)
        return cls.default(steps, sigma_min=min(low, high), sigma_max=high, realism=realism)

    @property
    def draws_posterior(self) -> bool:
        return self.realism == 1

    @property
    def momentum(self) -> float:
        """Beta, if no noise of the step before is reused."""
        return momentum_of(self.realism)

    @property
    def noise_scale(self) -> float:
        """Rho in the second half of the steps."""
        return noise_scale_of(self.realism)

    @property
    def levels(self) -> Levels:
        """The noise levels of each lane."""
        return Levels(self.schedule, self.realism)

    def prepare(self, problem: Problem) -> Problem:
        """`Problem.smoothed`, because a piecewise constant operator has no useful gradient."""
        return problem.smoothed()

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> NoiseAwareState:
        return initial_state(problem, prior, self.levels, rng)

    def step(
        self, state: NoiseAwareState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> NoiseAwareState:
        r, operator = self.realism, problem.operator
        known = not isinstance(problem.noise, UnknownGaussian)
        s = self.levels.at(state.low, k, stretched=known)
        before = self.levels.at(state.low, (k - 1).clamp(min=0), stretched=known)
        kept, beta = inertia(r, state.non_gaussianity, s / before, later=(k > 0).to(s.device))
        eps = rng.randn_like(state.mu)
        if r > 0.5:
            old = per_lane(kept, eps)
            eps = old * state.noise + (1 - old**2).sqrt() * eps
        gaussian = isinstance(problem.noise, Gaussian | UnknownGaussian)
        if gaussian and isinstance(operator, LinearOperator):
            early = 2 * k < len(self.schedule)
            w, result = linear_step(
                state, problem, operator, prior, s, beta, eps, rng, r=r, early=early, known=known
            )
        else:
            w = state.extrapolated(beta)
            z = w + self.noise_scale * per_lane(s, w) * eps
            sigma_y = state.positive_sigma_y(known=known) if gaussian else None
            result = nonlinear_step(problem, prior, z, s, sigma_y)
        sigma_y, low = state.sigma_y, state.low
        if not known:
            sigma_y, low = self.levels.discrepancy(state, problem, result, s)
        return replace(
            state,
            mu=result.mu,
            previous=state.mu,
            sigma_y=sigma_y,
            low=low,
            error=result.error,
            noise=eps + (w - result.mu) / per_lane(s, w) if r > 0.5 else state.noise,
            solved=result.solved,
        )

    def estimate(self, state: NoiseAwareState) -> Float[Tensor, "b *n"]:
        return state.mu

    def noise_level(self, state: NoiseAwareState) -> Float[Tensor, " b"]:
        return state.sigma_y

    def warnings(self, state: NoiseAwareState) -> list[tuple[str, ...]]:
        return unsolved(state.solved)

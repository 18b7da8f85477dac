"""RED-diff with weights set by the noise level of y, and exact data steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
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
from reddiff.solvers.noise_aware.realism import REALISM, kept_share, momentum_of, noise_scale_of
from reddiff.solvers.noise_aware.start import initial_state
from reddiff.solvers.noise_aware.state import NoiseAwareState

SIGMA_MIN, SIGMA_MAX = 0.01, 20.0  # of x of a size about 1


@dataclass(frozen=True)
class NoiseAwareREDDiff(Solver[NoiseAwareState]):
    r"""Fits mu by data steps and denoisers while the noise level s falls.

    With a smoothed prior the negative log posterior has, at level s, the gradient
    :math:`\nabla(-\log p(y \mid A(\mu))) + (\mu - D(\mu + s\,\varepsilon, s)) / s^2`: RED-diff's,
    with the weight :math:`\lambda_t = 1 / s^2` against a data term in nats.

    One step shows the denoiser :math:`z = x + s\,n` as nearly as y allows, then moves what it
    returns towards y. With :math:`\sigma` the noise of the coordinate that y measures best, or s
    if that is less, momentum :math:`w = \mu + \beta (\mu - \mu_\mathrm{previous})` and e the
    z - D of the step before:

    .. math:: z = w + s^2 A^T (\tau^2 A A^T + \lambda \sigma_y^2)^{-1} (y - A (w - \omega e))
        + \rho\,\xi, \qquad
        \mu \leftarrow D + P A^T (A P A^T + \lambda \sigma_y^2)^{-1} (y - A D),

    where :math:`D = D(z, s)`, :math:`\tau^2 = s^2 - \lambda \sigma^2 + \omega s^2`, at most
    :math:`s^2`, and :math:`P = (1 - \omega / \lambda) \rho^2 (s^2 - \sigma^2)`.

    **Noise-matched.** :math:`\xi` is Gaussian with the covariance that brings the noise of y in z
    up to s in every direction, so that the input of the denoiser has the noise level it is given
    and no noise is counted twice. At the last level, :math:`s = \sigma`, this is a gradient step on
    the data term followed by the denoiser; its fixed point on a Gaussian prior is the posterior
    mean. Where A has a spectral form all of it is exact, and coordinates with less noise than s
    take Tweedie's formula at their own noise; other linear operators take the same steps by
    conjugate gradients. For A = I the answer is :math:`D(y, \sigma_y)`. Nonlinear operators and
    other noise take proximal steps (`reddiff.solvers.steps.proximal`) on
    :math:`D(w + \rho s\,\varepsilon, s)`.

    **Realism** r is the share of the posterior's variance that the iterates carry: at 1 the last
    iterate is a draw, at 0 the posterior mean of a Gaussian prior. It sets :math:`\rho`,
    :math:`\beta` and :math:`\xi`; :math:`\lambda = 1` and :math:`\omega = 0` for a Gaussian prior
    (module `reddiff.solvers.noise_aware.realism`).

    **Levels** fall evenly in log s from `schedule`'s first to a last of the lane's own: the noise
    of the coordinate that y shows best, :math:`\sigma_y / \lVert A \rVert`, at least the schedule's
    last (for r above 3/4 lower, down to the schedule's last at r = 1; a quarter for nonlinear A and
    for noise that is not Gaussian).

    **Operators that jump** (rounding, JPEG) are replaced by the smooth one near them, and what they
    differ by counts as noise (`Problem.smoothed`).

    **Unknown noise** (`UnknownGaussian`): sigma_y is the least residual of the denoised so far, and
    s falls until it meets it (a discrepancy rule).

    Arguments:
        schedule: The levels, stretched to each lane's own last one.
        realism: r, from 0 to 1.

    References:
        | RED-diff's weight and gradient: https://arxiv.org/abs/2305.04391, Section 3.
        | The proximal step is that of DiffPIR, https://arxiv.org/abs/2305.08995, Equation 12,
        | which differs in its noise rule.
    """

    has_fixed_point: ClassVar[bool] = False  # the last level falls to the noise of y, where it ends
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
        """The solver for x of a size about 1, whatever operator, noise and level.

        Arguments:
            steps: Network evaluations.
            sigma_min: The least last level.
            sigma_max: The first level.
            realism: See the class.

        Raises:
            InvalidArgument: If an argument cannot be used.
        """
        return cls(preset(partial(log_even, steps), sigma_min, sigma_max), realism)

    @classmethod
    def for_prior(
        cls, prior: Prior, steps: int = 50, *, realism: float = REALISM
    ) -> NoiseAwareREDDiff:
        """`default`, within the levels the prior is good for."""
        low, high = max(SIGMA_MIN, prior.sigma_min), min(SIGMA_MAX, prior.sigma_max)
        return cls.default(steps, sigma_min=min(low, high), sigma_max=high, realism=realism)

    @property
    def draws_posterior(self) -> bool:
        return self.realism == 1

    @property
    def momentum(self) -> float:
        """Beta, where no noise is kept."""
        return momentum_of(self.realism)

    @property
    def noise_scale(self) -> float:
        """Rho of late steps."""
        return noise_scale_of(self.realism)

    @property
    def levels(self) -> Levels:
        """The levels of each lane."""
        return Levels(self.schedule, self.realism)

    def prepare(self, problem: Problem) -> Problem:
        """`Problem.smoothed`: an operator that jumps has no gradient to follow."""
        return problem.smoothed()

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> NoiseAwareState:
        return initial_state(problem, prior, self.levels, rng)

    def step(
        self, state: NoiseAwareState, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> NoiseAwareState:
        """One denoising and one exact data step."""
        r, operator = self.realism, problem.operator
        known = not isinstance(problem.noise, UnknownGaussian)
        s = self.levels.at(state.low, k, stretched=known)
        before = self.levels.at(state.low, (k - 1).clamp(min=0), stretched=known)
        kept = kept_share(r, state.non_gaussianity, s / before)
        kept = torch.where((k > 0).to(s.device), kept, 0)
        beta = self.momentum - kept / max(2 * r, 1)
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

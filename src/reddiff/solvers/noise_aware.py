r"""RED-diff with weights set by the noise level of y, and exact data steps.

The negative log posterior with a smoothed prior has, at level s, the gradient
:math:`\nabla(-\log p(y \mid A(\mu))) + (\mu - D(\mu + s\,\varepsilon, s)) / s^2`: RED-diff's, with
the weight :math:`\lambda_t = 1 / s^2` against a data term in nats. Nothing is left to tune.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import dot, per_lane
from reddiff.noise import Gaussian, UnknownGaussian
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, geometric, preset
from reddiff.snapshot import State
from reddiff.solvers.base import Solver, unsolved
from reddiff.solvers.noise_aware_steps import (
    CG_ITERATIONS,
    CG_TOL,
    Level,
    Moved,
    iterative_step,
    spectral_step,
)
from reddiff.solvers.steps.proximal import proximal_map
from reddiff.spectral_view import SpectralView

SIGMA_MIN, SIGMA_MAX = 0.01, 20.0  # of x of a size about 1
# The proximal step on D counts y twice at levels near its noise; well below it, the error is small.
# Photons (30 a pixel): 22.2 dB at the noise of y, 25.5 at a quarter.
APART = 0.25
LEAST_NOISE = 0.004  # half a gray level of 8-bit pictures in [-1, 1]; used when sigma_y is 0
EXPONENT, LEAST = 1.5, 0.1  # of the prior's weight at realism 0; of the gaussianity
SLOPE = 2.5  # of u over 1 - eta
ROUNDING = 1e-4  # of the gaussianity, in single precision
MOST_KEPT = 0.5  # of the noise of a step, for many or equal levels
REALISM = 0.65  # the lab book has the curve (docs/research/noise-aware.md)


@dataclass(frozen=True)
class NoiseAwareState(State):
    """The mean, the one before it, and what is known of the noise.

    Arguments:
        mu: The mean.
        previous: The mean a step earlier.
        sigma_y: The noise of y as it is known so far, `(b,)`.
        low: The last level, `(b,)`; 0 while it is not known yet.
        norm: The largest singular value of A (of its derivative, where it is nonlinear), `(b,)`.
        gaussianity: Eta, `(b,)`.
        error: What the denoiser took away in the step before, the dual variable.
        noise: The noise in the input of the denoiser, as a multiple of s, as far as it is known
            after the step; see the class of the solver.
        solved: Whether the last data step reached its tolerance, `(b,)`.
    """

    mu: Tensor
    previous: Tensor
    sigma_y: Tensor
    low: Tensor
    norm: Tensor
    gaussianity: Tensor
    error: Tensor
    noise: Tensor
    solved: Tensor


@dataclass(frozen=True)
class NoiseAwareREDDiff(Solver[NoiseAwareState]):
    r"""Fits mu by data steps and denoisers while the noise level s falls.

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

    **Realism** r is the share of the posterior's variance that the iterates carry. They follow
    Langevin dynamics with momentum :math:`\beta` and noise :math:`\rho s`; in directions y leaves
    open their stationary variance is :math:`\rho^2 (1 + a) / 2 (1 - \beta)` of the posterior's. At
    1 the last iterate is a draw; at 0, without noise, the posterior mean of a Gaussian prior. A
    network wants :math:`\rho = 1`, so that its input has the level it is given: r of 1/2 and more.
    Its answer is then close to a mean, and sharper with larger r.

    **Noise that is kept.** For r above 1/2 and a prior that is not Gaussian (below),
    :math:`\xi` is not all fresh: it is made of
    :math:`\varepsilon = a\,\hat\varepsilon + \sqrt{1 - a^2}\,n` with n white. Here
    :math:`\hat\varepsilon = \varepsilon + (w - \mu) / s`, of the step before, is the noise that its
    z had if :math:`\mu` is right, without the move towards y. With :math:`a = (s / s')^2` from
    level s' to s and no momentum this would be the ancestral rule of DDPM;
    :math:`a = u (2 r - 1) (s / s')^4`, where :math:`(s / s')^4` counts as 1/2 at most, forgets the
    errors of the data step sooner.

    **A prior that is not Gaussian.** Its :math:`\eta` is the variance of its error
    (`Prior.error_covariance`) as a part of what a Gaussian prior with the same covariance of x
    would leave: about 0.55 for photos, and 1 for Gaussian priors and those whose error nobody
    measured, for which :math:`\lambda = 1` and :math:`\omega = 0`. Otherwise, with
    :math:`u = 5 (1 - \eta) / 2`, at most 1,

    - without noise the answer is a mode of the posterior of x at the level s, and too smooth where
      A damps x: the weight of the prior is :math:`\lambda = \eta^{3/2}` at r = 0;
    - what the denoiser took away stays in play, as the dual variable of ADMM: at r = 0,
      :math:`\omega = u \lambda`, and the momentum is smaller by the factor :math:`1 - u`;
    - y corrects D as far as D errs: with :math:`C_s` the covariance of its error, P is multiplied
      by :math:`(1 - u) I + u\,C_s / s^2`, by conjugate gradients.

    In the first half of the steps :math:`\rho` is 1 for such a prior, whatever r: noise finds what
    fits into large holes. From r = 0 to 1/2, :math:`\lambda` rises to 1 and :math:`\omega` falls
    to 0. All this is for linear A and Gaussian noise. The exponents were chosen on photos
    (docs/research/noise-aware.md).

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
        return cls(preset(partial(_even, steps), sigma_min, sigma_max), realism)

    @classmethod
    def for_prior(
        cls, prior: Prior, steps: int = 50, *, realism: float = REALISM
    ) -> NoiseAwareREDDiff:
        """`default`, within the levels the prior is good for."""
        low, high = max(SIGMA_MIN, prior.sigma_min), min(SIGMA_MAX, prior.sigma_max)
        return cls.default(steps, sigma_min=min(low, high), sigma_max=high, realism=realism)

    @property
    def draws_posterior(self) -> bool:
        """With realism 1 it does."""
        return self.realism == 1

    @property
    def momentum(self) -> float:
        """Beta, where no noise is kept."""
        r = self.realism
        return 1 - 1 / (2 * r) if r > 0.5 else 0.8 * (1 - 2 * r)

    @property
    def noise_scale(self) -> float:
        """Rho, so that rho^2 / 2 (1 - beta) is the realism."""
        return min(1.0, (2 * self.realism * (1 - self.momentum)) ** 0.5)

    def prepare(self, problem: Problem) -> Problem:
        """`Problem.smoothed`: an operator that jumps has no gradient to follow."""
        return problem.smoothed()

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> NoiseAwareState:
        """mu <- A^+ y."""
        mu = problem.initial_estimate()
        operator, noise = problem.operator, problem.noise
        near = operator.linearise(mu + rng.randn_like(mu))
        norm = operator.norm(mu, near)
        norm = torch.where(norm > 0, norm, 1)
        if isinstance(noise, UnknownGaussian):
            sigma_y, low = _rms(problem.y, problem), torch.zeros_like(norm)
        else:
            sigma_y = _rms(noise.std(near.a), problem)
            lower = 1.0 if problem.linear_gaussian else APART
            low = self._last(lower * sigma_y / norm).clamp(max=prior.sigma_max)
        eta = prior.gaussianity(torch.where(low > 0, low, 1), mu).clamp(LEAST, 1)
        none, solved = torch.zeros_like(mu), torch.isfinite(norm)
        return NoiseAwareState(mu, mu, sigma_y, low, norm, eta, none, none, solved)

    def step(
        self,
        state: NoiseAwareState,
        problem: Problem,
        prior: Prior,
        k: Int[Tensor, " b"],
        rng: Rng,
    ) -> NoiseAwareState:
        """One denoising and one exact data step."""
        unknown = isinstance(problem.noise, UnknownGaussian)
        s = self._levels(state.low, k, stretched=not unknown)
        moved, noise = self._move(state, problem, prior, s, k, rng, known=not unknown)
        sigma_y, low = state.sigma_y, state.low
        if unknown:
            sigma_y, low = self._discrepancy(state, problem, moved, s)
        return replace(
            state,
            mu=moved.mu,
            previous=state.mu,
            sigma_y=sigma_y,
            low=low,
            error=moved.error,
            noise=noise,
            solved=moved.solved,
        )

    def _move(
        self,
        state: NoiseAwareState,
        problem: Problem,
        prior: Prior,
        s: Tensor,
        k: Int[Tensor, " b"],
        rng: Rng,
        *,
        known: bool,
    ) -> tuple[Moved, Tensor]:
        """The step that fits the operator and the noise, and what is then known of that noise."""
        operator = problem.operator
        gaussian = isinstance(problem.noise, Gaussian | UnknownGaussian)
        sigma_y = _trusted(state, known=known) if gaussian else None
        kept = self._kept(state, s, k, known=known)
        beta = self.momentum - kept / max(2 * self.realism, 1)
        eps = rng.randn_like(state.mu)
        if self.realism > 0.5:
            old = per_lane(kept, eps)
            eps = old * state.noise + (1 - old**2).sqrt() * eps
        if sigma_y is not None and isinstance(operator, LinearOperator):
            weight, dual = self._weight(state), self._dual(state)
            level = Level(
                s,
                sigma_y,
                state.norm,
                self._scale(state, k),
                weight,
                dual=weight * dual,
                other=_other(state),
                found=not known,
            )
            base = w = _ahead(state, beta * (1 - dual))
            if self.realism < 0.5:
                base = w - per_lane(level.dual, w) * state.error
            view = SpectralView.of(problem, sigma_y)
            if view is not None:
                moved = spectral_step(problem, view, prior, w, base, eps, level)
            else:
                moved = iterative_step(problem, operator, prior, w, base, eps, level, rng)
        else:
            w = _ahead(state, beta)
            d = prior(w + self.noise_scale * per_lane(s, w) * eps, s)
            if sigma_y is not None:  # NaN in a lane is its own affair
                sigma_y = torch.where(sigma_y.isfinite(), sigma_y, 1)
                problem = problem.derived(noise=Gaussian(sigma_y))
            found = proximal_map(problem, d, s, tol=CG_TOL, iterations=CG_ITERATIONS)
            moved = Moved(found.x, d, torch.zeros_like(d), torch.zeros_like(s), found.converged)
        if self.realism <= 0.5:
            return moved, state.noise
        return moved, eps + (w - moved.mu) / per_lane(s, w)

    def _kept(
        self, state: NoiseAwareState, s: Float[Tensor, " b"], k: Int[Tensor, " b"], *, known: bool
    ) -> Float[Tensor, " b"]:
        """A; 0 in the first step."""
        before = self._levels(state.low, (k - 1).clamp(min=0), stretched=known)
        share = max(0.0, 2 * self.realism - 1) * _other(state)
        kept = share * (s / before).square().square().clamp(max=MOST_KEPT)
        return torch.where((k > 0).to(s.device), kept, 0)

    def _weight(self, state: NoiseAwareState) -> Float[Tensor, " b"]:
        """Lambda."""
        least = state.gaussianity**EXPONENT
        return least + min(2 * self.realism, 1) * (1 - least)

    def _dual(self, state: NoiseAwareState) -> Float[Tensor, " b"]:
        """Omega over lambda."""
        return max(0.0, 1 - 2 * self.realism) * _other(state)

    def _scale(self, state: NoiseAwareState, k: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Rho, in this step."""
        early = (2 * k < len(self.schedule)).to(state.low.device)
        least = torch.where(early, (2 * _other(state)).clamp(max=1), 0)
        return least.clamp(min=self.noise_scale)

    def _last(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The last level of lanes whose best coordinate has this noise."""
        levels = self.schedule.levels.to(sigma)
        first, last = levels[0], levels[-2]
        lower = max(0.0, 4 * self.realism - 3)
        low = sigma.clamp(min=last) ** (1 - lower) * last**lower
        return torch.minimum(low, first) if len(self.schedule) > 1 else low

    def _levels(self, low: Tensor, k: Tensor, *, stretched: bool) -> Float[Tensor, " b"]:
        """The level of step k in lanes whose last one is `low`: on the way there, or cut off."""
        log_s = self.schedule.levels[:-1].log()
        first, last = log_s[0], log_s[-1]
        if not stretched:
            return torch.maximum(log_s[k].exp().to(low), low)
        u = (first - log_s) / (first - last) if first > last else torch.ones_like(log_s)
        return (first + u[k] * (low.double().log() - first)).exp().to(low)

    def _discrepancy(
        self, state: NoiseAwareState, problem: Problem, moved: Moved, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sigma_y after a step, and the last level, which is found once s is down at the noise.

        Stein: with f degrees of freedom for each of the M entries, the residual of the denoised has
        the mean square sigma^2 (1 - 2 f) + s^2 f: sigma^2 (1 - f) at the noise.
        """
        f = moved.freedom.clamp(min=0, max=0.4)  # near 1/2 it does not tell sigma
        square = 2 * problem.misfit(moved.denoised) / problem.count
        at = (s * state.norm) ** 2
        found = ((square - at * f) / (1 - 2 * f)).clamp(min=square, max=square / (1 - f)).sqrt()
        found = torch.where(torch.isfinite(found), found, state.sigma_y)  # of a lane that diverged
        open_ = state.low == 0
        sigma_y = torch.where(open_, torch.minimum(state.sigma_y, found), state.sigma_y)
        reached = open_ & (s * state.norm <= found)
        return sigma_y, torch.where(reached, self._last(found / state.norm), state.low)

    def estimate(self, state: NoiseAwareState) -> Float[Tensor, "b *n"]:
        return state.mu

    def noise_level(self, state: NoiseAwareState) -> Float[Tensor, " b"]:
        """Sigma_y: given, or found so far."""
        return state.sigma_y

    def warnings(self, state: NoiseAwareState) -> list[tuple[str, ...]]:
        """Names the lanes whose last data step did not reach its tolerance."""
        return unsolved(state.solved)


def _ahead(state: NoiseAwareState, momentum: Float[Tensor, " b"]) -> Float[Tensor, "b *n"]:
    """w."""
    return state.mu + per_lane(momentum, state.mu) * (state.mu - state.previous)


def _other(state: NoiseAwareState) -> Float[Tensor, " b"]:
    """How little Gaussian the prior is, from 0 to 1; 0 if it is so but for rounding."""
    u = (SLOPE * (1 - state.gaussianity)).clamp(max=1)
    return torch.where(u > ROUNDING, u, 0)


def _trusted(state: NoiseAwareState, *, known: bool) -> Float[Tensor, " b"]:
    """Sigma_y as it was given; where it was 0 or is a guess, at least `LEAST_NOISE` of x."""
    least = torch.maximum(state.sigma_y, LEAST_NOISE * state.norm)
    return torch.where(state.sigma_y > 0, state.sigma_y, least) if known else least


def _rms(y: Tensor, problem: Problem) -> Float[Tensor, " b"]:
    """Over the measured entries."""
    y = torch.where(problem.measured, y, 0)
    return (dot(y, y) / problem.count.clamp(min=1)).sqrt()


def _even(steps: int, sigma_min: float, sigma_max: float) -> Schedule:
    """Even in log s; a single step is at the last level."""
    return geometric(steps, sigma_min, sigma_max if steps > 1 else sigma_min)

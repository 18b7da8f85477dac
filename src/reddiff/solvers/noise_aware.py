r"""RED-diff in nats: the noise level of y sets all weights, and the data step is exact.

The negative log posterior with a smoothed prior has, at level s, the gradient
:math:`A^T (A \mu - y) / \sigma_y^2 + (\mu - D(\mu + s\,\varepsilon, s)) / s^2`: RED-diff's, with
the weight :math:`\lambda_t = 1 / s^2` against a data term in nats. Nothing is left to tune.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import lanes
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import LinearOperator, Operator, SpectralOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, check_steps, karras
from reddiff.snapshot import Tree
from reddiff.solvers.base import Solver

CG_TOL, CG_ITERATIONS = 1e-3, 20
LEAST_NOISE = 0.004  # half a grey level of 8-bit pictures in [-1, 1]: y is never trusted beyond it


@dataclass(frozen=True)
class NoiseAwareState:
    """The mean, and the sum and number of the iterates that are averaged."""

    mu: Tensor
    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class NoiseAwareREDDiff(Solver[NoiseAwareState]):
    r"""Fits mu by exact data steps and denoisers while the noise level s falls.

    .. math:: \mu \leftarrow \arg\min_x \; \lVert y - A x \rVert^2 / 2 \sigma_y^2
        + \lVert x - D(\mu + \rho s\,\varepsilon, s) \rVert^2 / 2 s^2

    In the spectral basis of A, coordinate i is measured with noise of :math:`\sigma_i =
    \sigma_y / s_i`. Where :math:`\sigma_i \le s` the denoiser is shown the measurement itself,
    raised to the level it is told, :math:`y_i / s_i + \sqrt{s^2 - \sigma_i^2}\,\varepsilon`, and mu
    follows by Tweedie's formula at :math:`\sigma_i`: the noise is never counted twice. Elsewhere it
    is shown :math:`\mu_i + \rho s\,\varepsilon`, and mu takes the proximal step. Operators without
    a spectral form take the proximal step everywhere, by a few conjugate gradients from D where it
    has no closed form. The answer is the mean of the iterates at the last level; for A = I it is
    exactly :math:`D(y, \sigma_y)`.

    Arguments:
        schedule: The levels, from `annealing`; those at the last level are averaged.
        realism: rho: 0 for a posterior-mean-like answer, 1 for a draw-like one.

    References:
        | The weight of RED-diff and its gradient: https://arxiv.org/abs/2305.04391, Section 3.
        | The proximal step is that of DiffPIR, https://arxiv.org/abs/2305.08995, Equation 12,
        | which differs in its noise rule.
    """

    requires: ClassVar[type[Operator]] = LinearOperator
    noises: ClassVar[type[Noise]] = Gaussian

    realism: float = 1.0

    def __post_init__(self) -> None:
        good = 0 <= self.realism <= 1
        require(good, "realism", expected="a number from 0 to 1", got=self.realism)

    @classmethod
    def default(
        cls,
        sigma_y: float,
        steps: int = 50,
        *,
        sigma_min: float = 0.01,
        sigma_max: float = 80.0,
        realism: float = 1.0,
    ) -> NoiseAwareREDDiff:
        """The solver for noise of `sigma_y` in the units of x, on a prior of the range given.

        Arguments:
            sigma_y: The noise level, 0 or more.
            steps: Network evaluations; the last 40 % at the last level.
            sigma_min: The least last level.
            sigma_max: The first level.
            realism: See the class.
        """
        return cls(annealing(steps, sigma_y, sigma_min=sigma_min, sigma_max=sigma_max), realism)

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> NoiseAwareState:
        """mu <- A^+ y."""
        mu = problem.guess()
        return NoiseAwareState(mu, torch.zeros_like(mu), mu.new_zeros(len(mu)))

    def step(
        self,
        state: NoiseAwareState,
        problem: Problem,
        prior: Prior,
        k: Int[Tensor, " b"],
        rng: Rng,
    ) -> NoiseAwareState:
        """One denoising and one exact data step."""
        s = self.schedule.levels[k]
        if isinstance(problem.operator, SpectralOperator):
            mu = self._matched(state.mu, problem, problem.operator, prior, s, rng)
        else:
            mu = self._proximal(state.mu, problem, prior, s, rng)
        last = (s <= self.schedule.levels[-2] * (1 + 1e-9)).to(mu.dtype)
        total = state.total + lanes(last, mu) * mu
        return NoiseAwareState(mu, total, state.count + last)

    def _matched(
        self,
        mu: Tensor,
        problem: Problem,
        operator: SpectralOperator,
        prior: Prior,
        s: Tensor,
        rng: Rng,
    ) -> Tensor:
        z_y = operator.ut(problem.y)
        gain = operator.spectrum(z_y)
        level = lanes(s, z_y)
        seen = gain > 1e-6
        gain = torch.where(seen, gain, 1)
        sigma_i = lanes(_sigma_y(problem), z_y) / gain  # the noise of y_i / s_i
        z_y = z_y / gain
        matched = seen & (sigma_i <= level * (1 + 1e-6))
        fresh = (level**2 - sigma_i**2).clamp(min=0).sqrt()
        z_mu = operator.vt(mu)
        eps = operator.vt(rng.randn_like(mu))
        z_in = torch.where(matched, z_y + fresh * eps, z_mu + self.realism * level * eps)
        d = operator.vt(prior(operator.v(z_in), s))
        weight = torch.where(seen, sigma_i**2, 1)
        tweedie = z_y + (sigma_i / level) ** 2 * (d - z_in)
        proximal = torch.where(seen, (z_y * level**2 + d * weight) / (level**2 + weight), d)
        return operator.v(torch.where(matched, tweedie, proximal))

    def _proximal(self, mu: Tensor, problem: Problem, prior: Prior, s: Tensor, rng: Rng) -> Tensor:
        s = lanes(s, mu)
        d = prior(mu + self.realism * s * rng.randn_like(mu), s)
        operator = problem.operator
        assert isinstance(operator, LinearOperator)  # noqa: S101  (checked by `requires`)
        var = lanes(_sigma_y(problem), mu) ** 2
        # (A^T A / var + 1 / s^2)^-1 (A^T y / var + d / s^2), times s^2 throughout
        shift = operator.adjoint(problem.residual(d)) * s**2 / var
        gain = (s**2 / var).flatten()
        return d + operator.solve(shift, 1.0, gain, tol=CG_TOL, iterations=CG_ITERATIONS)

    def estimate(self, state: NoiseAwareState) -> Float[Tensor, "b *n"]:
        """The mean of the iterates at the last level; before that, the iterate."""
        count = lanes(state.count, state.mu)
        return torch.where(count > 0, state.total / count.clamp(min=1), state.mu)

    def dump(self, state: NoiseAwareState) -> Tree:
        """The three tensors."""
        return {"mu": state.mu, "total": state.total, "count": state.count}

    def load(self, tree: Tree) -> NoiseAwareState:
        """The inverse of `dump`."""
        return NoiseAwareState(**tree)


def annealing(
    steps: int,
    sigma_y: float,
    *,
    sigma_min: float = 0.01,
    sigma_max: float = 80.0,
    tail: float = 0.4,
) -> Schedule:
    """Levels from sigma_max to sigma_y (at least sigma_min), where the last part of them stays.

    Arguments:
        steps: The number of levels.
        sigma_y: The noise level in the units of x.
        sigma_min: The least last level.
        sigma_max: The first level.
        tail: The part of the levels that stays at the last one.

    Raises:
        InvalidArgument: If `steps` is below 1.
    """
    check_steps(steps)
    last = min(max(sigma_y, sigma_min), sigma_max)
    falling = max(1, round(steps * (1 - tail)))
    s = karras(falling, last, sigma_max).sigma[:-1]
    s = torch.cat([s, s.new_full((steps - falling + 1,), last)])
    return Schedule(torch.ones_like(s), s)


def _sigma_y(problem: Problem) -> Tensor:
    assert isinstance(problem.noise, Gaussian)  # noqa: S101  (checked by `noises`)
    return torch.as_tensor(problem.noise.sigma, dtype=torch.float64).clamp(min=LEAST_NOISE)

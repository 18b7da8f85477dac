"""DDRM: diffusion restoration in the spectral coordinates of a linear operator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require_positive, require_share
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import Operator
from reddiff.operators.spectral import SpectralOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import Schedule, even, preset, vp_within
from reddiff.solvers.base import preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive
from reddiff.solvers.inits import scaled_adjoint
from reddiff.spectral_view import SpectralView

HIGHEST = 2.0  # first level of `default`: four times the spread of pixels in [-1, 1]


@dataclass(frozen=True)
class DDRM(Sampler):
    r"""Denoising diffusion restoration models.

    With :math:`\bar x = V^T x`, :math:`\bar y_i = (U^T y)_i / s_i` and its noise
    :math:`\sigma_i = \sigma_y / s_i`, a step from level s to s' is, where

    .. math::
        s_i = 0: &\quad \bar x' = \bar D + s' (\sqrt{1 - \eta^2}\,\hat\varepsilon + \eta z) \\
        \sigma_i > s': &\quad \bar x' = \bar D
            + s' (\sqrt{1 - \eta^2}\,(\bar y - \bar D) / \sigma_i + \eta z) \\
        \sigma_i \le s': &\quad \bar x' = (1 - \eta_b) \bar D + \eta_b \bar y
            + \sqrt{s'^2 - \eta_b^2 \sigma_i^2}\, z

    and it starts from the last line at the first level, with :math:`\bar y` in the place of D.
    Every x' has noise of exactly the level s' if D is the truth; but D does not know y, so that a
    run is no draw from the posterior: on Gaussian priors it is off in the mean, and spreads too
    little.
    With sigma_y = 0 and :math:`\eta_b` = 1 the answer is consistent with y to rounding.

    The paper asks for a first level above all :math:`\sigma_i`. Here coordinates that it does not
    reach, and those of s_i below the rounding error of the largest, start as if unmeasured.

    Arguments:
        schedule: The levels.
        eta: :math:`\eta`, the share of fresh noise where y is of no or little use, 0 to 1.
        eta_b: :math:`\eta_b`, how far y replaces the prior's estimate where it is precise, 0 to 1.

    References:
        | Denoising Diffusion Restoration Models (Kawar et al., 2022), Equations 7 and 8,
        | https://arxiv.org/abs/2201.11793

    Raises:
        InvalidArgument: If eta or eta_b is not in [0, 1].
    """

    eta: float = 0.85
    eta_b: float = 1.0

    requires: ClassVar[type[Operator]] = SpectralOperator
    noises: ClassVar[type[Noise]] = Gaussian

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("eta", self.eta)
        require_share("eta_b", self.eta_b)

    @classmethod
    def paper(cls, steps: int = 20, prior: Prior | None = None) -> DDRM:
        """The published settings, for all tasks: eta .85 and eta_b 1 (Section 5, Appendix E).

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: The levels are those that this prior is good for; by default all of them.
        """
        return preset_for(prior, cls(vp_within(steps)))

    @classmethod
    def default(cls, steps: int = 20, prior: Prior | None = None, *, sigma_n: float = 0.1) -> DDRM:
        """For pictures in [-1, 1]: levels evenly spaced from 2 to that of the noise.

        Of the 20 published levels few lie between 0.1 and 2, where the content of missing pixels
        is decided. It starts from `inits.scaled_adjoint`, as level 2 does not hide the start.

        Arguments:
            steps: Levels.
            prior: The levels are those that this prior is good for; by default all of them.
            sigma_n: The last level, above 0: sigma_y, where a flat x has a y of the same
                brightness.

        Raises:
            InvalidArgument: If sigma_n is not positive and finite.
        """
        require_positive("sigma_n", sigma_n)
        schedule = preset(partial(_even, steps, sigma_n))
        return preset_for(prior, cls(schedule, start=scaled_adjoint))

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Diffused:
        """y with noise added up to the first level where it is precise, elsewhere start + s n."""
        y = SpectralView.required(problem)
        s = self.schedule.levels[0].to(problem.y).expand(len(problem))
        start = self.start(problem, rng)
        z = torch.where(y.reach(s), y.x, y.operator.vt(start))
        noise = y.fresh(s, 1.0) * y.operator.vt(rng.randn_like(start))
        return Diffused(y.operator.v(z + noise), y.operator.v(z))

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        """One line of the equation for each spectral coordinate."""
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        y = SpectralView.required(problem)
        x = restored(y, state.x, x_0, s, s_next, self.eta, self.eta_b, rng)
        return arrive(x, x_0, s_next)


def _even(steps: int, sigma_n: float, sigma_min: float, sigma_max: float) -> Schedule:
    high = min(max(HIGHEST, sigma_min), sigma_max)
    return even(steps, min(max(sigma_n, sigma_min), high), high)


def restored(
    y: SpectralView,
    x: Float[Tensor, "b *n"],
    x_0: Float[Tensor, "b *n"],
    s: Float[Tensor, " b"],
    s_next: Float[Tensor, " b"],
    eta: float,
    eta_b: float,
    rng: Rng,
) -> Float[Tensor, "b *n"]:
    """The step of `DDRM` from x at level s to `s_next`, with the estimate x_0."""
    old, d = y.operator.vt(x), y.operator.vt(x_0)
    level, reach = per_lane(s_next, d), y.reach(s_next)
    noisy = torch.where(y.sigma > 0, y.sigma, 1)  # is only used where y is out of reach
    residual = (y.y - y.s * d) / noisy  # (y / s - d) / sigma_i, for any s_i
    eps = torch.where(y.seen, residual, (old - d) / per_lane(s, d))
    kept = (1 - eta**2) ** 0.5 * level * eps
    mean = torch.where(reach, (1 - eta_b) * d + eta_b * y.x, d + kept)
    rest = y.fresh(s_next, eta_b)
    fresh = torch.where(reach, rest, eta * rest)
    return y.operator.v(mean + fresh * y.operator.vt(rng.randn_like(x)))

"""DDRM: denoising diffusion restoration in the spectral coordinates of a linear operator."""

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

HIGHEST = 2.0  # first level of `default`: 4 standard deviations of pixels in [-1, 1]


@dataclass(frozen=True)
class DDRM(Sampler):
    r"""Denoising diffusion restoration models.

    Let :math:`\bar x = V^T x` and :math:`\bar y_i = (U^T y)_i / s_i`, whose noise is
    :math:`\sigma_i = \sigma_y / s_i`. A step from level s to s' is, depending on the coordinate,

    .. math::
        s_i = 0: &\quad \bar x' = \bar D + s' (\sqrt{1 - \eta^2}\,\hat\varepsilon + \eta z) \\
        \sigma_i > s': &\quad \bar x' = \bar D
            + s' (\sqrt{1 - \eta^2}\,(\bar y - \bar D) / \sigma_i + \eta z) \\
        \sigma_i \le s': &\quad \bar x' = (1 - \eta_b) \bar D + \eta_b \bar y
            + \sqrt{s'^2 - \eta_b^2 \sigma_i^2}\, z

    The start is the last line at the first level, with :math:`\bar y` in place of D. If D were the
    true x, each x' would have noise of exactly level s'. Because D does not depend on y, a run is
    not a draw from the posterior: for Gaussian priors the mean is biased and the spread too small.
    With sigma_y = 0 and :math:`\eta_b = 1` the result is consistent with y up to rounding.

    The paper requires a first level above all :math:`\sigma_i`. Here, coordinates with
    :math:`\sigma_i` above the first level start as if they were not measured, as do those with
    :math:`s_i` below the rounding error of the largest singular value.

    Arguments:
        schedule: The noise levels.
        eta: :math:`\eta`, the share of new noise where y is missing or too noisy, 0 to 1.
        eta_b: :math:`\eta_b`, the weight of y against D where y is precise, 0 to 1.

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
        """The published settings for all tasks: eta = 0.85 and eta_b = 1 (Section 5, Appendix E).

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
        """
        return preset_for(prior, cls(vp_within(steps)))

    @classmethod
    def default(cls, steps: int = 20, prior: Prior | None = None, *, sigma_n: float = 0.1) -> DDRM:
        """Settings for images in [-1, 1]: levels evenly spaced from 2 to the noise level.

        The content of missing pixels is determined at levels between 0.1 and 2, of which the 20
        published levels have few. The start is `inits.scaled_adjoint`, because noise of level 2
        does not hide it.

        Arguments:
            steps: The number of levels.
            prior: If given, levels are limited to its range.
            sigma_n: The last level, above 0; sigma_y if A preserves the brightness of a constant
                image.

        Raises:
            InvalidArgument: If sigma_n is not positive and finite.
        """
        require_positive("sigma_n", sigma_n)
        schedule = preset(partial(_even, steps, sigma_n))
        return preset_for(prior, cls(schedule, start=scaled_adjoint))

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Diffused:
        """y, with noise added up to the first level, where it is precise; elsewhere start + s n."""
        y = SpectralView.required(problem)
        s = self.schedule.levels[0].to(problem.y).expand(len(problem))
        start = self.start(problem, rng)
        z = torch.where(y.reach(s), y.x, y.operator.vt(start))
        noise = y.fresh(s, 1.0) * y.operator.vt(rng.randn_like(start))
        return Diffused(y.operator.v(z + noise), y.operator.v(z))

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
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
    noisy = torch.where(y.sigma > 0, y.sigma, 1)  # used only outside of `reach`
    residual = (y.y - y.s * d) / noisy  # (y / s - d) / sigma_i, for any s_i
    eps = torch.where(y.seen, residual, (old - d) / per_lane(s, d))
    kept = (1 - eta**2) ** 0.5 * level * eps
    mean = torch.where(reach, (1 - eta_b) * d + eta_b * y.x, d + kept)
    rest = y.fresh(s_next, eta_b)
    fresh = torch.where(reach, rest, eta * rest)
    return y.operator.v(mean + fresh * y.operator.vt(rng.randn_like(x)))

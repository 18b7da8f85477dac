"""DDNM and DDNM+: DDIM with the range-space part of each estimate replaced by the measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import Operator
from reddiff.operators.linear import LinearOperator
from reddiff.operators.spectral import SpectralOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import preset_for
from reddiff.solvers.base_sampler import renoise
from reddiff.solvers.ddrm import restored
from reddiff.solvers.time_travel import Traveller
from reddiff.spectral_view import SpectralView


@dataclass(frozen=True)
class DDNM(Traveller):
    r"""The denoising diffusion null-space model, for noiseless y.

    .. math::
        x_0' = D - A^+ (A D - y), \qquad
        x' = x_0' + s' (\sqrt{1 - \eta^2}\,\hat\varepsilon + \eta z)

    with the noise :math:`\hat\varepsilon = (x - D) / s` predicted by the prior. For any prior, the
    result is consistent with y up to rounding. As published, sigma_y is ignored, and noise in y is
    amplified by :math:`A^+`; for noisy y use `DDNMPlus`. Because D does not depend on y, a run is
    not a draw from the posterior, even without noise.

    Arguments:
        schedule: The noise levels.
        eta: :math:`\eta`, the share of new noise in each step, 0 to 1.
        travel: l, the number of levels of a segment of time travel, at least 1.
        repeats: r, how often each segment is traversed; 1 is without time travel.

    References:
        | Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al.,
        | 2022), Equation 13 and Algorithms 1 and 2, https://arxiv.org/abs/2212.00490

    Raises:
        InvalidArgument: If eta is not in [0, 1], or travel or repeats is not an integer >= 1.
    """

    requires: ClassVar[type[Operator]] = LinearOperator

    @classmethod
    def paper(
        cls, steps: int = 100, prior: Prior | None = None, *, travel: int = 1, repeats: int = 1
    ) -> DDNM:
        """The published settings: eta = 0.85 for all tasks.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            travel: The length of time travel, for tasks such as large holes.
            repeats: How often each segment is traversed.
        """
        return preset_for(prior, cls(vp_within(steps), travel=travel, repeats=repeats))

    def restored(
        self, x: Tensor, x_0: Tensor, s: Tensor, s_next: Tensor, problem: Problem, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """x' and x_0' of the equation."""
        eps = (x - x_0) / per_lane(s, x)
        x_0 = x_0 + problem.linear.pinv(problem.residual(x_0))
        return renoise(x_0, eps, s_next, self.eta, rng), x_0


@dataclass(frozen=True)
class DDNMPlus(Traveller):
    r"""DDNM+, the null-space model for noisy y: the correction is reduced where y is too noisy.

    In spectral coordinates, with :math:`\bar y_i = (U^T y)_i / s_i` and
    :math:`\sigma_i = \sigma_y / s_i`,

    .. math::
        \bar x_0' = \bar D + \lambda_i (\bar y - \bar D), \qquad \lambda_i = 1
        \;\text{if}\; \sigma_i \le s', \;\text{else}\; \sqrt{1 - \eta^2}\,s' / \sigma_i

    and noise is added up to level s', with variance :math:`s'^2 - \sigma_i^2` or
    :math:`\eta^2 s'^2`; coordinates with :math:`s_i = 0` take the DDIM step. This equals the step
    of `DDRM` with :math:`\eta_b = 1`, and has the same bias. The differences are the start from
    pure noise, the number of steps, and time travel. With sigma_y = 0, all noise in measured
    coordinates is new, while `DDNM` keeps a part of the old noise.

    Arguments:
        schedule: The noise levels.
        eta: :math:`\eta`, the share of new noise where y is missing or too noisy, 0 to 1.
        travel: l, the number of levels of a segment of time travel, at least 1.
        repeats: r, how often each segment is traversed; 1 is without time travel.

    References:
        | Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (Wang et al.,
        | 2022), Equations 17 to 19 and Appendix I, https://arxiv.org/abs/2212.00490

    Raises:
        InvalidArgument: If eta is not in [0, 1], or travel or repeats is not an integer >= 1.
    """

    requires: ClassVar[type[Operator]] = SpectralOperator
    noises: ClassVar[type[Noise]] = Gaussian

    @classmethod
    def paper(
        cls, steps: int = 100, prior: Prior | None = None, *, travel: int = 1, repeats: int = 1
    ) -> DDNMPlus:
        """The published settings; the arguments are those of `DDNM.paper`."""
        return preset_for(prior, cls(vp_within(steps), travel=travel, repeats=repeats))

    def restored(
        self, x: Tensor, x_0: Tensor, s: Tensor, s_next: Tensor, problem: Problem, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """x' of the equation, and D."""
        y = SpectralView.required(problem)
        x = restored(y, x, x_0, s, s_next, self.eta, 1.0, rng)
        return x, x_0

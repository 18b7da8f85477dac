"""DiffPIR: a proximal data step on each estimate, followed by partly new noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_positive, require_share
from reddiff.lanes import per_lane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_late_within
from reddiff.solvers.base import preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, renoise
from reddiff.solvers.steps.conditioning import check_linear_gaussian, moment_matched
from reddiff.solvers.steps.proximal import proximal_map

RELEASED = 4  # published lambda / effective lambda of the released code; see `paper`


@dataclass(frozen=True)
class DiffPIR(Sampler):
    r"""Denoising diffusion models for plug-and-play image restoration.

    .. math::
        x_0' &= \arg\min_x \; -\log p(y \mid A(x)) + \lambda \lVert x - D \rVert^2 / 2 s^2 \\
        x' &= x_0' + s' (\sqrt{1 - \zeta}\,\hat\varepsilon' + \sqrt{\zeta}\,z), \qquad
        \hat\varepsilon' = (x - x_0') / s

    It accepts any operator and noise: the data step is `reddiff.solvers.steps.proximal`. That step
    assumes that x, given x_t, has variance :math:`s^2 / \lambda` in every direction. At low levels
    x already contains information from y, which is then counted twice: a run is not a draw from the
    posterior. For Gaussian priors and :math:`\lambda = \zeta = 1`, the mean converges to the
    posterior mean as the number of steps increases, and the covariance to half that of the
    posterior. With the published values 7 and 0.3 the spread is twice as large.

    With `error_covariance` (our extension, for linear A and Gaussian noise) the covariance
    :math:`C_s` of the prior's error (`Prior.error_covariance`) replaces :math:`s^2 I`, and the data
    step is

    .. math:: x_0' = D + C_s A^T (A C_s A^T + \lambda \sigma_y^2)^{-1} (y - A D)

    For a Gaussian prior and :math:`\lambda = 1` this is E[x | x_t, y]. The mean over runs is then
    the posterior mean for any number of steps; their covariance still depends on zeta.

    Arguments:
        schedule: The noise levels.
        lam: :math:`\lambda`, the weight of the prior in the data step, above 0.
        zeta: :math:`\zeta`, the share of new noise, in variance, 0 to 1.
        error_covariance: Whether to use the covariance of the prior's error in the data step.

    References:
        | Denoising Diffusion Models for Plug-and-Play Image Restoration (Zhu et al., 2023),
        | Algorithm 1 and Equations 12 to 15, https://arxiv.org/abs/2305.08995

    Raises:
        InvalidArgument: If lam is not positive and finite, or zeta is not in [0, 1].
    """

    lam: float = 1.0
    zeta: float = 1.0
    error_covariance: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("lam", self.lam)
        require_share("zeta", self.zeta)

    @classmethod
    def paper(
        cls, steps: int = 100, prior: Prior | None = None, *, lam: float = 7.0, zeta: float = 0.3
    ) -> DiffPIR:
        """The settings of the released code, for images in [-1, 1], with clipped estimates.

        The released code divides sigma_y for pixels in [0, 1] by levels for pixels in [-1, 1].
        With both in the same units, as here, its effective lambda is a quarter of the published
        one. Its levels are quadratic in t, most of them low.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            lam: The published value: 7 for deblurring, 1 for inpainting. A quarter of it is used.
            zeta: 0.3 for deblurring, 1 for inpainting.
        """
        schedule = vp_late_within(steps)
        return preset_for(prior, cls(schedule, lam / RELEASED, zeta, clip=1.0))

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        if self.error_covariance:
            check_linear_gaussian("DiffPIR(error_covariance=True)", problem)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        if self.error_covariance:
            errors = prior.error_covariance(s, x_0).scaled(torch.full_like(s, 1 / self.lam))
            x_0 = moment_matched(problem, x_0, s, errors)
        else:
            x_0 = proximal_map(problem, x_0, s / self.lam**0.5).x
        eps = (state.x - x_0) / per_lane(s, x_0)
        return arrive(renoise(x_0, eps, s_next, self.zeta**0.5, rng), x_0, s_next)

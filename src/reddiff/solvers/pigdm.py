"""PiGDM: DDIM guided by the pseudo-inverse of A, through the network."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_share
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim, vp_alpha
from reddiff.solvers.steps.conditioning import check_linear_gaussian, moment_matched
from reddiff.solvers.steps.proximal import proximal_map

TOL = 1e-4  # tolerance of the data step, if it has no closed form


@dataclass(frozen=True)
class PiGDM(Sampler):
    r"""Pseudo-inverse guided diffusion.

    .. math::
        v &= A^T (A A^T + \sigma_y^2 / r_t^2)^{-1} (y - A x_0), \qquad
            r_t^2 = \sigma_t^2 \quad (\alpha_t^2 + \sigma_t^2 = 1) \\
        x_{t-1} &\leftarrow \mathrm{DDIM}(x_t, x_0)
            + \alpha_{t-1} \alpha_t (\partial x_0 / \partial x_t)^T v

    v is `proximal_map(x_0, r_t) - x_0`, which for sigma_y = 0 is (the limit) A^+ (y - A x_0). It is
    computed by conjugate gradients if A has no closed form, and by Gauss-Newton steps if A is
    nonlinear or the noise is not Gaussian; the latter are our generalization.

    x given x_t is assumed to be N(x_0, r_t^2 I), which is correct only for a prior N(m, I). Even
    then the guidance differs from the score, and draws have a smaller spread than the posterior.

    With `error_covariance` (our extension, for linear A and Gaussian noise) the covariance
    :math:`C_s` of the prior's error (`Prior.error_covariance`) replaces :math:`r_t^2 I`, and DDIM
    uses

    .. math:: E[x \mid x_t, y] \approx x_0 + C_s A^T (A C_s A^T + \sigma_y^2)^{-1} (y - A x_0)

    in place of D. This is the score that Equation 7 approximates, with :math:`C_s / s^2` also used
    for the Jacobian :math:`\partial x_0 / \partial x_t` (at :math:`\alpha_t = 1`); for Gaussian
    priors the two are equal and the mean is exact. There is no backward pass. The Jacobian of the
    network would not be consistent with the averaged :math:`C_s`: the guidance would overshoot
    where the prior is less certain than on average.

    Arguments:
        schedule: The noise levels.
        eta: The share of new noise in a DDIM step, from 0 to 1.
        error_covariance: Whether to use the covariance of the prior's error, without a vjp.

    References:
        | Pseudoinverse-Guided Diffusion Models for Inverse Problems (Song et al., 2023),
        | Algorithm 1 and Equations 7 and 8, https://openreview.net/forum?id=9_gsMA8MRKQ

    Raises:
        InvalidArgument: If eta is not in [0, 1].
    """

    eta: float = 1.0
    error_covariance: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share("eta", self.eta)

    @classmethod
    def paper(cls, steps: int = 100, prior: Prior | None = None) -> PiGDM:
        """The published settings for all tasks: DDIM with eta = 1, without clipping.

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
        """
        return preset_for(prior, cls(vp_within(steps)))

    @property
    def cost(self) -> StepCost:
        return StepCost(vjps=0 if self.error_covariance else 1)

    def check(self, problem: Problem, prior: Prior) -> None:
        super().check(problem, prior)
        if self.error_covariance:
            check_linear_gaussian("PiGDM(error_covariance=True)", problem)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        if self.error_covariance:
            x_0 = self.denoise(prior, state.x, s)
            x_0 = moment_matched(problem, x_0, s, prior.error_covariance(s, x_0))
            return arrive(ddim(state.x, x_0, s, s_next, self.eta, rng), x_0, s_next)
        x_0, pullback = self.denoise_vjp(prior, state.x, s)
        guidance = pullback(proximal_map(problem, x_0, s * vp_alpha(s), tol=TOL).x - x_0)
        # dividing by alpha' gives x', and d x_0 / d x_t is the pullback over alpha: both cancel
        x = ddim(state.x, x_0, s, s_next, self.eta, rng) + guidance
        return arrive(x, x_0, s_next)

"""MCG: the step of DPS, followed by a projection onto a noisy measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from reddiff.errors import require_nonnegative
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import Operator
from reddiff.operators.linear import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import Rng
from reddiff.schedules import vp_within
from reddiff.solvers.base import StepCost, preset_for
from reddiff.solvers.base_sampler import Diffused, Sampler, arrive, ddim, vp_alpha
from reddiff.solvers.dps import residual_norm_grad


@dataclass(frozen=True)
class MCG(Sampler):
    r"""Manifold constrained gradients.

    .. math::
        x' &= \mathrm{DDPM}(x_t, x_0) - \zeta\,\nabla_{x_t} \lVert y - A x_0 \rVert \\
        x_{t-1} &\leftarrow A^+ y_{t-1} + (I - A^+ A)\,x', \qquad
            y_{t-1} = \alpha_{t-1} y + \sigma_{t-1} A n

    n is drawn in the space of x, so that y_{t-1} is the measurement of a noisy x; for a mask this
    equals the paper's N(0, I) in the space of y. As published, sigma_y does not occur: the result
    fits y including its noise, which A^+ amplifies where A is weak. Results are not draws from the
    posterior, for any prior; without noise they are consistent with y up to rounding.

    Arguments:
        schedule: The noise levels.
        zeta: :math:`\zeta`, the step size, in units of x.

    References:
        | Improving Diffusion Models for Inverse Problems using Manifold Constraints (Chung et al.,
        | 2022), Equations 14 to 16, https://arxiv.org/abs/2206.00941

    Raises:
        InvalidArgument: If zeta is negative or not finite.
    """

    zeta: float = 1.0

    requires: ClassVar[type[Operator]] = LinearOperator
    noises: ClassVar[type[Noise]] = Gaussian

    def __post_init__(self) -> None:
        super().__post_init__()
        require_nonnegative("zeta", self.zeta)

    @classmethod
    def paper(cls, steps: int = 1000, prior: Prior | None = None, *, zeta: float = 1.0) -> MCG:
        """The settings of DPS, with which MCG is usually compared, for images in [-1, 1].

        Arguments:
            steps: Levels of the linear VP schedule (T = 1000).
            prior: If given, levels are limited to its range.
            zeta: 1 for box inpainting, 0.5 for random inpainting, 0.3 for deblurring and
                super-resolution.
        """
        schedule = vp_within(steps)
        return preset_for(prior, cls(schedule, zeta, clip=1.0))

    @property
    def cost(self) -> StepCost:
        return StepCost(vjps=1)

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Int[Tensor, " b"], rng: Rng
    ) -> Diffused:
        s, s_next = self.levels(k, state.x)
        x_0, pullback = self.denoise_vjp(prior, state.x, s)
        grad = pullback(residual_norm_grad(problem, x_0))
        x = ddim(state.x, x_0, s, s_next, 1.0, rng)
        x = x - per_lane(self.zeta / (vp_alpha(s) * vp_alpha(s_next)), grad) * grad  # as in DPS
        noise = per_lane(s_next, x) * rng.randn_like(x)
        x = x + problem.linear.pinv(
            problem.residual(x - noise)
        )  # y + A (s' n) - A x where measured
        return arrive(x, x_0, s_next)

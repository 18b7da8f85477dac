"""Measurements of the spectral coordinates of x, for operators with a spectral form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import per_lane
from reddiff.noise import Gaussian
from reddiff.operators.spectral import SpectralOperator
from reddiff.problem import Problem

ROUNDING = 100  # smallest relative singular value that counts as measured, in units of eps
SLACK = 1e-5  # relative tolerance for levels computed from sigma_y / s_i


@dataclass(frozen=True, eq=False)
class SpectralView:
    r"""Measurements of the spectral coordinates of x.

    The measurement of coordinate i is :math:`y_i / s_i`, with noise :math:`\sigma_y / s_i`.

    Arguments:
        operator: A.
        y: :math:`U^T y`, in the units of y.
        s: The singular values; 1 for coordinates that are not measured.
        sigma: sigma_y, in the units of y, with all axes.
        seen: The measured coordinates, whose singular value exceeds the rounding error of the
            largest one.
    """

    operator: SpectralOperator
    y: Tensor
    s: Tensor
    sigma: Tensor
    seen: Bool[Tensor, "b *k"]

    @classmethod
    def of(
        cls, problem: Problem, sigma_y: Float[Tensor, " b"] | None = None
    ) -> SpectralView | None:
        """The view of a problem; None unless A has a spectral form and the noise is Gaussian.

        Arguments:
            problem: The problem.
            sigma_y: Replaces the noise level of the problem, one per lane.
        """
        operator, noise = problem.operator, problem.noise
        if not isinstance(operator, SpectralOperator):
            return None
        sigma = noise.sigma if sigma_y is None and isinstance(noise, Gaussian) else sigma_y
        if sigma is None:
            return None
        y = operator.ut(problem.y)
        s = operator.spectrum(y).expand_as(y)
        least = ROUNDING * torch.finfo(y.dtype).eps * s.flatten(1).amax(1)
        seen = s > per_lane(least, s)
        return cls(operator, y, torch.where(seen, s, 1), per_lane(sigma, y), seen)

    @classmethod
    def required(cls, problem: Problem) -> SpectralView:
        """`of`, for methods that need the view.

        Raises:
            Unsupported: If there is no such view.
        """
        view = cls.of(problem)
        if view is None:
            got = f"{type(problem.operator).__name__} and {type(problem.noise).__name__}"
            raise Unsupported(f"expected a SpectralOperator and Gaussian noise, got {got}")
        return view

    @property
    def x(self) -> Float[Tensor, "b *k"]:
        """y_i / s_i; 0 for coordinates that are not measured."""
        return torch.where(self.seen, self.y / self.s, 0)

    @property
    def sigma_x(self) -> Float[Tensor, "b *k"]:
        """sigma_y / s_i, the noise of `x`; meaningless for coordinates that are not measured."""
        return self.sigma / self.s

    def reach(self, level: Float[Tensor, " b"]) -> Bool[Tensor, "b *k"]:
        """The measured coordinates whose noise is at most `level`."""
        return self.seen & (self.sigma <= self.s * per_lane(level, self.s) * (1 + SLACK))

    def fresh(self, level: Float[Tensor, " b"], eta_b: float) -> Float[Tensor, "b *k"]:
        """The noise to add to `eta_b x` to reach `level`; outside of `reach`, the level itself."""
        wide = per_lane(level, self.s).expand_as(self.s)
        rest = (wide**2 - (eta_b * self.sigma / self.s) ** 2).clamp(min=0).sqrt()
        return torch.where(self.reach(level), rest, wide)

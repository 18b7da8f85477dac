"""Tone curves: y is x transformed entry by entry."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.operators.base import Operator, Shape


class Pointwise(Operator):
    """Base class of functions applied to each entry of x, for values in [low, high].

    Arguments:
        low: The lower end of the range.
        high: The upper end of the range.

    Raises:
        InvalidArgument: If low is not below high, or either is not finite.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        check_range(low, high)
        self.low, self.high = low, high

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def _register(self, name: str, argument: str, value: float | Tensor, *, per_lane: bool) -> None:
        """Validate a positive parameter, one number or one per lane, and register it."""
        value = torch.as_tensor(value, dtype=torch.float64)
        ndim, form = (1, "shape (b,)") if per_lane else (0, "one number")
        fits = value.ndim == ndim and value.numel() > 0
        require(fits, argument, expected=form, got=f"shape {tuple(value.shape)}")
        good = bool((torch.isfinite(value) & (value > 0)).all())
        require(good, argument, expected="positive finite values", got=value.tolist())
        self.register_buffer(name, value, persistent=False)
        self.batched = (name,) if per_lane else ()


class Clip(Pointwise):
    r"""Saturation: :math:`y = \min(\max(g x, \mathrm{low}), \mathrm{high})`.

    With a contrast of 2 on [-1, 1] this is the high dynamic range task of RED-diff and DPS, in
    which half of the tonal range saturates. Where y is saturated the derivative is zero, and only
    the prior contributes.

    Arguments:
        contrast: g, positive; with `per_lane`, `(b,)`.
        low: The smallest y.
        high: The largest y.
        per_lane: Whether each lane has its own contrast.

    References:
        | A Variational Perspective on Solving Inverse Problems with Diffusion Models (Mardani et
        | al., 2023), Section 5 (high dynamic range), https://arxiv.org/abs/2305.04391

    Raises:
        InvalidArgument: If the contrast is not positive and finite, or low is not below high.
    """

    factor: Tensor

    def __init__(
        self,
        contrast: float | Tensor = 2.0,
        low: float = -1.0,
        high: float = 1.0,
        *,
        per_lane: bool = False,
    ) -> None:
        super().__init__(low, high)
        self._register("factor", "contrast", contrast, per_lane=per_lane)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        return (per_lane(self.factor, x) * x).clamp(self.low, self.high)

    def initial_estimate(self, y: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """clip(y) / g: of all x that y is consistent with, the one closest to mid-gray."""
        return y.clamp(self.low, self.high) / per_lane(self.factor, y)


class Gamma(Pointwise):
    r"""A tone curve: :math:`y = \mathrm{low} + r\,((x - \mathrm{low}) / r)^\gamma`, r = high - low.

    Black (low) and white (high) are unchanged. A power has slope zero or infinity at black.
    Therefore, up to the fraction `toe` of the range, the curve is a straight line through black
    that meets the power at the toe. Above white it continues along its tangent. The curve is thus
    invertible everywhere, with slopes between toe^(gamma - 1) and gamma.

    Arguments:
        gamma: The exponent, positive: 1 / 2.2 brightens, 2.2 darkens; with `per_lane`, `(b,)`.
        low: The value of black.
        high: The value of white.
        toe: The fraction of the range, between 0 and 1, in which the curve is a line.
        per_lane: Whether each lane has its own gamma.

    References:
        | Multimedia Systems and Equipment - Colour Measurement and Management - Part 2-1 (IEC
        | 61966-2-1, 1999): the sRGB curve, which has a linear toe for the same reason

    Raises:
        InvalidArgument: If gamma is not positive and finite, toe is not between 0 and 1, or low is
            not below high.
    """

    gamma: Tensor

    def __init__(
        self,
        gamma: float | Tensor,
        low: float = -1.0,
        high: float = 1.0,
        *,
        toe: float = 0.01,
        per_lane: bool = False,
    ) -> None:
        super().__init__(low, high)
        require(0 < toe < 1, "toe", expected="a number between 0 and 1", got=toe)
        self.toe = toe
        self._register("gamma", "gamma", gamma, per_lane=per_lane)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        gamma, u = per_lane(self.gamma, x), self._unit(x)
        power = u.clamp(self.toe, 1) ** gamma
        above = (u - 1).clamp(min=0) * gamma
        below = (u.clamp(max=self.toe) - self.toe) * self.toe ** (gamma - 1)
        return self.low + (self.high - self.low) * (power + above + below)

    def initial_estimate(self, y: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The inverse curve of y clipped to [low, high], since values outside are noise."""
        gamma, v = per_lane(self.gamma, y), self._unit(y).clamp(0, 1)
        foot = self.toe**gamma
        power = v.maximum(foot) ** (1 / gamma)
        below = (v.minimum(foot) - foot) * self.toe ** (1 - gamma)
        return self.low + (self.high - self.low) * (power + below)

    def _unit(self, x: Tensor) -> Tensor:
        return (x - self.low) / (self.high - self.low)


def check_range(low: float, high: float) -> None:
    """Raise InvalidArgument unless low < high, both finite."""
    good = math.isfinite(low) and math.isfinite(high) and low < high
    require(good, "high", expected=f"a finite number above low = {low}", got=high)

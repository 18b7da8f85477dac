"""Gaussian noise followed by rounding to a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import log_ndtr

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.noise.base import Noise, check_numbers
from reddiff.noise.clipped import hazard
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Rounded(Noise):
    r"""Rounding after Gaussian noise: :math:`y = \Delta\,\mathrm{round}((a + \sigma n) / \Delta)`.

    y determines only the interval that contains a + sigma n:

    .. math:: -\log p(y \mid a) = -\log \left[
        \Phi\!\left(\frac{y + \Delta/2 - a}{\sigma}\right) -
        \Phi\!\left(\frac{y - \Delta/2 - a}{\sigma}\right) \right]

    This is smooth and convex in a, and flat within a wide step. `curvature` is its second
    derivative; a quadratic with its minimum at y would move a to the middle of the step.

    Arguments:
        step: Delta, in the units of y, positive: a number, one per lane `(b,)`, or one per entry,
            `(1 or b, *m)` with the axes of y.
        sigma: The standard deviation before rounding, in the units of y, positive, with the same
            choice of shapes. A tenth of a step is close to noiseless.
        origin: A point of the grid, in the units of y.

    Raises:
        InvalidArgument: If step or sigma is not positive and finite, or, in `check`, if it does
            not broadcast to y.
    """

    step: float | Tensor
    sigma: float | Tensor
    origin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("step", "sigma"):
            value = getattr(self, name)
            check_numbers(name, value.flatten() if isinstance(value, Tensor) else value)
        good = math.isfinite(self.origin)
        require(good, "origin", expected="one finite number", got=self.origin)

    @property
    def censored(self) -> bool:
        return True

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a + sigma n, rounded to the grid."""
        step, value = per_lane(self.step, a), a + per_lane(self.sigma, a) * rng.randn_like(a)
        return self.origin + step * ((value - self.origin) / step).round()

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """-log of the probability of the interval around y."""
        cell = self._cell(y, a)
        return -(log_ndtr(cell.upper) + (-torch.expm1(-cell.log_ratio)).log()).to(a)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(phi(u) - phi(l)) / (sigma (Phi(u) - Phi(l))), with the ends u and l of the interval."""
        cell = self._cell(y, a)
        return ((a - y).sign() * cell.slope / cell.sigma).to(a)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """sqrt(sigma^2 + step^2 / 12), averaged over the position of a in its step."""
        return (per_lane(self.sigma, a) ** 2 + per_lane(self.step, a) ** 2 / 12).sqrt().expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """The second derivative, (1 - Var[n | y]) / sigma^2."""
        cell = self._cell(y, a)
        lower = cell.density * torch.exp(-cell.tilt)  # phi(l) / P, phi(u) / P = cell.density
        taken = cell.slope * (cell.slope + cell.upper) + cell.width * lower
        return (taken.clamp(0, 1) / cell.sigma**2).to(a)

    def check(self, y: Tensor) -> None:
        for name in ("step", "sigma"):
            _check_fits(name, getattr(self, name), y)

    def _per_lane(self) -> dict[str, Tensor]:
        return {k: v for k, v in super()._per_lane().items() if v.ndim == 1 or len(v) > 1}

    def _cell(self, y: Tensor, a: Tensor) -> _Cell:
        y, a = y.double(), a.double()
        sigma = per_lane(self.sigma, a)
        width = per_lane(self.step, a) / sigma
        off = (a - y).abs() / sigma
        upper = width / 2 - off
        log_ratio = log_ndtr(upper) - log_ndtr(upper - width)
        density = hazard(upper) / -torch.expm1(-log_ratio)
        tilt = off * width
        return _Cell(sigma, width, upper, log_ratio, density, tilt, density * -torch.expm1(-tilt))


class _Cell(NamedTuple):
    """The interval (l, u) around y relative to a, in units of sigma and in float64.

    It is mirrored into the lower tail. With P = Phi(u) - Phi(l), the fields are sigma,
    width = u - l, upper = u, log_ratio = log(Phi(u) / Phi(l)), density = phi(u) / P,
    tilt = log(phi(u) / phi(l)), and slope = (phi(u) - phi(l)) / P.
    """

    sigma: Tensor
    width: Tensor
    upper: Tensor
    log_ratio: Tensor
    density: Tensor
    tilt: Tensor
    slope: Tensor


def _check_fits(name: str, value: float | Tensor, y: Tensor) -> None:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return
    got = tuple(value.shape)
    each = len(got) == y.ndim and all(n in (1, m) for n, m in zip(got, y.shape, strict=True))
    expected = f"one value per lane of y, ({len(y)},), or the shape of one y or of y"
    require(got == (len(y),) or each, name, expected=expected, got=got)

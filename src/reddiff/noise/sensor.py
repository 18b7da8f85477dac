"""What a sensor or a coder does to a value after its noise: rounds it, or cuts it off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import erfcx, log_ndtr

from reddiff.errors import require
from reddiff.lanes import lanes
from reddiff.noise.base import Noise, check_numbers
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Rounded(Noise):
    r"""Rounding to a grid, after Gaussian noise: :math:`y = \Delta\,[(a + \sigma n) / \Delta]`.

    y says between which two numbers a + sigma n was, and no more:

    .. math:: -\log p(y \mid a) = -\log \left[
        \Phi\!\left(\frac{y + \Delta/2 - a}{\sigma}\right) -
        \Phi\!\left(\frac{y - \Delta/2 - a}{\sigma}\right) \right]

    smooth and convex in a, flat inside a wide step. `curvature` is its second derivative; a
    parabola with its least value at y would lead from outside of a step to the middle of it.

    Arguments:
        step: Delta, in the units of y, positive: a number, one per lane `(b,)`, or one per entry,
            `(1 or b, *m)` with the axes of y.
        sigma: The standard deviation of what is added before, in the units of y, positive; of one
            of these forms too. A tenth of a step is near the limit of none.
        origin: A point of the grid.

    Raises:
        InvalidArgument: If step or sigma is not positive and finite, or (on `check`) does not fit
            y.
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
        """The multiple of the step that is nearest to a + sigma n, counted from the origin."""
        step, value = lanes(self.step, a), a + lanes(self.sigma, a) * rng.randn_like(a)
        return self.origin + step * ((value - self.origin) / step).round()

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """-log of the probability of the step around y."""
        cell = self._cell(y, a)
        return -(log_ndtr(cell.upper) + (-torch.expm1(-cell.log_ratio)).log()).to(a)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(phi(u) - phi(l)) / sigma (Phi(u) - Phi(l)), u and l the limits of the step."""
        cell = self._cell(y, a)
        return ((a - y).sign() * cell.slope / cell.sigma).to(a)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """sqrt(sigma^2 + step^2 / 12), in the mean over where in its step a is."""
        return (lanes(self.sigma, a) ** 2 + lanes(self.step, a) ** 2 / 12).sqrt().expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """The second derivative: 1 / sigma^2 times what y takes from the variance of n."""
        cell = self._cell(y, a)
        lower = cell.density * torch.exp(-cell.tilt)  # phi(l) / P, phi(u) / P = cell.density
        taken = cell.slope * (cell.slope + cell.upper) + cell.width * lower
        return (taken.clamp(0, 1) / cell.sigma**2).to(a)

    def check(self, y: Tensor) -> None:
        """Check that step and sigma fit y."""
        for name in ("step", "sigma"):
            _check_fits(name, getattr(self, name), y)

    def _per_lane(self) -> dict[str, Tensor]:
        return {k: v for k, v in super()._per_lane().items() if v.ndim == 1 or len(v) > 1}

    def _cell(self, y: Tensor, a: Tensor) -> _Cell:
        y, a = y.double(), a.double()
        sigma = lanes(self.sigma, a)
        width = lanes(self.step, a) / sigma
        off = (a - y).abs() / sigma
        upper = width / 2 - off
        log_ratio = log_ndtr(upper) - log_ndtr(upper - width)
        density = _hazard(upper) / -torch.expm1(-log_ratio)
        tilt = off * width
        return _Cell(sigma, width, upper, log_ratio, density, tilt, density * -torch.expm1(-tilt))


class _Cell(NamedTuple):
    """The step around y as a sees it, mirrored so that it is in the lower tail; in double.

    Its limits u > l in units of sigma, u - l, and in terms of them: log Phi(u) / Phi(l),
    phi(u) / P with P = Phi(u) - Phi(l), log phi(u) / phi(l), and (phi(u) - phi(l)) / P.
    """

    sigma: Tensor
    width: Tensor
    upper: Tensor
    log_ratio: Tensor
    density: Tensor
    tilt: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Clipped(Noise):
    r"""A sensor that saturates: :math:`y = \min(\max(a + \sigma n, \mathrm{low}), \mathrm{high})`.

    Between the limits it is Gaussian. A y at a limit says that a + sigma n was there or beyond:

    .. math:: -\log p(\mathrm{high} \mid a) = -\log \Phi((a - \mathrm{high}) / \sigma)

    and so for low: a censored Gaussian, smooth and convex in a. At a limit the residual is zero
    where a is beyond it, and `curvature` is the second derivative: the likelihood falls all the
    way, and has no least value.

    Arguments:
        sigma: The standard deviation before the limits, in the units of y, positive: a number, or
            one per lane `(b,)`.
        low: The least y, -inf if there is no such limit.
        high: The largest y, inf if there is none.

    References:
        | Estimation of Relationships for Limited Dependent Variables (Tobin, 1958)
        | https://doi.org/10.2307/1907382

    Raises:
        InvalidArgument: If sigma is not positive and finite, or low is not below high, or (on
            `check`) y is beyond a limit.
    """

    sigma: float | Tensor
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("sigma", self.sigma)
        got = self.high
        require(self.low < got, "high", expected=f"a number above low = {self.low}", got=got)

    @property
    def censored(self) -> bool:
        return True

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a + sigma n, cut off."""
        return (a + lanes(self.sigma, a) * rng.randn_like(a)).clamp(self.low, self.high)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / 2 sigma^2 + log(sigma sqrt(2 pi)); at a limit, -log of what is beyond."""
        sigma, beyond, at = self._at(y, a)
        plain = ((y - a) / sigma) ** 2 / 2 + sigma.log() + math.log(2 * math.pi) / 2
        return torch.where(at, -log_ndtr(beyond), plain)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / sigma^2; at a limit, phi / sigma Phi towards what is beyond."""
        sigma, beyond, at = self._at(y, a)
        inwards = torch.where(y >= self.high, -1, 1)
        return torch.where(at, inwards * _hazard(beyond) / sigma, (a - y) / sigma**2)

    def residual(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """y - a, zero where y is at a limit and a beyond it."""
        short = torch.where(y >= self.high, (y - a).clamp(min=0), y - a)
        return torch.where(y <= self.low, short.clamp(max=0), short)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """Sigma: that of y between the limits."""
        return lanes(self.sigma, a).expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """1 / sigma^2; at a limit, the second derivative, which is less."""
        sigma, beyond, at = self._at(y, a)
        hazard = _hazard(beyond.double())
        taken = (hazard * (hazard + beyond.double())).clamp(0, 1).to(a)
        return torch.where(at, taken, 1) / sigma**2

    def check(self, y: Tensor) -> None:
        """Check that y is within the limits."""
        super().check(y)
        within = y.clamp(self.low, self.high)
        good = bool(((within == y) | (y == 0)).all())  # 0 also stands for what is not measured
        least, largest = float(y.min()), float(y.max())
        expected = f"values from {self.low:g} to {self.high:g} under Clipped"
        require(good, "y", expected=expected, got=f"{least:g} to {largest:g}")

    def _at(self, y: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sigma, by how many of it a is beyond the limit that y is at, and whether it is at one."""
        sigma = lanes(self.sigma, a)
        top, bottom = y >= self.high, y <= self.low
        beyond = torch.where(top, a - y, y - a) / sigma
        return sigma, beyond, top | bottom


def _hazard(z: Tensor) -> Tensor:
    """phi(z) / Phi(z), without over- or underflow."""
    return math.sqrt(2 / math.pi) / erfcx(-z / math.sqrt(2))


def _check_fits(name: str, value: float | Tensor, y: Tensor) -> None:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return
    got = tuple(value.shape)
    each = len(got) == y.ndim and all(n in (1, m) for n, m in zip(got, y.shape, strict=True))
    expected = f"one value per lane of y, ({len(y)},), or the shape of one y or of y"
    require(got == (len(y),) or each, name, expected=expected, got=got)

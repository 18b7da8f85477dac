"""Photon noise: Poisson counts, with or without Gaussian read noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require, require_positive
from reddiff.lanes import per_lane
from reddiff.noise.base import Noise, check_numbers
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Poisson(Noise):
    r"""Poisson noise, :math:`g y \sim \mathrm{Poisson}(g a)`: y is in units of a, g is the gain.

    For a below `floor`, the negative log-likelihood is continued by its tangent if that decreases
    with a, and by a constant otherwise. Gradients thus move negative values back into the domain.

    Arguments:
        gain: g, the counts per unit of a, positive.
        floor: The smallest rate, in units of a, positive; 1e-6 counts by default.

    Raises:
        InvalidArgument: If gain or floor is not positive and finite, or, in `check`, if y has
            negative entries.
    """

    gain: float
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.floor is None:
            object.__setattr__(self, "floor", 1e-6 / self.gain if self.gain else 1.0)
        for name in ("gain", "floor"):
            require_positive(name, getattr(self, name))

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """Poisson(g a) / g, exact: by inversion up to 64 counts; above, as a sum of such draws.

        Raises:
            InvalidArgument: If a has negative entries.
        """
        least = float(a.min())
        require(least >= 0, "a", expected="rates of 0 or more", got=least)
        rate = (self.gain * a).double()
        pieces = (rate / 64).ceil().clamp(min=1)  # per entry, independent of the others
        counts, more = _poisson(rate / pieces, rng.rand_like(rate)), rng.branch()
        for i in range(1, int(pieces.max())):
            counts += torch.where(i < pieces, _poisson(rate / pieces, more.rand_like(rate)), 0)
        return (counts / self.gain).to(a.dtype)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g a - g y log(g a) + log (g y)!."""
        inside = a.clamp(min=self.floor)
        counts = self.gain * y
        value = self.gain * inside - torch.xlogy(counts, self.gain * inside)
        return value + torch.lgamma(counts + 1) + (a - inside) * self.grad_each(y, a)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g (1 - y / a)."""
        slope = self.gain * (1 - y / a.clamp(min=self.floor))
        return torch.where(a < a.new_tensor(self.floor), slope.clamp(max=0), slope)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """sqrt(max(a, floor) / g)."""
        return (a.clamp(min=self.floor) / self.gain).sqrt()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """g / a; below `floor`, such that a Newton step reaches y, or g / |a| if the slope is 0.

        The latter prevents steps across the kink at zero for entries without counts.
        """
        floor = a.new_tensor(self.floor)
        pushed = (a < floor) & (y > floor)
        reach = torch.where(pushed, (y - floor) / torch.where(pushed, y - a, 1), 1)
        return self.gain * reach / torch.where(pushed, floor, a.abs().clamp(min=self.floor))

    def check(self, y: Tensor) -> None:
        least = float(y.min())
        if least < 0:
            raise InvalidArgument("y", expected="values of 0 or more under Poisson", got=least)


@dataclass(frozen=True, eq=False)
class PoissonGaussian(Noise):
    r"""Camera noise, :math:`y = k / g + \sigma n` with counts :math:`k \sim \mathrm{Poisson}(g a)`.

    Samples follow this distribution. Its likelihood, a sum over all k, is approximated by a
    Gaussian with the same mean and variance:

    .. math:: y \sim N(a, v(a)), \qquad v(a) = \max(a, 0) / g + \sigma^2

    This is accurate if g a or g sigma is at least a few counts. For a < 0 only the read noise
    remains, a Gaussian around a, whose gradient moves negative values back.

    `curvature` is 1 / v for y < a, as for a Gaussian with known variance. For y > a it also
    includes the derivative of the variance in the quadratic term, but not that of log v.

    Arguments:
        gain: g, counts per unit of a, positive.
        sigma: The standard deviation of the read noise, in the units of y, positive: a number, or
            one per lane `(b,)`.

    References:
        | Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data
        | (Foi, Trimeche, Katkovnik & Egiazarian, 2008), Equations 1 to 3
        | https://doi.org/10.1109/TIP.2008.2001399

    Raises:
        InvalidArgument: If gain or sigma is not positive and finite.
    """

    gain: float
    sigma: float | Tensor

    def __post_init__(self) -> None:
        number = not isinstance(self.gain, Tensor)
        require(number, "gain", expected="one number", got=self.gain)
        check_numbers("gain", self.gain)
        check_numbers("sigma", self.sigma)

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """Poisson(g a) / g + sigma n, exact.

        Raises:
            InvalidArgument: If a has negative entries.
        """
        return Poisson(self.gain).sample(a, rng) + per_lane(self.sigma, a) * rng.randn_like(a)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / (2 v) + log(2 pi v) / 2."""
        v = self._variance(a)
        return (y - a) ** 2 / (2 * v) + (2 * math.pi * v).log() / 2

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / v + (1 - (y - a)^2 / v) / (2 g v); the last term only where a >= 0."""
        v = self._variance(a)
        slope = (a - y) / v
        return slope + torch.where(a >= 0, (1 - (y - a) ** 2 / v) / (2 * self.gain * v), 0)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        return self._variance(a).sqrt()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """1 / v + (y - a) / (2 g v^2); the last term only where 0 <= a <= y."""
        v = self._variance(a)
        above = (y - a).clamp(min=0) / (2 * self.gain * v**2)
        return 1 / v + torch.where(a >= 0, above, 0)

    def _variance(self, a: Tensor) -> Tensor:
        return a.clamp(min=0) / self.gain + per_lane(self.sigma, a) ** 2


def _poisson(rate: Tensor, u: Tensor) -> Tensor:
    """Poisson draws, by inversion of the cumulative distribution function at u."""
    count = torch.zeros_like(rate)
    term = torch.exp(-rate)
    total = term.clone()
    k = 0
    while bool((below := u > total).any()) and k < 400:
        k += 1
        count += below
        term = term * rate / k
        total = total + term
    return count

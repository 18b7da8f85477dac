"""Gaussian noise followed by clipping: a censored Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import erfcx, log_ndtr

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.noise.base import Noise, check_numbers
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Clipped(Noise):
    r"""A sensor that saturates: :math:`y = \min(\max(a + \sigma n, \mathrm{low}), \mathrm{high})`.

    Between the limits y is Gaussian. At a limit it is known only that a + sigma n reached it:

    .. math:: -\log p(\mathrm{high} \mid a) = -\log \Phi((a - \mathrm{high}) / \sigma)

    and similarly for low. The negative log-likelihood is smooth and convex in a. For y at a limit,
    it has no minimum: the residual is zero where a is beyond the limit, and `curvature` is the
    second derivative.

    Arguments:
        sigma: The standard deviation before clipping, in the units of y, positive: a number, or
            one per lane `(b,)`.
        low: The lower limit of y; -inf if there is none.
        high: The upper limit of y; inf if there is none.

    References:
        | Estimation of Relationships for Limited Dependent Variables (Tobin, 1958)
        | https://doi.org/10.2307/1907382

    Raises:
        InvalidArgument: If sigma is not positive and finite, if low is not below high, or, in
            `check`, if y is beyond a limit.
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
        """a + sigma n, clipped to [low, high]."""
        return (a + per_lane(self.sigma, a) * rng.randn_like(a)).clamp(self.low, self.high)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(y - a)^2 / (2 sigma^2) + log(sigma sqrt(2 pi)); at a limit, -log of the tail mass."""
        sigma, beyond, at = self._at(y, a)
        plain = ((y - a) / sigma) ** 2 / 2 + sigma.log() + math.log(2 * math.pi) / 2
        return torch.where(at, -log_ndtr(beyond), plain)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """(a - y) / sigma^2; at a limit, phi / (sigma Phi), directed beyond it."""
        sigma, beyond, at = self._at(y, a)
        inwards = torch.where(y >= self.high, -1, 1)
        return torch.where(at, inwards * hazard(beyond) / sigma, (a - y) / sigma**2)

    def residual(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """y - a, or zero where y is at a limit and a is beyond it."""
        short = torch.where(y >= self.high, (y - a).clamp(min=0), y - a)
        return torch.where(y <= self.low, short.clamp(max=0), short)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """sigma, which is exact between the limits."""
        return per_lane(self.sigma, a).expand_as(a)

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """1 / sigma^2; at a limit, the second derivative, which is smaller."""
        sigma, beyond, at = self._at(y, a)
        rate = hazard(beyond.double())
        taken = (rate * (rate + beyond.double())).clamp(0, 1).to(a)
        return torch.where(at, taken, 1) / sigma**2

    def check(self, y: Tensor) -> None:
        super().check(y)
        within = y.clamp(self.low, self.high)
        good = bool(((within == y) | (y == 0)).all())  # entries that are not measured are 0
        least, largest = float(y.min()), float(y.max())
        expected = f"values from {self.low:g} to {self.high:g} under Clipped"
        require(good, "y", expected=expected, got=f"{least:g} to {largest:g}")

    def _at(self, y: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sigma, the distance of a beyond the limit over sigma, and whether y is at a limit."""
        sigma = per_lane(self.sigma, a)
        top, bottom = y >= self.high, y <= self.low
        beyond = torch.where(top, a - y, y - a) / sigma
        return sigma, beyond, top | bottom


def hazard(z: Tensor) -> Tensor:
    """phi(z) / Phi(z), without overflow or underflow."""
    return math.sqrt(2 / math.pi) / erfcx(-z / math.sqrt(2))

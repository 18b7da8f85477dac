"""Speckle, the multiplicative noise of coherent light, radar and ultrasound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.lanes import per_lane
from reddiff.noise.base import Noise, check_numbers
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Speckle(Noise):
    r"""Speckle :math:`y = a g`, :math:`g \sim \mathrm{Gamma}(L, 1 / L)`, of intensities a > 0.

    .. math:: -\log p(y \mid a) = L y / a + L \log a - (L - 1) \log y + \log\Gamma(L) - L \log L

    For a below `floor`, it is continued by its tangent or by a constant, as for `Poisson`. In the
    term log y, which does not affect gradients, y is at least `floor`, so that it is finite for
    y = 0.

    Arguments:
        looks: L, the number of looks, positive, not necessarily an integer: a number, or one per
            lane `(b,)`. The standard deviation of y is a / sqrt(L).
        floor: The smallest intensity, in units of a, positive. Smaller values make data steps
            stiffer.

    References:
        | Statistical Properties of Laser Speckle Patterns (Goodman, 1975)
        | https://doi.org/10.1007/978-3-662-43205-1_2

    Raises:
        InvalidArgument: If an argument is not positive and finite, or, in `check`, if y has
            negative entries.
    """

    looks: float | Tensor
    floor: float = 1e-3

    def __post_init__(self) -> None:
        check_numbers("looks", self.looks)
        number = not isinstance(self.floor, Tensor)
        require(number, "floor", expected="one number", got=self.floor)
        check_numbers("floor", self.floor)

    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """a g, exact.

        Raises:
            InvalidArgument: If a has negative entries.
        """
        least = float(a.min())
        require(least >= 0, "a", expected="intensities of 0 or more", got=least)
        looks = per_lane(self.looks, a.double()).expand_as(a)
        return a * (_gamma(looks, rng) / looks).to(a)

    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """L y / a + L log a - (L - 1) log y + log Gamma(L) - L log L."""
        looks, inside = per_lane(self.looks, a), a.clamp(min=self.floor)
        value = looks * (y / inside + inside.log() - looks.log()) + torch.lgamma(looks)
        value = value - (looks - 1) * y.clamp(min=self.floor).log()
        return value + (a - inside) * self.grad_each(y, a)

    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """L (a - y) / a^2."""
        inside = a.clamp(min=self.floor)
        slope = per_lane(self.looks, a) * (inside - y) / inside**2
        return torch.where(a < a.new_tensor(self.floor), slope.clamp(max=0), slope)

    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """max(a, floor) / sqrt(L)."""
        return a.clamp(min=self.floor) / per_lane(self.looks, a).sqrt()

    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """L / a^2; below `floor` such that a Newton step reaches y, or at |a| if the slope is 0."""
        floor = a.new_tensor(self.floor)
        pushed = (a < floor) & (y > floor)
        reach = torch.where(pushed, (y - floor) / torch.where(pushed, y - a, 1), 1)
        at = torch.where(pushed, floor, a.abs().clamp(min=self.floor))
        return per_lane(self.looks, a) * reach / at**2

    def check(self, y: Tensor) -> None:
        super().check(y)
        least = float(y.min())
        if least < 0:
            raise InvalidArgument("y", expected="values of 0 or more under Speckle", got=least)


def _gamma(shape: Tensor, rng: Rng) -> Tensor:
    """Gamma(shape, 1) draws by rejection; for a shape below 1, from a draw for shape + 1.

    References:
        | A Simple Method for Generating Gamma Variables (Marsaglia & Tsang, 2000), Sections 3
        | and 6
    """
    small = shape < 1
    d = torch.where(small, shape + 1, shape) - 1 / 3
    boost = torch.where(small, (1 - rng.rand_like(shape)) ** (1 / shape), 1)
    rng = rng.branch()
    out, open_ = torch.ones_like(d), torch.ones_like(d, dtype=torch.bool)
    while bool(open_.any()):  # about 5 % of the draws are rejected
        n, u = rng.randn_like(d), 1 - rng.rand_like(d)
        v = (1 + n / (9 * d).sqrt()) ** 3
        inside = torch.where(v > 0, v, 1)
        good = (v > 0) & (u.log() < n**2 / 2 + d * (1 - inside + inside.log()))
        out = torch.where(open_ & good, inside, out)
        open_ = open_ & ~good
    return d * out * boost

"""Quantization: rounding to a small number of levels."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import per_lane
from reddiff.operators.base import Operator
from reddiff.operators.mask import Identity
from reddiff.operators.tone import Pointwise


class Quantise(Pointwise):
    r"""Quantization: y is the nearest of `levels` evenly spaced values from `low` to `high`.

    The gradient is a straight-through estimate: the gradient of the identity, also where x is
    clipped. The true gradient is zero almost everywhere and of no use for optimization.

    Arguments:
        levels: The number of values, 2 or more, such as 256 for 8 bits or 2 for black and white;
            with `per_lane`, whole numbers `(b,)`.
        low: The lowest value.
        high: The highest value.
        per_lane: Whether each lane has its own number of levels.

    References:
        | Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation
        | (Bengio, Leonard & Courville, 2013), https://arxiv.org/abs/1308.3432

    Raises:
        InvalidArgument: If `levels` is not a whole number of at least 2, or low is not below high.
    """

    straight_through = True
    levels: Tensor

    def __init__(
        self, levels: int | Tensor, low: float = -1.0, high: float = 1.0, *, per_lane: bool = False
    ) -> None:
        super().__init__(low, high)
        self._register("levels", "levels", levels, per_lane=per_lane)
        good = bool(((self.levels >= 2) & (self.levels == self.levels.round())).all())
        got = self.levels.tolist()
        require(good, "levels", expected="whole numbers of at least 2", got=got)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The nearest level; ties go to the level with an even index, counted from `low`."""
        scale = (per_lane(self.levels, x) - 1) / (self.high - self.low)
        number = ((x.detach().clamp(self.low, self.high) - self.low) * scale).round()
        return straight_through(self.low + number / scale, x)

    def surrogate(self) -> tuple[Operator, Tensor]:
        """The identity, and the standard deviation of the rounding error, 1 / sqrt(12) steps."""
        step = (self.high - self.low) / (self.levels - 1)
        return Identity(), step / math.sqrt(12)

    def initial_estimate(self, y: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        return y.clamp(self.low, self.high)


def straight_through(value: Tensor, smooth: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient of `smooth`; NaN where `smooth` is not finite."""
    return value.detach() + (smooth - smooth.detach())

"""The interface of noise models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.random import Rng


@dataclass(frozen=True, eq=False)
class Noise(ABC):
    """The distribution of y given a = A(x), with independent entries.

    Fields with shape `(b,)` have one value per lane.
    """

    @abstractmethod
    def sample(self, a: Float[Tensor, "b *m"], rng: Rng) -> Float[Tensor, "b *m"]:
        """A draw of y given a."""

    @abstractmethod
    def nll_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """-log p(y | a) of each entry, in nats."""

    @abstractmethod
    def grad_each(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """The derivative of `nll_each` with respect to a."""

    @abstractmethod
    def std(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """The standard deviation of each entry of y given a, in the units of y."""

    @abstractmethod
    def curvature(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """The curvature of the quadratic with slope `grad_each` at a and its minimum at a = y.

        It is finite and nonnegative. For Gaussian, Poisson and gamma noise it is the Fisher
        information about a, 1 / std(a)^2, for all a that can be a mean of y, so that Gauss-Newton
        steps are Fisher scoring. For heavy-tailed noise it is the weight of iteratively reweighted
        least squares, which decreases with the residual. If y is rounded or censored, the minimum
        is not at y, and this is the second derivative instead.
        """

    @property
    def censored(self) -> bool:
        """Whether entries of y can be mere bounds on a, because y is clipped or rounded."""
        return False

    def residual(self, y: Float[Tensor, "b *m"], a: Float[Tensor, "b *m"]) -> Tensor:
        """y - a; zero where y is a bound that a satisfies."""
        return y - a

    def nll(self, y: Tensor, a: Tensor, measured: Bool[Tensor, "b *m"]) -> Float[Tensor, " b"]:
        """-log p(y | a) in nats, summed over the measured entries of each lane."""
        return torch.where(measured, self.nll_each(y, a), 0).flatten(1).sum(1)

    def grad(self, y: Tensor, a: Tensor, measured: Bool[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """The derivative of `nll` with respect to a."""
        return torch.where(measured, self.grad_each(y, a), 0)

    def scaled(self, factor: float) -> Noise | None:
        """The noise model of `factor` times y; None if the noise depends on a, as for photons."""
        return None

    def select(self, index: Tensor) -> Noise:
        """The noise of the lanes at these indices."""
        each = self._per_lane()
        if not each:
            return self
        new = object.__new__(type(self))  # not validated again: a step may select
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        new.__dict__.update(held | {name: value[index] for name, value in each.items()})
        return new

    def check(self, y: Tensor) -> None:
        """Raise InvalidArgument if y `(b, ...)` cannot occur under this noise.

        The base class compares the number of lanes of y with that of the fields.
        """
        for name, value in self._per_lane().items():
            got, expected = f"{len(value)} values", f"one value per lane of y, {len(y)}"
            require(len(value) == len(y), name, expected=expected, got=got)

    def _per_lane(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in values.items() if isinstance(v, Tensor) and v.ndim > 0}


def check_numbers(name: str, value: float | Tensor, *, zero: bool = False) -> None:
    """Raise InvalidArgument unless `value` is a positive number or a vector of them.

    Arguments:
        name: The name of the argument, for the message.
        value: The value.
        zero: Whether 0 is accepted.
    """
    if isinstance(value, Tensor):
        vector = value.ndim in (0, 1)
        require(vector, name, expected="a number or shape (b,)", got=tuple(value.shape))
        good = bool((torch.isfinite(value) & (value >= 0 if zero else value > 0)).all())
    else:
        given: object = value
        number = isinstance(given, Real) and not isinstance(given, bool)
        good = number and math.isfinite(value) and (value >= 0 if zero else value > 0)
    expected = "finite values of 0 or more" if zero else "positive finite values"
    require(good, name, expected=expected, got=value)

"""Sums of operators, A + B."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.composition import Several, common_lanes, common_shape
from reddiff.operators.linear import LinearOperator


def total(first: Operator, second: Operator) -> Operator:
    """x -> first(x) + second(x)."""
    parts = [
        p for part in (first, second) for p in (part.parts if isinstance(part, Sum) else [part])
    ]
    linear = all(isinstance(part, LinearOperator) for part in parts)
    return LinearSum(parts) if linear else Sum(parts)


class Sum(Several):
    """The sum of operators that map the same shape of x to the same shape of y.

    Raises:
        InvalidArgument: If the parts are for different numbers of lanes, or, when applied, if
            their shapes of y differ.
    """

    loose = True

    def __init__(self, parts: Sequence[Operator]) -> None:
        super().__init__(parts)
        common_lanes(parts)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        first, *others = (part(x) for part in self.parts)
        out: Tensor = first
        for a in others:
            expected = f"the shape {tuple(first.shape[1:])} of y, as the first operator gives"
            require(a.shape == first.shape, "A + B", expected=expected, got=tuple(a.shape[1:]))
            out = out + a
        return out

    def x_shape(self, y_shape: Shape) -> Shape:
        return common_shape("A + B", [part.x_shape(y_shape) for part in self.parts])

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """The entries that at least one part measures."""
        return torch.stack([part.measured(y) for part in self.parts]).any(0)

    def _select(self, index: Tensor) -> Operator:
        return type(self)([part.select(index) for part in self.parts])

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


class LinearSum(Sum, LinearOperator):
    """A sum of linear operators."""

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        first, *others = (part.adjoint(y) for part in self.linear_parts)
        return sum(others, first)

    @property
    def T(self) -> LinearOperator:
        return LinearSum([part.T for part in self.linear_parts])

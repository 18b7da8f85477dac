"""Several measurements of one x as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.composition import common_lanes
from reddiff.operators.linear import LinearOperator


def stack(operators: Sequence[Operator], y_shapes: Sequence[Shape]) -> Stack:
    """The operator of several measurements of the same x; linear if all of them are.

    `Problem.stack` makes it from problems, with the noise of each.

    Arguments:
        operators: At least one, all of the same x.
        y_shapes: The shape of one y of each.

    Raises:
        InvalidArgument: If they are of different x or for different numbers of lanes.
    """
    linear = all(isinstance(part, LinearOperator) for part in operators)
    return LinearStack(operators, y_shapes) if linear else Stack(operators, y_shapes)


class Stack(Operator):
    """Several measurements of one x, flattened and joined: y is `(b, M)`. Use `stack`."""

    def __init__(self, operators: Sequence[Operator], y_shapes: Sequence[Shape]) -> None:
        super().__init__()
        require(len(operators) > 0, "operators", expected="at least one", got="none")
        expected = f"one shape for each of {len(operators)} operators"
        require(len(y_shapes) == len(operators), "y_shapes", expected=expected, got=y_shapes)
        self.parts = nn.ModuleList(operators)
        self.straight_through = any(part.straight_through for part in operators)
        self.y_shapes = tuple(tuple(shape) for shape in y_shapes)
        self.sizes = [math.prod(shape) for shape in self.y_shapes]
        shapes = [part.x_shape(shape) for part, shape in zip(operators, self.y_shapes, strict=True)]
        expected = f"operators of one shape of x, {shapes[0]} as the first"
        require(len(set(shapes)) == 1, "operators", expected=expected, got=shapes)
        self.shape = shapes[0]
        common_lanes(operators)

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.parts))

    def x_shape(self, y_shape: Shape) -> Shape:
        expected, got = f"shape (b, {sum(self.sizes)})", f"(b, {', '.join(map(str, y_shape))})"
        require(tuple(y_shape) == (sum(self.sizes),), "y", expected=expected, got=got)
        return self.shape

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        return torch.cat([part(x).flatten(1) for part in self.parts], 1)

    def split(self, y: Float[Tensor, "b m"]) -> list[Tensor]:
        """The measurements of the parts, in their own shapes."""
        pieces = y.split(self.sizes, 1)
        return [
            piece.reshape(-1, *shape) for piece, shape in zip(pieces, self.y_shapes, strict=True)
        ]

    def measured(self, y: Float[Tensor, "b m"]) -> Bool[Tensor, "b m"]:
        return torch.cat([part.measured(v).flatten(1) for part, v in self._each(y)], 1)

    def initial_estimate(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        """The mean of the parts' guesses."""
        guesses = [part.initial_estimate(v) for part, v in self._each(y)]
        return torch.stack(guesses).mean(0)

    def _each(self, y: Tensor) -> list[tuple[Operator, Tensor]]:
        parts: list[Operator] = list(self.parts)  # type: ignore[arg-type]
        return list(zip(parts, self.split(y), strict=True))

    def _select(self, index: Tensor) -> Operator:
        parts: list[Operator] = list(self.parts)  # type: ignore[arg-type]
        return type(self)([part.select(index) for part in parts], self.y_shapes)

    @property
    def lanes(self) -> int | None:
        parts: list[Operator] = list(self.parts)  # type: ignore[arg-type]
        return next((part.lanes for part in parts if part.lanes is not None), None)


class LinearStack(Stack, LinearOperator):
    """Several linear measurements of one x."""

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        parts = self._each(y)
        total = as_linear(parts[0][0]).adjoint(parts[0][1])
        for part, v in parts[1:]:
            total = total + as_linear(part).adjoint(v)
        return total

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self(x), self.adjoint

    def initial_estimate(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        return LinearOperator.initial_estimate(self, y)


def as_linear(operator: Operator) -> LinearOperator:
    """The operator, known to be linear."""
    assert isinstance(operator, LinearOperator)  # noqa: S101
    return operator

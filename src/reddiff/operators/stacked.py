"""Several measurements of the same x, combined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.composition import Several, common_lanes, common_shape
from reddiff.operators.linear import LinearOperator


def stack(operators: Sequence[Operator], y_shapes: Sequence[Shape]) -> Stack:
    """An operator that joins several measurements of the same x; linear if all of them are.

    `Problem.stack` combines whole problems, including their noise models.

    Arguments:
        operators: At least one; all take the same shape of x.
        y_shapes: For each operator, the shape of one y.


    """
    linear = all(isinstance(part, LinearOperator) for part in operators)
    return LinearStack(operators, y_shapes) if linear else Stack(operators, y_shapes)


class Stack(Several):
    """Several measurements of one x, flattened and joined: y `(b, M)`. Create it with `stack`."""

    def __init__(self, operators: Sequence[Operator], y_shapes: Sequence[Shape]) -> None:
        super().__init__(operators)
        require(len(operators) > 0, "operators", expected="at least one", got="none")
        expected = f"one shape for each of {len(operators)} operators"
        require(len(y_shapes) == len(operators), "y_shapes", expected=expected, got=y_shapes)
        self.y_shapes = tuple(tuple(shape) for shape in y_shapes)
        self.sizes = [math.prod(shape) for shape in self.y_shapes]
        shapes = [part.x_shape(shape) for part, shape in zip(operators, self.y_shapes, strict=True)]
        self.shape = common_shape("operators", shapes)
        common_lanes(operators)

    def x_shape(self, y_shape: Shape) -> Shape:
        expected, got = f"shape (b, {sum(self.sizes)})", f"(b, {', '.join(map(str, y_shape))})"
        require(tuple(y_shape) == (sum(self.sizes),), "y", expected=expected, got=got)
        return self.shape

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        return torch.cat([part(x).flatten(1) for part in self.parts], 1)

    def split(self, y: Float[Tensor, "b m"]) -> list[Tensor]:
        """The measurements of the parts, each in its own shape."""
        pieces = y.split(self.sizes, 1)
        return [
            piece.reshape(-1, *shape) for piece, shape in zip(pieces, self.y_shapes, strict=True)
        ]

    def measured(self, y: Float[Tensor, "b m"]) -> Bool[Tensor, "b m"]:
        return torch.cat([part.measured(v).flatten(1) for part, v in self._each(y)], 1)

    def initial_estimate(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        """The mean of the estimates of the parts."""
        guesses = [part.initial_estimate(v) for part, v in self._each(y)]
        return torch.stack(guesses).mean(0)

    def _each(self, y: Tensor) -> list[tuple[Operator, Tensor]]:
        return list(zip(self.parts, self.split(y), strict=True))

    def _select(self, index: Tensor) -> Operator:
        return type(self)([part.select(index) for part in self.parts], self.y_shapes)


class LinearStack(Stack, LinearOperator):
    """Several linear measurements of one x."""

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        each = zip(self.linear_parts, self.split(y), strict=True)
        first, *others = (part.adjoint(v) for part, v in each)
        return sum(others, first)

    def initial_estimate(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        return LinearOperator.initial_estimate(self, y)

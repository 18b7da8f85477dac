"""Several measurements of one x, and several operators side by side in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.linalg import Solution
from reddiff.operators.algebra import common_lanes
from reddiff.operators.base import LinearOperator, Operator, Shape


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
        """The measurements, one after the other."""
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
        """How many lanes the parameters are for."""
        parts: list[Operator] = list(self.parts)  # type: ignore[arg-type]
        return next((part.lanes for part in parts if part.lanes is not None), None)


class LinearStack(Stack, LinearOperator):
    """Several linear measurements of one x."""

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        """The sum of the adjoints."""
        parts = self._each(y)
        total = _linear(parts[0][0]).adjoint(parts[0][1])
        for part, v in parts[1:]:
            total = total + _linear(part).adjoint(v)
        return total

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A x and the adjoint."""
        return self(x), self.adjoint

    def initial_estimate(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        """That of any linear operator."""
        return LinearOperator.initial_estimate(self, y)


def side_by_side(operators: Sequence[Operator]) -> SideBySide:
    """One operator per lane, whatever they are; linear if all of them are.

    Where only a parameter differs between lanes, `per_lane=True` of the operator is faster.

    Arguments:
        operators: One for each lane, all from the same shape of x to the same shape of y, each
            either shared or for a single lane.

    Raises:
        InvalidArgument: If there is none, or one is for more than a lane.
    """
    linear = all(isinstance(part, LinearOperator) for part in operators)
    return LinearSideBySide(operators) if linear else SideBySide(operators)


class SideBySide(Operator):
    """Lane i is measured by operator i. Use `side_by_side`."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__()
        require(len(operators) > 0, "operators", expected="one for each lane", got="none")
        most = max(part.lanes or 1 for part in operators)
        require(most == 1, "operators", expected="each for one lane", got=f"one for {most}")
        self.parts = nn.ModuleList(operators)
        self.straight_through = any(part.straight_through for part in operators)

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.parts))

    def x_shape(self, y_shape: Shape) -> Shape:
        """That of all of them.

        Raises:
            InvalidArgument: If they are of different x.
        """
        shapes = {part.x_shape(y_shape) for part in self._parts}
        expected = "operators of one shape of x"
        require(len(shapes) == 1, "operators", expected=expected, got=sorted(shapes))
        return shapes.pop()

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """Each lane by its own operator."""
        return self._each(x, [part.forward for part in self._parts])

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return self._each(y, [part.measured for part in self._parts])

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self._each(y, [part.initial_estimate for part in self._parts])

    @property
    def lanes(self) -> int | None:
        return len(self.parts)

    @property
    def _parts(self) -> list[Operator]:
        return list(self.parts)  # type: ignore[arg-type]

    def _each(self, v: Tensor, functions: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        require(len(v) == len(functions), "x", expected=f"{len(functions)} lanes", got=len(v))
        return torch.cat([f(v[i : i + 1]) for i, f in enumerate(functions)])

    def _select(self, index: Tensor) -> Operator:
        return type(self)([self._parts[i] for i in index.tolist()])


class LinearSideBySide(SideBySide, LinearOperator):
    """Lane i is measured by the linear operator i."""

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """Each lane by its own adjoint."""
        return self._each(y, [_linear(part).adjoint for part in self._parts])

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A x and the adjoint."""
        return self(x), self.adjoint

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """Each lane by its own."""
        return self._each(y, [_linear(part).pinv for part in self._parts])

    def solution(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        gain: Tensor | float = 1.0,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """Each lane by its own: exactly, where that one has a closed form."""
        each = zip(
            self._parts, b.split(1), _split(lam, b), _split(gain, b), _split(start, b), strict=True
        )
        return _joined(
            _linear(part).solution(v, one, g, start=x, tol=tol, iterations=iterations)
            for part, v, one, g, x in each
        )

    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        gain: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """Each lane by its own."""
        each = zip(self._parts, y.split(1), _split(gain, y), _split(start, y), strict=True)
        return _joined(
            _linear(part).ridge(v, g, start=x, tol=tol, iterations=iterations)
            for part, v, g, x in each
        )

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return SideBySide.initial_estimate(self, y)


def _split(value: Tensor | float | None, like: Tensor) -> Sequence[Any]:
    """A number or None for each lane, or the lanes of a tensor."""
    if isinstance(value, Tensor) and value.ndim > 0:
        return value.to(like).split(1)
    return [value] * len(like)


def _joined(found: Iterable[Solution]) -> Solution:
    """The solutions of single lanes as one."""
    every = list(found)
    return Solution(torch.cat([f.x for f in every]), torch.cat([f.converged for f in every]))


def _linear(operator: Operator) -> LinearOperator:
    assert isinstance(operator, LinearOperator)  # noqa: S101 - LinearStack is made of these alone
    return operator

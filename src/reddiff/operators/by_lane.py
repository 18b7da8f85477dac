"""Different operators in one batch: lane i is measured by operator i."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.linalg import Solution
from reddiff.operators.base import Operator, Shape
from reddiff.operators.composition import Several, common_shape
from reddiff.operators.linear import LinearOperator


def side_by_side(operators: Sequence[Operator]) -> SideBySide:
    """An operator that applies operator i to lane i; linear if all of them are linear.

    Operators that differ only in their parameters run faster as one operator with
    `per_lane=True`.

    Arguments:
        operators: One for each lane. All map the same shape of x to the same shape of y. None
            has parameters for more than one lane.

    Raises:
        InvalidArgument: If the list is empty, or an operator is for more than one lane.
    """
    linear = all(isinstance(part, LinearOperator) for part in operators)
    return LinearSideBySide(operators) if linear else SideBySide(operators)


class SideBySide(Several):
    """Lane i is measured by operator i. Create it with `side_by_side`."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__(operators)
        require(len(operators) > 0, "operators", expected="one for each lane", got="none")
        most = max(part.lanes or 1 for part in operators)
        require(most == 1, "operators", expected="each for one lane", got=f"one for {most}")

    def x_shape(self, y_shape: Shape) -> Shape:
        return common_shape("operators", [part.x_shape(y_shape) for part in self.parts])

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        return self._each(x, [part.forward for part in self.parts])

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return self._each(y, [part.measured for part in self.parts])

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self._each(y, [part.initial_estimate for part in self.parts])

    @property
    def lanes(self) -> int | None:
        return len(self.parts)

    def _each(self, v: Tensor, functions: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        require(len(v) == len(functions), "x", expected=f"{len(functions)} lanes", got=len(v))
        return torch.cat([f(v[i : i + 1]) for i, f in enumerate(functions)])

    def _select(self, index: Tensor) -> Operator:
        return type(self)([self.parts[i] for i in index.tolist()])


class LinearSideBySide(SideBySide, LinearOperator):
    """Lane i is measured by the linear operator i."""

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self._each(y, [part.adjoint for part in self.linear_parts])

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self._each(y, [part.pinv for part in self.linear_parts])

    def solution(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        weight: Tensor | float = 1.0,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """Each lane is solved by its own operator, exactly where that one has a closed form."""
        each = zip(
            self.linear_parts,
            b.split(1),
            _split(lam, b),
            _split(weight, b),
            _split(start, b),
            strict=True,
        )
        return _joined(
            part.solution(v, one, g, start=x, tol=tol, iterations=iterations)
            for part, v, one, g, x in each
        )

    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        weight: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        each = zip(self.linear_parts, y.split(1), _split(weight, y), _split(start, y), strict=True)
        return _joined(
            part.ridge(v, g, start=x, tol=tol, iterations=iterations) for part, v, g, x in each
        )


def _split(value: Tensor | float | None, like: Tensor) -> Sequence[Any]:
    """One entry per lane: the lanes of a tensor, or the same number or None for all."""
    if isinstance(value, Tensor) and value.ndim > 0:
        return value.to(like).split(1)
    return [value] * len(like)


def _joined(found: Iterable[Solution]) -> Solution:
    """The solutions of single lanes, concatenated."""
    every = list(found)
    return Solution(torch.cat([f.x for f in every]), torch.cat([f.converged for f in every]))

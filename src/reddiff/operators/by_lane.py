"""Several operators in one batch: lane i is measured by operator i."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.linalg import Solution
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.stacked import as_linear


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
        return self._each(y, [as_linear(part).adjoint for part in self._parts])

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self(x), self.adjoint

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self._each(y, [as_linear(part).pinv for part in self._parts])

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
        """Each lane by its own: exactly, where that one has a closed form."""
        each = zip(
            self._parts,
            b.split(1),
            _split(lam, b),
            _split(weight, b),
            _split(start, b),
            strict=True,
        )
        return _joined(
            as_linear(part).solution(v, one, g, start=x, tol=tol, iterations=iterations)
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
        each = zip(self._parts, y.split(1), _split(weight, y), _split(start, y), strict=True)
        return _joined(
            as_linear(part).ridge(v, g, start=x, tol=tol, iterations=iterations)
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

"""Compositions A @ B and transposes A^T of operators.

An operator class with a closed form for a product returns it from `product_with` or
`product_after`; other products become a `Compose`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.shapes import empty_like_parameters
from reddiff.random import drawn


def product(outer: Operator, inner: Operator) -> Operator:
    """x -> outer(inner(x)), as a single operator where a closed form exists.

    Raises:
        InvalidArgument: If both are per lane, for different numbers of lanes.
    """
    common_lanes((outer, inner))
    known = outer.product_with(inner)
    known = inner.product_after(outer) if known is None else known
    if known is not None:
        return known
    if isinstance(outer, LinearOperator) and isinstance(inner, LinearOperator):
        return LinearCompose(outer, inner)
    return Compose(outer, inner)


class Compose(Operator):
    """x -> outer(inner(x)), for example a pixel operator composed with the decoder of a VAE.

    Raises:
        InvalidArgument: If both have parameters per lane, for different numbers of lanes.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__()
        common_lanes((outer, inner))
        self.outer, self.inner = outer, inner
        self.straight_through = outer.straight_through or inner.straight_through

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        out: Tensor = self.outer(self.inner(x))
        return out

    def x_shape(self, y_shape: Shape) -> Shape:
        return self.inner.x_shape(self.outer.x_shape(y_shape))

    def surrogate(self) -> tuple[Operator, Tensor | float] | None:
        near = self.outer.surrogate()
        return None if near is None else (near[0] @ self.inner, near[1])

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return self.outer.measured(y)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The inner operator's estimate of x from the outer operator's estimate of inner(x)."""
        return self.inner.initial_estimate(self.outer.initial_estimate(y))

    def _select(self, index: Tensor) -> Operator:
        return type(self)(self.outer.select(index), self.inner.select(index))

    @property
    def lanes(self) -> int | None:
        return common_lanes((self.outer, self.inner))

    def __repr__(self) -> str:
        return f"{as_factor(self.outer)} @ {as_factor(self.inner)}"


class LinearCompose(Compose, LinearOperator):
    """The composition of two linear operators."""

    outer: LinearOperator
    inner: LinearOperator

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        super().__init__(outer, inner)

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self.inner.adjoint(self.outer.adjoint(y))

    @property
    def T(self) -> LinearOperator:
        transposed = self.inner.T @ self.outer.T
        assert isinstance(transposed, LinearOperator)  # noqa: S101 - of two linear operators
        return transposed


class Transposed(LinearOperator):
    """The transpose y -> A^T y of a linear operator A; its adjoint is A."""

    def __init__(self, part: LinearOperator) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        return self.part.adjoint(x)

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        out: Tensor = self.part(y)
        return out

    @torch.no_grad()
    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of A z for z of this shape, found by applying A to zeros."""
        like = empty_like_parameters(self.part)
        shape = tuple(self.part(like.new_zeros(self.lanes or 1, *y_shape)).shape[1:])
        fits = self.part.x_shape(shape) == tuple(y_shape)
        expected = f"shape (b, *{self.part.x_shape(shape)})"
        require(fits, "y", expected=expected, got=f"(b, *{tuple(y_shape)})")
        return shape

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """The entries of the input that A depends on."""
        w = drawn(y.new_empty(len(y), *self.x_shape(tuple(y.shape[1:]))))
        return self.part.adjoint(w) != 0

    @property
    def T(self) -> LinearOperator:
        return self.part

    def _select(self, index: Tensor) -> Operator:
        part = self.part.select(index)
        assert isinstance(part, LinearOperator)  # noqa: S101 - as all lanes of it
        return Transposed(part)

    @property
    def lanes(self) -> int | None:
        return self.part.lanes

    def __repr__(self) -> str:
        return f"{self.part!r}.T"


class Several(Operator):
    """Base class of operators made of several others, `parts`."""

    def __init__(self, parts: Sequence[Operator]) -> None:
        super().__init__()
        self.operators = nn.ModuleList(parts)
        self.straight_through = any(part.straight_through for part in parts)

    @property
    def parts(self) -> list[Operator]:
        return list(self.operators)  # type: ignore[arg-type]

    @property
    def linear_parts(self) -> list[LinearOperator]:
        """`parts`, for subclasses that accept only linear operators."""
        return self.parts  # type: ignore[return-value]

    @property
    def lanes(self) -> int | None:
        return common_lanes(self.parts)

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.parts))


def common_shape(argument: str, shapes: Sequence[Shape]) -> Shape:
    """The shape of x that operators used together have in common.

    Raises:
        InvalidArgument: Names `argument` if the shapes differ.
    """
    expected = f"operators that take one shape of x, {shapes[0]} as the first does"
    require(len(set(shapes)) == 1, argument, expected=expected, got=shapes)
    return shapes[0]


def common_lanes(operators: Sequence[Operator]) -> int | None:
    """The number of lanes of operators used together; None if all of them are shared.

    Raises:
        InvalidArgument: If they have parameters for different numbers of lanes.
    """
    counts = sorted({n for n in (part.lanes for part in operators) if n is not None})
    expected = "operators for the same number of lanes"
    got = f"operators for {' and '.join(map(str, counts))} lanes"
    require(len(counts) <= 1, "operators", expected=expected, got=got)
    return counts[0] if counts else None


def as_factor(operator: Operator) -> str:
    """The `repr` of an operator as a factor of a product."""
    return f"({operator!r})" if operator.loose else repr(operator)

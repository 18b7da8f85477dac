"""Operators made of others: A @ B, A + B, c A, A^T.

`Operator` defines the Python operators. An operator that knows the closed form of a product returns
it from `product_with` or `product_after`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.operators.base import (
    ClosedForm,
    Linearisation,
    LinearOperator,
    Operator,
    Shape,
    SpectralOperator,
    empty_like_parameters,
)
from reddiff.random import drawn


def product(outer: Operator, inner: Operator) -> Operator:
    """x -> outer(inner(x)), in closed form where the two know one.

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


def total(first: Operator, second: Operator) -> Operator:
    """x -> first(x) + second(x)."""
    parts = [
        p for part in (first, second) for p in (part.parts if isinstance(part, Sum) else [part])
    ]
    linear = all(isinstance(part, LinearOperator) for part in parts)
    return LinearSum(parts) if linear else Sum(parts)


def scaled(part: Operator, factor: float) -> Operator:
    """x -> factor * part(x).

    Raises:
        InvalidArgument: If the factor is 0 or not finite.
    """
    good = math.isfinite(factor) and factor != 0
    require(good, "factor", expected="a finite number other than 0", got=factor)
    if isinstance(part, Scaled):
        factor, part = factor * part.factor, part.part
    if factor == 1:
        return part
    if isinstance(part, SpectralOperator):
        return SpectralScaled(part, factor)
    if isinstance(part, ClosedForm):
        return ClosedScaled(part, factor)
    return LinearScaled(part, factor) if isinstance(part, LinearOperator) else Scaled(part, factor)


class Compose(Operator):
    """x -> outer(inner(x)): a latent problem is a pixel operator composed with a decoder.

    Raises:
        InvalidArgument: If both are per lane, for different numbers of lanes.
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
        """The estimate by the inner operator from that by the outer one."""
        return self.inner.initial_estimate(self.outer.initial_estimate(y))

    def _select(self, index: Tensor) -> Operator:
        return type(self)(self.outer.select(index), self.inner.select(index))

    @property
    def lanes(self) -> int | None:
        return common_lanes((self.outer, self.inner))

    def __repr__(self) -> str:
        return f"{_factor(self.outer)} @ {_factor(self.inner)}"


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


class Sum(Operator):
    """x -> the sum of the parts, all from the same shape of x to the same shape of y.

    Raises:
        InvalidArgument: If they are per lane, for different numbers of lanes.
    """

    def __init__(self, parts: Sequence[Operator]) -> None:
        super().__init__()
        common_lanes(parts)
        self.terms = nn.ModuleList(parts)
        self.straight_through = any(part.straight_through for part in parts)

    @property
    def parts(self) -> list[Operator]:
        """The terms."""
        return list(self.terms)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        first, *others = (part(x) for part in self.parts)
        out: Tensor = first
        for a in others:
            expected = f"operators of one shape of y, {tuple(first.shape[1:])} as the first"
            require(a.shape == first.shape, "A + B", expected=expected, got=tuple(a.shape[1:]))
            out = out + a
        return out

    def x_shape(self, y_shape: Shape) -> Shape:
        shapes = [part.x_shape(y_shape) for part in self.parts]
        expected = f"operators of one shape of x, {shapes[0]} as the first"
        require(len(set(shapes)) == 1, "A + B", expected=expected, got=shapes)
        return shapes[0]

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """Where any of the parts measures something."""
        return torch.stack([part.measured(y) for part in self.parts]).any(0)

    def _select(self, index: Tensor) -> Operator:
        return type(self)([part.select(index) for part in self.parts])

    @property
    def lanes(self) -> int | None:
        return common_lanes(self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


class LinearSum(Sum, LinearOperator):
    """A sum of linear operators."""

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The sum of the adjoints."""
        first, *others = (part.adjoint(y) for part in self._linear_parts)
        return sum(others, first)

    @property
    def T(self) -> LinearOperator:
        return LinearSum([part.T for part in self._linear_parts])

    @property
    def _linear_parts(self) -> list[LinearOperator]:
        return self.parts  # type: ignore[return-value]


class Scaled(Operator):
    """x -> factor * part(x)."""

    def __init__(self, part: Operator, factor: float) -> None:
        super().__init__()
        self.part, self.factor = part, float(factor)
        self.straight_through = part.straight_through

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        out: Tensor = self.factor * self.part(x)
        return out

    def x_shape(self, y_shape: Shape) -> Shape:
        return self.part.x_shape(y_shape)

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return self.part.measured(y)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self.part.initial_estimate(y / self.factor)

    def surrogate(self) -> tuple[Operator, Tensor | float] | None:
        near = self.part.surrogate()
        return None if near is None else (self.factor * near[0], abs(self.factor) * near[1])

    def product_with(self, inner: Operator) -> Operator | None:
        return self.factor * (self.part @ inner)

    def _select(self, index: Tensor) -> Operator:
        return type(self)(self.part.select(index), self.factor)

    @property
    def lanes(self) -> int | None:
        return self.part.lanes

    def __repr__(self) -> str:
        sign = "-" if self.factor == -1 else f"{self.factor:g} * "
        return f"{sign}{_factor(self.part)}"


class LinearScaled(Scaled, LinearOperator):
    """A linear operator times a number."""

    part: LinearOperator

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self.factor * self.part.adjoint(y)

    def product_after(self, outer: Operator) -> Operator | None:
        return self.factor * (outer @ self.part) if isinstance(outer, LinearOperator) else None

    def norm(
        self, x: Float[Tensor, "b *n"], near: Linearisation | None = None, *, iterations: int = 8
    ) -> Float[Tensor, " b"]:
        return abs(self.factor) * self.part.norm(x, iterations=iterations)

    @property
    def T(self) -> LinearOperator:
        transposed = scaled(self.part.T, self.factor)
        assert isinstance(transposed, LinearOperator)  # noqa: S101 - of a linear operator
        return transposed


class ClosedScaled(LinearScaled, ClosedForm):
    """An operator with a closed form times a number."""

    part: ClosedForm

    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, gain: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        return self.part.invert(b, lam, self.factor**2 * gain)

    def wiener(self, y: Float[Tensor, "b *m"], gain: Tensor | float) -> Float[Tensor, "b *n"]:
        """That of the part, for y over the factor."""
        return self.part.wiener(y / self.factor, self.factor**2 * gain)


class SpectralScaled(ClosedScaled, SpectralOperator):
    """A spectral operator times a number, of which U takes the sign."""

    part: SpectralOperator

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return abs(self.factor) * self.part.spectrum(z)

    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        return self.part.v(z)

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        return self.part.vt(x)

    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        return self.part.u(math.copysign(1.0, self.factor) * z)

    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        return math.copysign(1.0, self.factor) * self.part.ut(y)


class Transposed(LinearOperator):
    """y -> A^T y, whose adjoint is A."""

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
        """The shape of A z for z of this shape, found by applying A."""
        like = empty_like_parameters(self.part)
        shape = tuple(self.part(like.new_zeros(self.lanes or 1, *y_shape)).shape[1:])
        fits = self.part.x_shape(shape) == tuple(y_shape)
        expected = f"shape (b, *{self.part.x_shape(shape)})"
        require(fits, "y", expected=expected, got=f"(b, *{tuple(y_shape)})")
        return shape

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """Where A depends on its input."""
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


def common_lanes(operators: Sequence[Operator]) -> int | None:
    """The number of lanes of operators that are used together."""
    counts = sorted({n for n in (part.lanes for part in operators) if n is not None})
    expected = "operators for the same number of lanes"
    got = f"operators for {' and '.join(map(str, counts))} lanes"
    require(len(counts) <= 1, "operators", expected=expected, got=got)
    return counts[0] if counts else None


def _factor(operator: Operator) -> str:
    """An operator as a factor of a product."""
    return f"({operator!r})" if isinstance(operator, Sum | Scaled) else repr(operator)

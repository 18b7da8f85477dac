"""Multiples c A of operators."""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Linearisation, Operator, Shape
from reddiff.operators.composition import as_factor
from reddiff.operators.linear import ClosedForm, LinearOperator
from reddiff.operators.spectral import SpectralOperator


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


class Scaled(Operator):
    """The multiple factor * part of an operator."""

    loose = True

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
        return f"{sign}{as_factor(self.part)}"


class LinearScaled(Scaled, LinearOperator):
    """A number times a linear operator."""

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
    """A number times an operator with a closed form."""

    part: ClosedForm

    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        return self.part.invert(b, lam, self.factor**2 * weight)

    def wiener(self, y: Float[Tensor, "b *m"], weight: Tensor | float) -> Float[Tensor, "b *n"]:
        return self.part.wiener(y / self.factor, self.factor**2 * weight)


class SpectralScaled(ClosedScaled, SpectralOperator):
    """A spectral operator times a number; the sign of the number goes into U."""

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

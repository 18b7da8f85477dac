"""Base classes of linear operators, and their regularized inverses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import final

from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import finite, per_lane
from reddiff.linalg import Solution, cg, conjugate_gradients
from reddiff.operators.base import Linearisation, Operator


class LinearOperator(Operator):
    """A linear A. A subclass adds `adjoint`; `solve`, `ridge` and `pinv` are derived from it."""

    adjoint_tolerance: float = 0.0  # largest relative error of an adjoint that is not exact

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """A^T y."""

    @property
    def T(self) -> LinearOperator:
        """The transpose: a linear operator whose forward is the adjoint."""
        from reddiff.operators.composition import Transposed

        return Transposed(self)

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self(x), self.adjoint

    def linearise(self, x: Float[Tensor, "b *n"]) -> Linearisation:
        return Linearisation(self(x), self, self.adjoint)

    @final
    def solve(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        weight: Tensor | float = 1.0,
        *,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Float[Tensor, "b *n"]:
        """The x of `solution`, even if it has not converged; exact for a `ClosedForm`."""
        return self.solution(b, lam, weight, tol=tol, iterations=iterations).x

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
        """(weight A^T A + lam I)^-1 b, and whether the iteration converged, per lane.

        Computed by conjugate gradients, which stop when the norm of the residual is at most `tol`
        times ||b||, or after `iterations` iterations.

        Arguments:
            b: The right-hand side, with the shape of x.
            lam: A number > 0, or one per lane.
            weight: A number >= 0, or one per lane.
            start: The initial iterate; zero by default.
            tol: Relative tolerance, at least 0.
            iterations: The largest number of iterations.
        """
        lam, weight = per_lane(lam, b), per_lane(weight, b)
        matvec = partial(self._regularized, lam=lam, weight=weight)
        return conjugate_gradients(matvec, b, start=start, tol=tol, iterations=iterations)

    def _regularized(self, v: Tensor, lam: Tensor, weight: Tensor) -> Tensor:
        return weight * self.adjoint(self(v)) + lam * v

    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        weight: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """Ridge regression: the x that minimizes weight ||A x - y||^2 + ||x||^2.

        It equals `solution(weight * adjoint(y), 1, weight)`, for a weight >= 0, a number or one
        per lane.
        """
        b = self.adjoint(y)
        return self.solution(
            per_lane(weight, b) * b, 1.0, weight, start=start, tol=tol, iterations=iterations
        )

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The Moore-Penrose pseudo-inverse A^+ y: the least-squares solution of minimum norm."""
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=500)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """Ten conjugate gradient iterations towards A^+ y.

        Stopping early leaves out the directions that A attenuates most, in which y is mostly noise.
        """
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=10)


class ClosedForm(LinearOperator):
    """A linear A with a closed form of its regularized inverse, `invert`."""

    @abstractmethod
    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, weight: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """(weight A^T A + lam I)^-1 b, for numbers (or one per lane) lam > 0 and weight >= 0."""

    @final
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
        """`invert`; `start`, `tol` and `iterations` have no effect."""
        x = self.invert(b, lam, weight)
        return Solution(x, finite(x))

    def wiener(self, y: Float[Tensor, "b *m"], weight: Tensor | float) -> Float[Tensor, "b *n"]:
        """A^T (A A^T + I / weight)^-1 y, for a weight >= 0, a number or one per lane.

        By default this is `invert(weight A^T y, 1, weight)` followed by one step of iterative
        refinement. Without that step, in single precision, the rounding error of weight A^T y in
        the null space could exceed x, because `invert` keeps it. Override this method where
        A^T (A A^T + I / weight)^-1 has a closed form.
        """
        x = self.adjoint(y)
        weight = per_lane(weight, x)
        x = self.invert(weight * x, 1.0, weight)
        return x + self.invert(weight * self.adjoint(y - self(x)) - x, 1.0, weight)

    @final
    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        weight: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """`wiener`; `start`, `tol` and `iterations` have no effect."""
        x = self.wiener(y, weight)
        return Solution(x, finite(x))

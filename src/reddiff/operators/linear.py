"""Linear operators: with an adjoint, with a regularized inverse."""

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
    """A linear A: adds `adjoint`, and from it `solve` and `pinv`."""

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
        """(weight A^T A + lam I)^-1 b, for numbers (or one per lane) lam > 0 and weight >= 0.

        By conjugate gradients from `start` (by default zero), until the residual is at most `tol`
        times ||b|| or `iterations` have been made.
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
        """Ridge regression: the x of least weight ||A x - y||^2 + ||x||^2.

        That is `solution` of weight A^T y for lam = 1 and a weight >= 0, a number or one per lane.
        """
        b = self.adjoint(y)
        return self.solution(
            per_lane(weight, b) * b, 1.0, weight, start=start, tol=tol, iterations=iterations
        )

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The Moore-Penrose pseudo-inverse A^+ y: the shortest x of least ||A x - y||."""
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=500)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """Ten conjugate gradient iterations towards A^+ y.

        Early stopping keeps out the directions that A damps most, where y is mostly noise.
        """
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=10)


class ClosedForm(LinearOperator):
    """A linear A whose regularized inverse has a closed form, `invert`."""

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
        """`invert`, which needs no iterations."""
        x = self.invert(b, lam, weight)
        return Solution(x, finite(x))

    def wiener(self, y: Float[Tensor, "b *m"], weight: Tensor | float) -> Float[Tensor, "b *n"]:
        """A^T (A A^T + I / weight)^-1 y, for a weight >= 0, a number or one per lane.

        By default `invert(weight A^T y, 1, weight)` and a step of iterative refinement: in single
        precision the rounding error of weight A^T y in the null space, which `invert` keeps, would
        exceed x. Override it where A^T (A A^T + I / weight)^-1 is known.
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
        """`wiener`, which needs no iterations."""
        x = self.wiener(y, weight)
        return Solution(x, finite(x))

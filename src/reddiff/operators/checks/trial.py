"""The tests of an operator before a run: shapes, determinism, linearity, adjoint, gradient."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import norm
from reddiff.operators.base import Operator
from reddiff.operators.checks.measures import DotTest, accurate, exact, nonlinearity, relative
from reddiff.operators.checks.report import Check, Verdict, failed, note, ok, skipped
from reddiff.operators.linear import LinearOperator
from reddiff.random import drawn


class Trial:
    """The tests, on one x, of the properties of an operator that solvers depend on."""

    def __init__(self, operator: Operator, x: Tensor, seed: int) -> None:
        self.operator, self.x, self.seed = operator, x, seed
        parts = [module for module in operator.modules() if isinstance(module, Operator)]
        dtypes = [x.dtype, *(part.precision for part in parts if part.precision is not None)]
        coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
        self.tol, self.rounding = accurate(coarsest), exact(coarsest)
        linear = [part for part in parts if isinstance(part, LinearOperator)]
        self.allowed = max((part.adjoint_tolerance for part in linear), default=0.0)

    def cheap(self) -> list[Check]:
        """The tests that need only a few applications of A."""
        first = self.shapes()
        if first.verdict is Verdict.FAILED:
            return [first]
        more = [self.gradient] if self.linear is None else [self.linearity, self.adjoint]
        return [first, self.function(), *(one() for one in more)]

    @cached_property
    def a(self) -> Tensor:
        """A(x), copied because an operator may reuse its output memory at the next call."""
        return self.operator(self.x.clone()).clone()

    @property
    def linear(self) -> LinearOperator | None:
        """The operator if it is declared linear, else None."""
        return self.operator if isinstance(self.operator, LinearOperator) else None

    def shapes(self) -> Check:
        """A(x) is a finite real tensor with the lanes of x, and x_shape maps back to x."""
        name, x = "shapes", self.x
        form = f"a finite real tensor with {len(x)} lanes for x of shape {tuple(x.shape)}"
        a = self.operator(x.clone())
        if not isinstance(a, Tensor):
            return failed(name, form, type(a).__name__, "Return a tensor from `forward`.")
        got = f"{tuple(x.shape)} -> {tuple(a.shape)}"
        if a.is_complex():
            advice = "Return real and imaginary part as two channels: torch.view_as_real."
            return failed(name, form, f"{got}, {a.dtype}", advice)
        if a.ndim < 2 or len(a) != len(x):
            advice = "Axis 0 of x and of A(x) is the lane axis (independent problems): keep it."
            return failed(name, form, got, advice)
        if not bool(torch.isfinite(a).all()):
            bad = int((~torch.isfinite(a)).sum())
            advice = "Is A defined there? x is random here, centered at 0."
            return failed(name, form, f"{got}, {bad} of {a.numel()} nan or inf", advice)
        back = tuple(self.operator.x_shape(tuple(a.shape[1:])))
        if back != tuple(x.shape[1:]):
            expected = f"x_shape({tuple(a.shape[1:])}) = {tuple(x.shape[1:])}"
            return failed(name, expected, f"{back}", "`x_shape` maps the shape of y to that of x.")
        return ok(name, form, got)

    def function(self) -> Check:
        """The same x gives the same A(x), and x is not modified."""
        name, expected = "function", "the same A(x) for the same x, and x unchanged"
        x = self.x.clone()
        again = self.operator(x)
        if not torch.equal(x, self.x):
            return failed(name, expected, "x was modified", "Work on a copy: x.clone().")
        if again.shape != self.a.shape:
            return failed(name, expected, f"{tuple(again.shape)} the second time", _FIXED)
        off = relative(again - self.a, self.a)
        if off > self.rounding:
            return failed(name, expected, f"two calls differ by {off:.2g} of A(x)", _FIXED)
        return ok(name, expected, "the same at every call")

    def linearity(self) -> Check:
        """A(c u + d v) = c A u + d A v, where A is declared linear."""
        name, expected = "linearity", "A(c u + d v) = c A u + d A v"
        size = nonlinearity(self.operator, self.x, drawn(self.x, self.seed + 1), self.a)
        got = f"off by {size:.2g} of c A u + d A v"
        if self.linear is None:
            if size > self.tol:
                return skipped(name, f"not declared, and nonlinear: {got}")
            advice = "Declare it: linear operators have exact data steps and more solvers."
            return Check(name, Verdict.NOTE, expected, f"linear, and not declared: {got}", advice)
        if size > self.tol:
            advice = "Is there an offset, a clip or an absolute value? Then derive from Operator."
            return failed(name, expected, got, advice)
        return ok(name, expected, got)

    def adjoint(self) -> Check:
        """The dot-product test: <A x, y> = <x, A^T y>."""
        name, expected = "adjoint", "<A x, y> = <x, A^T y>"
        if self.linear is None:
            return skipped(name, "A is not linear; autograd computes its gradient")
        y = drawn(self.a, self.seed + 2)
        back = self.linear.adjoint(y)
        if back.shape != self.x.shape:
            want = f"A^T y of shape {tuple(self.x.shape)}, as x"
            return failed(name, want, tuple(back.shape), "The adjoint maps y to the shape of x.")
        test = DotTest.of(self.a, y, self.x, back)
        worst, off = int(test.errors.argmax()), test.error
        one, other = test.one[worst], test.other[worst]
        got = f"<A x, y> = {float(one):.6g}, <x, A^T y> = {float(other):.6g}"
        if off > max(self.tol, self.allowed):
            return failed(name, expected, got, _ratio_advice(one, other))
        if self.allowed:
            got += f", which differ by {off:.1e} of ||A x|| ||y||"
            allowed = f"Within the adjoint_tolerance of {self.allowed:g}: gradients, data steps "
            return note(name, expected, got, f"{allowed}and results are only this accurate.")
        return ok(name, expected, got)

    def gradient(self) -> Check:
        """The gradient with respect to x exists, is finite and is not zero."""
        name, expected = "gradient", "a finite gradient of A that is not zero"
        try:
            a, pull = self.operator.vjp(self.x)
            grad = pull(drawn(a, self.seed + 3))
        except (RuntimeError, Unsupported) as error:
            advice = "Was x detached, or turned into a NumPy array? Give an adjoint or a vjp."
            return failed(name, expected, str(error).splitlines()[0], advice)
        size = norm(grad)
        got = f"||J^T w|| is at least {float(size.min()):.3g}"
        if not bool(torch.isfinite(grad).all()):
            advice = "Square roots and logarithms at 0? Add a small constant inside."
            return failed(name, expected, "nan or inf", advice)
        if bool((size == 0).any()):
            advice = "Does A round? Use a straight-through gradient: x + (A(x) - x).detach()."
            return failed(name, expected, got, advice)
        return ok(name, expected, got)


_FIXED = "Draw random parameters once, with a seed, in __init__; use eval() on networks."


def _ratio_advice(one: Tensor, other: Tensor) -> str:
    """Advice on what the ratio of the two inner products suggests."""
    ratio = float(one / other) if float(other) else math.inf
    return (
        f"Their ratio is {ratio:.4g}. If it is the same for other x and y, a scale is missing (an "
        "inverse in place of an adjoint, an FFT without norm='ortho'); otherwise look at padding, "
        "flips and conjugates."
    )

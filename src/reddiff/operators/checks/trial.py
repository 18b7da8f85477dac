"""The checks, one by one, on one operator and some x."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, Unsupported
from reddiff.lanes import norm
from reddiff.operators.base import Operator
from reddiff.operators.checks.measures import (
    DotTest,
    accurate,
    exact,
    lane_error,
    nonlinearity,
    relative,
)
from reddiff.operators.checks.report import Check, Verdict, failed, note, ok, skipped
from reddiff.operators.linear import ClosedForm, LinearOperator
from reddiff.random import drawn

HANDY = (1e-3, 1e3)  # norms outside this range are noted


class Trial:
    """The checks of one operator on one x."""

    def __init__(self, operator: Operator, x: Tensor, seed: int) -> None:
        self.operator, self.x, self.seed = operator, x, seed
        parts = [module for module in operator.modules() if isinstance(module, Operator)]
        dtypes = [x.dtype, *(part.precision for part in parts if part.precision is not None)]
        coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
        self.tol, self.rounding = accurate(coarsest), exact(coarsest)
        linear = [part for part in parts if isinstance(part, LinearOperator)]
        self.allowed = max((part.adjoint_tolerance for part in linear), default=0.0)

    def cheap(self) -> list[Check]:
        """The checks that a solver depends on, in a few applications of A."""
        first = self.shapes()
        if first.verdict is Verdict.FAILED:
            return [first]
        more = [self.gradient] if self.linear is None else [self.linearity, self.adjoint]
        return [first, self.function(), *(one() for one in more)]

    def all(self) -> list[Check]:
        """Every check; only the first if A(x) is not usable."""
        first = self.shapes()
        if first.verdict is Verdict.FAILED:
            return [first]
        rest = (
            self.function,
            self.lanes,
            self.linearity,
            self.adjoint,
            self.gradient,
            self.norm,
            self.inverse,
            self.pinv,
            self.dtype,
            self.device,
        )
        return [first, *(_guarded(one) for one in rest)]

    @cached_property
    def a(self) -> Tensor:
        """A(x), copied: an operator may return the same memory at every call."""
        return self.operator(self.x.clone()).clone()

    @property
    def linear(self) -> LinearOperator | None:
        """The operator, where it is declared linear."""
        return self.operator if isinstance(self.operator, LinearOperator) else None

    def shapes(self) -> Check:
        """A(x) is a finite real tensor with the lanes of x, and x_shape maps back to x."""
        name, x = "shapes", self.x
        form = f"a finite real tensor of {len(x)} lanes for x of shape {tuple(x.shape)}"
        a = self.operator(x.clone())
        if not isinstance(a, Tensor):
            return failed(name, form, type(a).__name__, "Return a tensor from `forward`.")
        got = f"{tuple(x.shape)} -> {tuple(a.shape)}"
        if a.is_complex():
            advice = "Return real and imaginary part as two channels: torch.view_as_real."
            return failed(name, form, f"{got}, {a.dtype}", advice)
        if a.ndim < 2 or len(a) != len(x):
            advice = "Axis 0 of x and of A(x) numbers independent problems: keep it."
            return failed(name, form, got, advice)
        if not bool(torch.isfinite(a).all()):
            bad = int((~torch.isfinite(a)).sum())
            advice = "Look at its domain: x is random here, about 0."
            return failed(name, form, f"{got}, {bad} of {a.numel()} nan or inf", advice)
        back = tuple(self.operator.x_shape(tuple(a.shape[1:])))
        if back != tuple(x.shape[1:]):
            expected = f"x_shape({tuple(a.shape[1:])}) = {tuple(x.shape[1:])}"
            return failed(name, expected, f"{back}", "`x_shape` maps the shape of y to that of x.")
        return ok(name, form, got)

    def function(self) -> Check:
        """The same x gives the same A(x), and x is not written to."""
        name, expected = "function", "the same A(x) for the same x, and x as it was"
        x = self.x.clone()
        again = self.operator(x)
        if not torch.equal(x, self.x):
            return failed(name, expected, "an x that was written to", "Work on a copy: x.clone().")
        if again.shape != self.a.shape:
            return failed(name, expected, f"{tuple(again.shape)} the second time", _FIXED)
        off = relative(again - self.a, self.a)
        if off > self.rounding:
            return failed(name, expected, f"two calls that differ by {off:.2g} of A(x)", _FIXED)
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
        """The dot test: <A x, y> = <x, A^T y>."""
        name, expected = "adjoint", "<A x, y> = <x, A^T y>"
        if self.linear is None:
            return skipped(name, "A is not linear; its gradient is autograd's")
        y = drawn(self.a, self.seed + 2)
        back = self.linear.adjoint(y)
        if back.shape != self.x.shape:
            want = f"A^T y of shape {tuple(self.x.shape)}, as x"
            return failed(name, want, tuple(back.shape), "It maps y back to the shape of x.")
        test = DotTest.of(self.a, y, self.x, back)
        worst, off = int(test.errors.argmax()), test.error
        one, other = test.one[worst], test.other[worst]
        got = f"<A x, y> = {float(one):.6g}, <x, A^T y> = {float(other):.6g}"
        if off > max(self.tol, self.allowed):
            return failed(name, expected, got, _ratio_advice(one, other))
        if self.allowed:
            got += f", {off:.1e} apart of ||A x|| ||y||"
            allowed = f"Within the adjoint_tolerance of {self.allowed:g}: gradients, data steps "
            return note(name, expected, got, f"{allowed}and the result are as inexact.")
        return ok(name, expected, got)

    def gradient(self) -> Check:
        """A gradient reaches x, and is neither zero nor NaN."""
        name, expected = "gradient", "a finite gradient of A that is not zero"
        try:
            a, pull = self.operator.vjp(self.x)
            grad = pull(drawn(a, self.seed + 3))
        except (RuntimeError, Unsupported) as error:
            advice = "Was x detached, or turned into a NumPy array? Give an adjoint or a vjp."
            return failed(name, expected, str(error).splitlines()[0], advice)
        size = norm(grad)
        got = f"||J^T w|| = {float(size.min()):.3g} at the least"
        if not bool(torch.isfinite(grad).all()):
            advice = "Square roots and logarithms at 0? Add a small constant inside."
            return failed(name, expected, "nan or inf", advice)
        if bool((size == 0).any()):
            advice = "Rounding has no slope: use a straight-through one, x + (A(x) - x).detach()."
            return failed(name, expected, got, advice)
        return ok(name, expected, got)

    def lanes(self) -> Check:
        """A lane alone gives the same A(x) as in a batch."""
        name, expected = "lanes", "the same A(x) for a lane alone and in a batch"
        if len(self.x) < 2:
            return skipped(name, "needs two lanes")

        def alone(i: int) -> Tensor:
            index = torch.tensor([i], device=self.x.device)
            out: Tensor = self.operator.select(index)(self.x[index])
            return out

        off = lane_error(self.a, alone, range(len(self.x)))
        if off > self.tol:
            advice = "Does a norm, mean or maximum run over axis 0, that of the lanes?"
            return failed(name, expected, f"off by {off:.2g} of A(x)", advice)
        return ok(name, expected, f"off by {off:.2g} of A(x)")

    def norm(self) -> Check:
        """The spectral norm, and whether it is far from 1."""
        name = "norm"
        sizes = self.operator.norm(self.x)
        low, high = float(sizes.min()), float(sizes.max())
        got = (
            f"||A|| = {low:.4g}" if math.isclose(low, high) else f"||A|| = {low:.4g} to {high:.4g}"
        )
        expected = f"between {HANDY[0]:g} and {HANDY[1]:g}"
        if HANDY[0] <= low and high <= HANDY[1]:
            return ok(name, expected, got)
        advice = "Is sigma_y in the units of y? Scaling A, y and it alike changes nothing."
        return note(name, expected, got, advice)

    def inverse(self) -> Check:
        """A closed form solves the regularised normal equations."""
        name, expected = "inverse", "(A^T A + I) invert(b, 1) = b"
        if not isinstance(self.operator, ClosedForm):
            return skipped(name, "no closed form: conjugate gradients are used")
        x = self.operator.invert(self.x, 1.0)
        back = self.operator.adjoint(self.operator(x)) + x
        off = relative(back - self.x, self.x)
        got = f"off by {off:.2g} of b"
        if off > self.tol:
            return failed(
                name,
                expected,
                got,
                "Without a closed form, derive from LinearOperator: it solves by iteration.",
            )
        return ok(name, expected, got)

    def pinv(self) -> Check:
        """A A^+ A x = A x, to the accuracy of the iterations."""
        name, expected = "pinv", "A A^+ A x = A x"
        if self.linear is None:
            return skipped(name, "A is not linear")
        off = relative(self.linear(self.linear.pinv(self.a)) - self.a, self.a)
        got = f"off by {off:.2g} of A x"
        if off <= 30 * self.tol:
            return ok(name, expected, got)
        if isinstance(self.operator, ClosedForm):
            return failed(name, expected, got, "Are `ut`, `spectrum` and `v` those of one SVD?")
        advice = "A is ill-conditioned: 500 iterations do not invert it. Solvers damp what they do."
        return note(name, expected, got, advice)

    def dtype(self) -> Check:
        """A(x) in the other precision agrees, and has its dtype."""
        name, x = "dtype", self.x
        other = torch.float64 if x.dtype == torch.float32 else torch.float32
        expected = f"A(x) of {other} for x of {other}, the same up to rounding"
        try:
            copied = copy.deepcopy(self.operator)
        except TypeError as error:  # it holds what Python cannot copy, such as a library's handle
            return skipped(name, f"the operator cannot be copied ({error})")
        try:
            a = copied.to(other)(x.to(other))
        except (RuntimeError, TypeError, InvalidArgument) as error:
            return failed(name, expected, str(error).splitlines()[0], _BUFFERS)
        if a.dtype != other or self.a.dtype != x.dtype:
            got = f"{self.a.dtype} for {x.dtype}, {a.dtype} for {other}"
            return failed(name, expected, got, _BUFFERS)
        off = relative(a.to(x.dtype) - self.a, self.a)
        got = f"{x.dtype} and {other} differ by {off:.2g}"
        if off > accurate(torch.float32):
            advice = "It rounds somewhere: work in the dtype of x."
            return note(name, expected, got, advice)
        return ok(name, expected, got)

    def device(self) -> Check:
        """All buffers where x is, and A(x) too."""
        name, x = "device", self.x
        places = {str(t.device) for t in (*self.operator.buffers(), self.a)} | {str(x.device)}
        expected = f"all on {x.device}, as x"
        if len(places) > 1:
            return failed(name, expected, ", ".join(sorted(places)), _BUFFERS)
        return ok(name, expected, str(x.device))


def _guarded(one: Callable[[], Check]) -> Check:
    """The result of a check, a failure if it raised an exception."""
    try:
        return one()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        name = one.__name__
        return failed(name, "no exception", got, "It may follow from a failure above.")


_FIXED = "Draw random parameters once, with a seed, in __init__; use eval() on networks."
_BUFFERS = "Keep parameters with register_buffer, so that `.to` moves them, and cast to x.dtype."


def _ratio_advice(one: Tensor, other: Tensor) -> str:
    """What a constant ratio of the two sides usually means."""
    ratio = float(one / other) if float(other) else math.inf
    return (
        f"Their ratio is {ratio:.4g}. A constant one is a missing scale (an inverse in place of an "
        "adjoint, an FFT without norm='ortho'); else look at padding, flips and conjugates."
    )

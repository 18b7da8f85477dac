"""The remaining tests of an operator: lanes, norm, inverses, precision and device."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument
from reddiff.operators.checks.measures import accurate, lane_error, relative
from reddiff.operators.checks.report import Check, Verdict, failed, note, ok, skipped
from reddiff.operators.checks.trial import Trial
from reddiff.operators.linear import ClosedForm

HANDY = (1e-3, 1e3)  # norms outside this range get a note
_BUFFERS = "Register parameters with register_buffer, so that `.to` moves them; cast to x.dtype."


class Inspection(Trial):
    """All checks of one operator on one x."""

    def all(self) -> list[Check]:
        """Every check, or only the first if A(x) is not usable."""
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
            advice = "Does a norm, mean or maximum run over axis 0, the lane axis?"
            return failed(name, expected, f"off by {off:.2g} of A(x)", advice)
        return ok(name, expected, f"off by {off:.2g} of A(x)")

    def norm(self) -> Check:
        """The spectral norm lies between 0.001 and 1000."""
        name = "norm"
        sizes = self.operator.norm(self.x)
        low, high = float(sizes.min()), float(sizes.max())
        got = (
            f"||A|| = {low:.4g}" if math.isclose(low, high) else f"||A|| = {low:.4g} to {high:.4g}"
        )
        expected = f"between {HANDY[0]:g} and {HANDY[1]:g}"
        if HANDY[0] <= low and high <= HANDY[1]:
            return ok(name, expected, got)
        advice = "Is sigma_y in the units of y? Scaling A, y and sigma_y together changes nothing."
        return note(name, expected, got, advice)

    def inverse(self) -> Check:
        """A closed form solves the regularized normal equations."""
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
            return failed(name, expected, got, "Do `ut`, `spectrum` and `v` belong to one SVD?")
        advice = "A is ill-conditioned: 500 iterations do not invert it. Solvers regularize it."
        return note(name, expected, got, advice)

    def dtype(self) -> Check:
        """In the other precision, A(x) has that dtype and the same values up to rounding."""
        name, x = "dtype", self.x
        other = torch.float64 if x.dtype == torch.float32 else torch.float32
        expected = f"A(x) of {other} for x of {other}, the same up to rounding"
        try:
            copied = copy.deepcopy(self.operator)
        except TypeError as error:  # such as one holding a library's handle
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
            advice = "Part of A computes in a lower precision: use the dtype of x."
            return note(name, expected, got, advice)
        return ok(name, expected, got)

    def device(self) -> Check:
        """All buffers and A(x) are on the device of x."""
        name, x = "device", self.x
        places = {str(t.device) for t in (*self.operator.buffers(), self.a)} | {str(x.device)}
        expected = f"all on {x.device}, as x"
        if len(places) > 1:
            return failed(name, expected, ", ".join(sorted(places)), _BUFFERS)
        return ok(name, expected, str(x.device))


def _guarded(one: Callable[[], Check]) -> Check:
    """The result of a check; an exception counts as a failure."""
    try:
        return one()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        name = one.__name__
        return failed(name, "no exception", got, "This may be due to a failure above.")

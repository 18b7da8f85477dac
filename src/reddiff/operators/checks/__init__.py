"""Tests of an operator that find common mistakes before a run."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.checks.inspection import Inspection
from reddiff.operators.checks.report import Check, Report, Verdict
from reddiff.operators.checks.trial import Trial
from reddiff.random import drawn

__all__ = ["Check", "Report", "Verdict", "check", "require_sane"]


@torch.no_grad()
def check(
    operator: Operator,
    *,
    x_shape: Shape | None = None,
    x: Tensor | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Report:
    """Test an operator: shapes, determinism, lanes, linearity, adjoint, gradient, norm, inverse.

    Arguments:
        operator: The operator; `reddiff.operator` makes one from a function.
        x_shape: The shape of one x, without the lane axis. The checks use random x of this shape.
        x: The x to use instead of random ones, `(b, ...)` with b >= 1, with the operator's dtype
            and device; for operators that are defined on some x only, such as positive ones.
        dtype: The dtype of the random x; by default that of the operator's parameters, or float32.
        seed: Random seed.

    Returns:
        A report, which is false if a check failed; print it to see the details.

    Raises:
        InvalidArgument: If not exactly one of `x` and `x_shape` is given, or `operator` is not an
            Operator.
    """
    got = type(operator).__name__
    require(isinstance(operator, Operator), "operator", expected="an Operator", got=got)
    one = (x is None) != (x_shape is None)
    require(one, "x_shape", expected="a shape, or x in its place", got=f"{x_shape} and x {type(x)}")
    if x is None:
        place = next((t for t in operator.buffers() if t.is_floating_point()), torch.empty(0))
        like = torch.empty(operator.lanes or 2, *(x_shape or ()), device=place.device)
        x = 0.5 * drawn(like.to(dtype or place.dtype), seed)
    return Report(tuple(Inspection(operator, x, seed).all()))


@torch.no_grad()
def require_sane(operator: Operator, x_shape: Shape, like: Tensor) -> None:
    """The inexpensive tests of `check`, on one lane, run before the first network evaluation.

    Arguments:
        operator: The operator of a problem.
        x_shape: The shape of one x.
        like: A tensor with the dtype and device of y.

    Raises:
        InvalidArgument: Names the check that failed, what was expected and found, and a remedy.
    """
    if operator.lanes is not None:
        operator = operator.select(torch.zeros(1, dtype=torch.long, device=like.device))
    x = 0.5 * drawn(torch.empty(1, *x_shape, dtype=like.dtype, device=like.device), number=0)
    for found in Trial(operator, x, seed=0).cheap():
        if found.verdict is Verdict.FAILED:
            got = f"{found.got}. {found.advice} (check=False skips this check)"
            raise InvalidArgument(f"operator ({found.name})", expected=found.expected, got=got)

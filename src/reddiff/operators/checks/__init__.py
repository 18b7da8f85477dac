"""Checks of an operator: the mistakes that otherwise cost a night, found in a second."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
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
    """Try an operator: shapes, function, lanes, linearity, adjoint, gradient, norm, inverse.

    Arguments:
        operator: What to try; a user's own comes from `reddiff.operator`.
        x_shape: The shape of one x, without the lane axis. Random x of this shape are tried.
        x: Or the x to try, `(b, ...)` with b >= 1, of the operator's dtype and device. For
            operators that are defined on some x only, such as positive ones.
        dtype: That of the random x; by default that of the operator's parameters, else float32.
        seed: Of all random numbers.

    Returns:
        A report: print it. `if not check(...)` is true where something failed.

    Raises:
        InvalidArgument: If there is neither `x` nor `x_shape`, or both, or `operator` is none.
    """
    got = type(operator).__name__
    require(isinstance(operator, Operator), "operator", expected="an Operator", got=got)
    one = (x is None) != (x_shape is None)
    require(one, "x_shape", expected="a shape, or x in its place", got=f"{x_shape} and x {type(x)}")
    if x is None:
        place = next((t for t in operator.buffers() if t.is_floating_point()), torch.empty(0))
        like = torch.empty(operator.lanes or 2, *(x_shape or ()), device=place.device)
        x = 0.5 * drawn(like.to(dtype or place.dtype), seed)
    return Report(tuple(Trial(operator, x, seed).all()))


@torch.no_grad()
def require_sane(operator: Operator, x_shape: Shape, like: Tensor) -> None:
    """The cheap part of `check`, on one lane; for solvers, before the first evaluation.

    Arguments:
        operator: The operator of a problem.
        x_shape: The shape of one x.
        like: A tensor of the dtype and device of y.

    Raises:
        InvalidArgument: Names what failed, with both sides, and what to do.
    """
    if operator.lanes is not None:
        operator = operator.select(torch.zeros(1, dtype=torch.long, device=like.device))
    x = 0.5 * drawn(torch.empty(1, *x_shape, dtype=like.dtype, device=like.device), number=0)
    for found in Trial(operator, x, seed=0).cheap():
        if found.verdict is Verdict.FAILED:
            got = f"{found.got}. {found.advice} (check=False lets it pass)"
            raise InvalidArgument(f"operator ({found.name})", expected=found.expected, got=got)

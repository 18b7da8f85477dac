"""Validation of user functions."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.operators.checks.measures import DotTest, accurate, coarse, lane_error, nonlinearity
from reddiff.operators.custom.gradients import Map
from reddiff.random import drawn

MATCHED = 0.1  # with a larger error, `adjoint` is wrong rather than approximate


def call(name: str, function: Map, x: Tensor, *more: Tensor) -> Tensor:
    """function(x, *more).

    Raises:
        InvalidArgument: If it raises an exception, or if the result is not a tensor with the
            dtype, the device and the lanes of x.
    """
    what = f"a function of x {tuple(x.shape)}, {x.dtype} on {x.device}"
    try:
        a = function(x, *more)
    except InvalidArgument:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InvalidArgument(name, expected=what, got=got) from error
    hint = " (for functions of NumPy arrays pass numpy=True)" * (type(a).__module__ == "numpy")
    got = type(a).__name__
    require(
        isinstance(a, Tensor),
        name,
        expected=f"a function that returns a torch.Tensor{hint}",
        got=got,
    )
    expected = f"real values of {x.dtype}, as x (a complex y is two channels, real and imaginary)"
    require(a.dtype == x.dtype, name, expected=expected, got=a.dtype)
    require(a.device == x.device, name, expected=f"a y on {x.device}, as x", got=a.device)
    lanes = a.ndim >= 2 and len(a) == len(x) and a.numel() > 0
    require(lanes, name, expected=f"shape ({len(x)}, ...), lanes first", got=tuple(a.shape))
    return a


def check_forward(forward: Map, x: Tensor, given: tuple[Tensor, ...]) -> Tensor:
    """A(x), after validating `forward`.

    Raises:
        InvalidArgument: If it modifies x, is not deterministic, or lets lanes depend on others.
    """
    kept = x.clone()
    a = call("forward", forward, x, *given).detach().clone()
    same = torch.equal(x, kept)
    require(same, "forward", expected="a function that does not modify x", got="a modified x")
    again = torch.equal(forward(x, *given).nan_to_num(), a.nan_to_num())
    expected = "the same A(x) at every call (noise belongs in `noise`, not in A)"
    require(again, "forward", expected=expected, got="a different A(x) for the same x")

    def alone(i: int) -> Tensor:
        return call("forward", forward, x[i : i + 1], *(t[i : i + 1] for t in given))

    error = lane_error(a, alone, range(1, 2) if len(x) > 1 else ())
    expected = "a function of (b, ...) that treats lanes independently"
    got = "a lane that depends on others"
    require(error <= accurate(x.dtype), "forward", expected=expected, got=got)
    return a


def linearity_error(forward: Map, like: Tensor, given: tuple[Tensor, ...]) -> float:
    """`nonlinearity` of the function, on random numbers."""

    def of(x: Tensor) -> Tensor:
        return call("forward", forward, x, *given)

    return nonlinearity(of, drawn(like, 1), drawn(like, 2))


def is_linear(forward: Map, like: Tensor, given: tuple[Tensor, ...]) -> bool:
    """Whether a function passes the linearity test."""
    return linearity_error(forward, like, given) <= accurate(like.dtype)


def check_linear(
    forward: Map,
    like: Tensor,
    given: tuple[Tensor, ...],
    expected: str = "False, or a forward with A(c u + v) = c A(u) + A(v)",
) -> None:
    """Raise InvalidArgument unless the function passes the linearity test."""
    worst = linearity_error(forward, like, given)
    got = f"True, and a difference of {worst:.1e}"
    if like.dtype == torch.float64 and worst <= accurate(torch.float32):
        got += ", typical of code in float32 (validate it with an `example` in float32)"
    require(worst <= accurate(like.dtype), "linear", expected=expected, got=got)


def check_adjoint(
    forward: Map,
    adjoint: Map,
    like: Tensor,
    y_like: Tensor,
    given: tuple[Tensor, ...],
    tolerance: float | None = None,
) -> None:
    """Raise InvalidArgument unless <A u, w> = <u, adjoint(w)> to `tolerance` ||A u|| ||w||.

    The default tolerance is the square root of the machine epsilon.
    """
    u, w = drawn(like, 3), drawn(y_like, 4)
    back = call("adjoint", adjoint, w, *given)
    got, wanted = tuple(back.shape), tuple(u.shape)
    require(got == wanted, "adjoint", expected=f"shape {wanted}, as x", got=got)
    a = forward(u, *given)
    test = DotTest.of(a, w, u, back)
    if tolerance is not None:  # also with w = A u, which shows an error of scale in full
        test = test.and_(DotTest.of(a, a, u, call("adjoint", adjoint, a, *given)))
    law = "<A u, w> = <u, adjoint(w)>"
    if test.error < MATCHED:
        law += " (adjoint_tolerance=... accepts an approximate adjoint)"
    _require_passed("adjoint", law, test, accurate(like.dtype) if tolerance is None else tolerance)


def check_slope(
    name: str, slopes: tuple[Map, Map], x: Tensor, y_like: Tensor, given: tuple[Tensor, ...]
) -> None:
    """Raise InvalidArgument unless <J v, w> = <v, J^T w> for J v from `push`, J^T w from `pull`."""
    push, pull = slopes
    v, w = drawn(x, 3), drawn(y_like, 4)
    back = call(name, pull, x, w, *given)
    require(back.shape == x.shape, name, expected=f"shape {tuple(x.shape)}, as x", got=back.shape)
    moved = call(name, push, x, v, *given)
    got = tuple(moved.shape)
    require(got == w.shape, name, expected=f"shape {tuple(w.shape)}, as y", got=got)
    test = DotTest.of(moved, w, v, back)
    _require_passed(name, "<J v, w> = <v, J^T w>", test, coarse(moved.dtype))


def _require_passed(name: str, law: str, test: DotTest, tolerance: float) -> None:
    sides = f"{_numbers(test.one)} and {_numbers(test.other)}"
    got = f"{sides}, which differ by {test.error:.1e} ||A u|| ||w||"
    require(test.error <= tolerance, name, expected=law, got=got)


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{v:.6g}" for v in values[:3].tolist())

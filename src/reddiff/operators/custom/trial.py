"""What is tried before a function is believed: each check names what came and what was expected."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.lanes import dot, norm
from reddiff.operators.base import Shape
from reddiff.operators.custom.gradients import Map
from reddiff.random import drawn

MATCHED = 0.1  # an adjoint that is further off than this is another operator


def call(name: str, function: Map, x: Tensor, *more: Tensor) -> Tensor:
    """function(x, *more), or InvalidArgument: it fails, or gives no real tensor with lanes."""
    what = f"a function of x {tuple(x.shape)}, {x.dtype} on {x.device}"
    try:
        a = function(x, *more)
    except InvalidArgument:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InvalidArgument(name, expected=what, got=got) from error
    hint = " (for functions of NumPy arrays say numpy=True)" * (type(a).__module__ == "numpy")
    got = type(a).__name__
    require(isinstance(a, Tensor), name, expected=f"a torch.Tensor back{hint}", got=got)
    expected = f"real values of {x.dtype}, as x (a complex y has two channels: its two parts)"
    require(a.dtype == x.dtype, name, expected=expected, got=a.dtype)
    require(a.device == x.device, name, expected=f"a y on {x.device}, as x", got=a.device)
    lanes = a.ndim >= 2 and len(a) == len(x) and a.numel() > 0
    require(lanes, name, expected=f"shape ({len(x)}, ...), lanes first", got=tuple(a.shape))
    return a


def check_forward(forward: Map, x: Tensor, given: tuple[Tensor, ...]) -> Tensor:
    """A(x), of a function that keeps x, gives the same again, and keeps lanes apart."""
    kept = x.clone()
    a = call("forward", forward, x, *given).detach().clone()
    same = torch.equal(x, kept)
    require(same, "forward", expected="a function that leaves x as it is", got="a changed x")
    again = torch.equal(forward(x, *given).nan_to_num(), a.nan_to_num())
    expected = "the same A(x) at every call (noise is drawn by `noise`, not by A)"
    require(again, "forward", expected=expected, got="another A(x) for the same x")
    if len(x) == 1:
        return a
    one = call("forward", forward, x[1:2], *(t[1:2] for t in given)).nan_to_num()
    size = 1e3 * torch.finfo(x.dtype).eps * float(norm(a.nan_to_num()).max())
    alone = one.shape == a[1:2].shape and float((one - a[1:2].nan_to_num()).norm()) <= size
    expected = "a function of (b, ...) that treats every lane as if it were alone"
    require(alone, "forward", expected=expected, got="a lane that changes with its neighbours")
    return a


def nonlinearity(forward: Map, like: Tensor, given: tuple[Tensor, ...]) -> float:
    """The largest of ||A(cu + v) - c A(u) - A(v)|| / ||c A(u)||, of small numbers and large."""
    u, v = drawn(like, 1), drawn(like, 2)
    a, worst = call("forward", forward, u, *given), 0.0
    for c, d in ((1.0, 0.0), (-2.0, 1.0), (100.0, -1.0)):
        wanted = c * a + d * forward(v, *given)
        wrong = norm(forward(c * u + d * v, *given) - wanted) / norm(wanted).clamp(min=1e-30)
        worst = max(worst, float(wrong.max().nan_to_num(torch.inf)))
    return worst


def is_linear(forward: Map, like: Tensor, given: tuple[Tensor, ...]) -> bool:
    """Whether a function passes for linear, to the square root of the rounding error."""
    return nonlinearity(forward, like, given) <= torch.finfo(like.dtype).eps ** 0.5


def check_linear(
    forward: Map,
    like: Tensor,
    given: tuple[Tensor, ...],
    expected: str = "False, or a forward with A(c u + v) = c A(u) + A(v)",
) -> None:
    """Raise InvalidArgument unless the function is linear."""
    worst = nonlinearity(forward, like, given)
    got = f"True, and a difference of {worst:.1e}"
    if like.dtype == torch.float64 and worst <= torch.finfo(torch.float32).eps ** 0.5:
        got += ", as of code in float32 (which is tried there with an `example` in float32)"
    good = worst <= torch.finfo(like.dtype).eps ** 0.5
    require(good, "linear", expected=expected, got=got)


def check_adjoint(
    forward: Map,
    adjoint: Map,
    like: Tensor,
    y_like: Tensor,
    given: tuple[Tensor, ...],
    tolerance: float | None = None,
) -> None:
    """Raise InvalidArgument unless <A u, w> = <u, adjoint(w)>, to `tolerance` ||A u|| ||w||.

    By default that is the square root of the rounding error.
    """
    u, w = drawn(like, 3), drawn(y_like, 4)
    back = call("adjoint", adjoint, w, *given)
    got, wanted = tuple(back.shape), tuple(u.shape)
    require(got == wanted, "adjoint", expected=f"shape {wanted}, as x", got=got)
    a = forward(u, *given)
    tol = torch.finfo(like.dtype).eps ** 0.5 if tolerance is None else tolerance
    one, other, size = dot(a, w), dot(u, back), norm(a) * norm(w)
    if tolerance is not None:  # also along A u, where a wrong scale is seen whole
        along = dot(u, call("adjoint", adjoint, a, *given))
        one, other = torch.cat([one, dot(a, a)]), torch.cat([other, along])
        size = torch.cat([size, dot(a, a)])
    off = float(((one - other).abs() / size.clamp(min=1e-30)).max())
    law = "<A u, w> = <u, adjoint(w)>"
    if off < MATCHED:
        law += " (adjoint_tolerance=... lets a pair pass that is a little off)"
    _agree("adjoint", law, one, other, size, tol)


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
    size = norm(moved) * norm(w) + norm(back) * norm(v)
    tol = torch.finfo(moved.dtype).eps ** 0.25
    _agree(name, "<J v, w> = <v, J^T w>", dot(moved, w), dot(v, back), size, tol)


def check_shapes(forward: Map, x: Tensor, y_shape: Shape, given: tuple[Tensor, ...]) -> None:
    """Raise InvalidArgument unless A takes x to this shape of one y."""
    a = call("forward", forward, x, *given)
    got, made = tuple(a.shape[1:]), tuple(x.shape[1:])
    expected = f"shape (b, *{got}), which is what an x of shape {made} measures"
    require(got == y_shape, "y", expected=expected, got=f"(b, *{y_shape})")


def _agree(name: str, law: str, one: Tensor, other: Tensor, size: Tensor, tol: float) -> None:
    apart = (one - other).abs()
    off = float((apart / size.clamp(min=1e-30)).max())
    got = f"{_numbers(one)} and {_numbers(other)}, {off:.1e} apart of ||A u|| ||w||"
    require(bool((apart <= tol * size).all()), name, expected=law, got=got)


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{v:.6g}" for v in values[:3].tolist())

"""Functions on tensors, tried before they become an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.custom.functions import Function, LinearFunction, difference, transpose
from reddiff.operators.custom.gradients import Map
from reddiff.operators.custom.trial import (
    call,
    check_adjoint,
    check_forward,
    check_linear,
    check_shapes,
    check_slope,
    is_linear,
)
from reddiff.random import drawn


class Tried:
    """Functions on tensors, and the x that they are tried on, if its shape is known."""

    def __init__(
        self,
        functions: dict[str, Map | None],
        x_shape: Shape | Callable[[Shape], Shape] | None,
        example: Tensor | None,
        given: tuple[Tensor, ...],
        parts: list[nn.Module],
        numpy: bool,
        tolerance: float | None = None,
    ) -> None:
        for name, function in functions.items():
            good = function is None or callable(function)
            require(good, name, expected="a function", got=type(function).__name__)
        forward = functions["forward"]
        assert forward is not None  # noqa: S101  # checked by the caller
        self.forward, self.functions = forward, functions
        self.given, self.parts, self.numpy, self.tolerance = given, parts, numpy, tolerance
        if tolerance is not None:
            good = 0 < tolerance < 1 and functions["adjoint"] is not None
            expected = "a number between 0 and 1, beside an adjoint"
            require(good, "adjoint_tolerance", expected=expected, got=tolerance)
        b = _lanes(given)
        self.like = _like(example, parts, given)
        self.x: Tensor | None = None
        if example is not None:
            good = example.is_floating_point() and example.ndim >= 2
            expected = "a floating-point tensor (b, ...)"
            require(good, "example", expected=expected, got=f"{example.dtype} {example.shape}")
            known = example.shape[1:]
            same = not isinstance(x_shape, Sequence) or tuple(x_shape) == tuple(known)
            require(same, "example", expected=f"shape (b, *{x_shape})", got=tuple(example.shape))
            x_shape = tuple(known) if x_shape is None else x_shape
            lane = torch.arange(b, device=example.device)
            fade = 0.9 ** (lane // len(example)).view(-1, *[1] * len(known))  # no two are alike
            self.x = example.detach()[lane % len(example)] * fade.to(example)
        elif isinstance(x_shape, Sequence):
            good = all(isinstance(n, int) and n > 0 for n in x_shape) and len(x_shape) > 0
            require(good, "x_shape", expected="positive integers", got=tuple(x_shape))
            self.x = drawn(self.like.new_empty(b, *x_shape))
        self.rule = x_shape if callable(x_shape) else None

    @torch.no_grad()
    def operator(self, linear: bool | None) -> Operator:
        """The operator, once all that can be tried has been."""
        a = None if self.x is None else check_forward(self.forward, self.x, self.given)
        linear = self._decide(linear)
        if linear and self.x is not None:  # the example may be zeros
            check_forward(self.forward, drawn(self.x), self.given)
        settings = {"find": self._finder(a), "like": self.like, "given": self.given}
        settings["parts"] = self.parts
        adjoint, vjp, jvp = (self.functions[n] for n in ("adjoint", "vjp", "jvp"))
        for name in ("vjp", "jvp") if linear else ("adjoint",):
            what = "None, A being linear" if linear else "None, A not being linear"
            wrong = self.functions[name]
            require(wrong is None, name, expected=what, got=type(wrong).__name__)
        slope, name = (adjoint, "adjoint") if linear else (vjp, "vjp")
        if slope is None:
            expected = "a function, since NumPy code has no gradient"
            require(not self.numpy, name, expected=expected, got=None)
            require(jvp is None, "vjp", expected="a function beside jvp", got=None)
            self._check_autograd(a, name)
        elif self.x is not None and a is not None:
            self._check_slopes(linear, slope, self.x, a)
        if linear:
            return LinearFunction(self.forward, adjoint, self.tolerance or 0.0, **settings)
        return Function(self.forward, vjp, self._push(), **settings)

    def _check_slopes(self, linear: bool, slope: Map, x: Tensor, a: Tensor) -> None:
        if linear:
            check_adjoint(self.forward, slope, x, a, self.given, self.tolerance)
        else:
            name = "vjp" if self.functions["jvp"] is None else "vjp, jvp"
            check_slope(name, (self._push(), slope), x, a, self.given)

    def _push(self) -> Map:
        return self.functions["jvp"] or partial(difference, self.forward, exact=self.numpy)

    def _decide(self, linear: bool | None) -> bool:
        if linear is None and self.x is not None and self.functions["adjoint"] is not None:
            expected = "a forward with A(c u + v) = c A(u) + A(v), as there is an adjoint"
            check_linear(self.forward, self.x, self.given, expected)
            return True
        if linear is None and self.x is not None:
            return is_linear(self.forward, self.x, self.given)
        if linear and self.x is not None:
            check_linear(self.forward, self.x, self.given)
        if linear is None:
            told = [self.functions[n] is not None for n in ("adjoint", "vjp")]
            expected = "True or False, where neither x_shape nor example is there to try it on"
            require(any(told), "linear", expected=expected, got=None)
            return told[0]
        return linear

    def _check_autograd(self, a: Tensor | None, name: str) -> None:
        """Check that autograd can follow the function."""
        if a is None or self.x is None:
            return
        try:
            transpose(self.forward, self.x, torch.ones_like(a), *self.given)
        except Exception as error:
            expected = "a function, since autograd cannot follow forward"
            got = f"None, and {type(error).__name__}: {error}"
            raise InvalidArgument(name, expected=expected, got=got) from error

    def _finder(self, a: Tensor | None) -> Callable[..., Shape]:
        if self.x is not None and a is not None and self.rule is None:
            return partial(fixed, tuple(self.x.shape[1:]), tuple(a.shape[1:]))
        back = self.functions["adjoint"]
        found = partial(_found, self.forward, back, self.tolerance, self.rule)
        return lru_cache(maxsize=64)(found)


def fixed(x_shape: Shape, only: Shape, y_shape: Shape, *place: object) -> Shape:
    """The shape of one x, known beforehand."""
    require(y_shape == only, "y", expected=f"shape (b, *{only})", got=f"(b, *{y_shape})")
    return x_shape


@torch.no_grad()
def _found(
    forward: Map,
    adjoint: Map | None,
    tolerance: float | None,
    rule: Callable[[Shape], Shape] | None,
    y_shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    given: tuple[Tensor, ...],
) -> Shape:
    """The shape of one x: by the rule, or that of A^T y, or that of y; A is tried on it."""
    y = drawn(torch.empty(_lanes(given), *y_shape, dtype=dtype, device=device))
    if rule is not None:
        shape = tuple(rule(y_shape))
    elif adjoint is not None:
        shape = tuple(call("adjoint", adjoint, y, *given).shape[1:])
    else:
        shape = y_shape
        made = tuple(call("forward", forward, y, *given).shape[1:])
        expected = "the shape of one x, or a function that finds it from that of y"
        got = f"None, and forward takes {shape} to {made}"
        require(made == shape, "x_shape", expected=expected, got=got)
    x = y.new_empty(len(y), *shape)
    check_shapes(forward, drawn(x), y_shape, given)
    if adjoint is not None:
        check_adjoint(forward, adjoint, x, y, given, tolerance)
    return shape


def _like(example: Tensor | None, parts: list[nn.Module], given: tuple[Tensor, ...]) -> Tensor:
    """A tensor of the dtype and device to try functions with."""
    inside = [t for part in parts for t in (*part.parameters(), *part.buffers())]
    known = [t for t in (example, *inside, *given) if t is not None and t.is_floating_point()]
    return known[0].detach() if known else torch.empty(0)


def _lanes(given: tuple[Tensor, ...]) -> int:
    """How many lanes a trial has: those that there are tensors for, or two."""
    sizes = {len(t) if t.ndim else 0 for t in given}
    expected = "tensors (b, ...) of one number of lanes"
    require(len(sizes) <= 1 and 0 not in sizes, "lanes", expected=expected, got=sorted(sizes))
    return sizes.pop() if sizes else 2

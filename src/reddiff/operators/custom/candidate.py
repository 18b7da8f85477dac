"""Validation of user functions, and the operator built from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.custom.functions import Function, LinearFunction, difference, transpose
from reddiff.operators.custom.gradients import Map
from reddiff.operators.custom.infer import fixed, found, lane_count, like_of
from reddiff.operators.custom.validation import (
    check_adjoint,
    check_forward,
    check_linear,
    check_slope,
    is_linear,
)
from reddiff.random import drawn


class Candidate:
    """User functions, with an x to validate them on if its shape is known."""

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
            expected = "a number between 0 and 1, together with an adjoint"
            require(good, "adjoint_tolerance", expected=expected, got=tolerance)
        b = lane_count(given)
        self.like = like_of(example, parts, given)
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
            fade = 0.9 ** (lane // len(example)).view(-1, *[1] * len(known))  # lanes differ
            self.x = example.detach()[lane % len(example)] * fade.to(example)
        elif isinstance(x_shape, Sequence):
            good = all(isinstance(n, int) and n > 0 for n in x_shape) and len(x_shape) > 0
            require(good, "x_shape", expected="positive integers", got=tuple(x_shape))
            self.x = drawn(self.like.new_empty(b, *x_shape))
        self.rule = x_shape if callable(x_shape) else None

    @torch.no_grad()
    def operator(self, linear: bool | None) -> Operator:
        """Validate the functions as far as possible, and build the operator."""
        a = None if self.x is None else check_forward(self.forward, self.x, self.given)
        linear = self._decide(linear)
        if linear and self.x is not None:  # the example may be all zeros
            check_forward(self.forward, drawn(self.x), self.given)
        settings = {"find": self._finder(a), "like": self.like, "given": self.given}
        settings["parts"] = self.parts
        adjoint, vjp, jvp = (self.functions[n] for n in ("adjoint", "vjp", "jvp"))
        for name in ("vjp", "jvp") if linear else ("adjoint",):
            what = "None, because A is linear" if linear else "None, because A is nonlinear"
            wrong = self.functions[name]
            require(wrong is None, name, expected=what, got=type(wrong).__name__)
        slope, name = (adjoint, "adjoint") if linear else (vjp, "vjp")
        if slope is None:
            expected = "a function, because NumPy code has no gradient"
            require(not self.numpy, name, expected=expected, got=None)
            require(jvp is None, "vjp", expected="a function, because jvp is given", got=None)
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
            expected = "a forward with A(c u + v) = c A(u) + A(v), because an adjoint is given"
            check_linear(self.forward, self.x, self.given, expected)
            return True
        if linear is None and self.x is not None:
            return is_linear(self.forward, self.x, self.given)
        if linear and self.x is not None:
            check_linear(self.forward, self.x, self.given)
        if linear is None:
            given = [self.functions[n] is not None for n in ("adjoint", "vjp")]
            expected = "True or False, because without x_shape or example it cannot be tested"
            require(any(given), "linear", expected=expected, got=None)
            return given[0]
        return linear

    def _check_autograd(self, a: Tensor | None, name: str) -> None:
        """Raise InvalidArgument unless autograd can differentiate `forward`."""
        if a is None or self.x is None:
            return
        try:
            transpose(self.forward, self.x, torch.ones_like(a), *self.given)
        except Exception as error:
            expected = "a function, because autograd cannot differentiate forward"
            got = f"None, and {type(error).__name__}: {error}"
            raise InvalidArgument(name, expected=expected, got=got) from error

    def _finder(self, a: Tensor | None) -> Callable[..., Shape]:
        if self.x is not None and a is not None and self.rule is None:
            return partial(fixed, tuple(self.x.shape[1:]), tuple(a.shape[1:]))
        back = self.functions["adjoint"]
        return lru_cache(maxsize=64)(partial(found, self.forward, back, self.tolerance, self.rule))

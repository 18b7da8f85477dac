"""Operators built from user functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.operators.base import Linearisation, Operator, Shape
from reddiff.operators.custom.gradients import Map, curve, linear
from reddiff.operators.linear import LinearOperator
from reddiff.random import drawn


class Own(Operator):
    """Base class of `Function` and `LinearFunction`: per-lane tensors, modules, shape of x.

    Arguments:
        find: (shape of one y, dtype, device, per-lane tensors) -> shape of one x.
        like: A tensor with the dtype and device used for the validation. Its dtype is taken as the
            precision of the functions, whatever the dtype of x.
        given: Per-lane tensors `(b, ...)`, passed to the functions after x.
        parts: The modules that the functions belong to; `to` moves them with the operator.
    """

    like: Tensor
    function: Map

    def __init__(
        self,
        find: Callable[[Shape, torch.dtype, torch.device, tuple[Tensor, ...]], Shape],
        like: Tensor,
        given: Sequence[Tensor] = (),
        parts: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.find, self.precision = find, like.dtype
        self.parts = nn.ModuleList(parts)
        self.register_buffer("like", like.new_empty(0), persistent=False)
        for i, tensor in enumerate(given):
            self.register_buffer(f"lane_{i}", tensor)
        self.batched = tuple(f"lane_{i}" for i in range(len(given)))

    def extra_repr(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        shapes = f", lanes={tuple(tuple(t.shape) for t in self.given)}" if self.given else ""
        return f"{name}{shapes}"

    @property
    def given(self) -> tuple[Tensor, ...]:
        """The per-lane tensors."""
        return tuple(self.get_buffer(name) for name in self.batched)

    def x_shape(self, y_shape: Shape) -> Shape:
        return self.find(tuple(y_shape), self.like.dtype, self.like.device, self.given)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Own:
        """The method of `nn.Module`, except that `.to(float64)` keeps complex buffers complex."""
        kept = [
            (module._buffers, name, value)
            for module in self.modules()
            for name, value in module._buffers.items()
            if value is not None and value.is_complex()
        ]
        for buffers, name, value in kept:
            buffers[name] = torch.view_as_real(value.resolve_conj())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for buffers, name, value in kept:
            parts = buffers[name]
            buffers[name] = value if parts is None else torch.view_as_complex(parts)
        return self


class Function(Own):
    """A nonlinear A(x) given by a function of tensors; created by `reddiff.operator`.

    Arguments:
        forward: (x, *given) -> A(x).
        vjp: (x, w, *given) -> J(x)^T w; None where autograd differentiates `forward`.
        jvp: (x, v, *given) -> J(x) v; by default central differences, if there is a `vjp`.
    """

    def __init__(
        self, forward: Map, vjp: Map | None = None, jvp: Map | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.function, self.pull = forward, vjp
        self.push = partial(difference, forward) if jvp is None else jvp

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        if self.pull is None:
            return self.function(x, *self.given)
        return curve(self.function, self.pull, self.push, x, *self.given)

    def linearise(self, x: Float[Tensor, "b *n"]) -> Linearisation:
        if self.pull is None:
            return super().linearise(x)
        given, slope = self.given, self.pull

        def push(v: Tensor) -> Tensor:
            return self.push(x, v, *given)

        def pull(w: Tensor) -> Tensor:
            return slope(x, w, *given)

        return Linearisation(self(x.detach()), push, pull)


class LinearFunction(Own, LinearOperator):
    """A linear A given by a function of tensors; created by `reddiff.operator`.

    Arguments:
        forward: (x, *given) -> A x.
        adjoint: (y, *given) -> A^T y; None where autograd differentiates `forward`.
        tolerance: The accepted error of `adjoint`, relative to ||A x|| ||y||.
    """

    def __init__(
        self, forward: Map, adjoint: Map | None = None, tolerance: float = 0.0, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.function, self.back = forward, adjoint
        self.adjoint_tolerance = tolerance

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        back = self._transposed if self.back is None else self.back
        return linear(self.function, back, x, *self.given)

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        back = self._transposed if self.back is None else self.back
        return linear(back, self.function, y, *self.given)

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """The entries whose row of A is not zero."""
        x = drawn(y.new_empty(len(y), *self.x_shape(tuple(y.shape[1:]))))
        return self(x) != 0

    def _transposed(self, y: Tensor, *given: Tensor) -> Tensor:
        x = y.new_zeros(len(y), *self.x_shape(tuple(y.shape[1:])))
        return transpose(self.function, x, y, *given)


def transpose(forward: Map, x: Tensor, y: Tensor, *given: Tensor) -> Tensor:
    """A^T y by autograd, at any x."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (out,) = torch.autograd.grad(forward(leaf, *given), leaf, y)
    return out


def difference(forward: Map, x: Tensor, v: Tensor, *given: Tensor, exact: bool = False) -> Tensor:
    """J(x) v by central differences, with one step size per lane; in float64 if `exact`."""
    dtype = torch.float64 if exact else x.dtype
    at, way = x.to(dtype), v.to(dtype)
    size = torch.linalg.vector_norm(way.flatten(1), dim=1)
    scale = torch.linalg.vector_norm(at.flatten(1), dim=1) + at[0].numel() ** 0.5
    h = torch.finfo(dtype).eps ** (1 / 3) * scale / torch.where(size > 0, size, 1)
    step = h.view(-1, *[1] * (x.ndim - 1)) * way
    ahead, behind = forward(at + step, *given), forward(at - step, *given)
    return ((ahead - behind) / (2 * h).view(-1, *[1] * (ahead.ndim - 1))).to(v.dtype)

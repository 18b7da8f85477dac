"""Autograd functions with derivatives supplied by the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Map = Callable[..., Tensor]  # takes x (and a direction), then the per-lane tensors


def linear(forward: Map, back: Map, x: Tensor, *given: Tensor) -> Tensor:
    """forward(x) for a linear function, whose gradient autograd computes with `back`."""
    out: Tensor = _Linear.apply(forward, back, x, *given)  # type: ignore[no-untyped-call]
    return out


def curve(forward: Map, pull: Map, push: Map, x: Tensor, *given: Tensor) -> Tensor:
    """forward(x), whose gradient autograd computes with `pull`, J^T w, and `push`, J v."""
    out: Tensor = _Curve.apply(  # type: ignore[no-untyped-call]
        forward, pull, push, x, *given
    )
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forward: Map, back: Map, x: Tensor, *given: Tensor) -> Tensor:
        ctx.maps, ctx.given = (forward, back), given
        out = forward(x, *given)
        return out.clone() if out is x else out

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        forward, back = ctx.maps
        return None, None, linear(back, forward, w, *ctx.given), *[None] * len(ctx.given)


class _Curve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forward: Map, pull: Map, push: Map, x: Tensor, *given: Tensor) -> Tensor:
        ctx.maps, ctx.given = (pull, push), given
        ctx.save_for_backward(x)
        return forward(x, *given)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        slope: Tensor = _Slope.apply(*ctx.maps, x, w, *ctx.given)  # type: ignore[no-untyped-call]
        return None, None, None, slope, *[None] * len(ctx.given)


class _Slope(torch.autograd.Function):
    """w -> J(x)^T w. It is linear in w, and its gradient with respect to w is J(x) v."""

    @staticmethod
    def forward(ctx: Any, pull: Map, push: Map, x: Tensor, w: Tensor, *given: Tensor) -> Tensor:
        ctx.push, ctx.given = push, given
        ctx.save_for_backward(x)
        return pull(x, w, *given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return None, None, None, ctx.push(x, v, *ctx.given), *[None] * len(ctx.given)

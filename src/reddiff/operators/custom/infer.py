"""Infers the shape of x, the dtype and the device that user functions need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.custom.gradients import Map
from reddiff.operators.custom.validation import call, check_adjoint
from reddiff.random import drawn


def fixed(x_shape: Shape, only: Shape, y_shape: Shape, *place: object) -> Shape:
    """The known shape of one x.

    Raises:
        InvalidArgument: If the shape of y is not `only`.
    """
    require(y_shape == only, "y", expected=f"shape (b, *{only})", got=f"(b, *{y_shape})")
    return x_shape


@torch.no_grad()
def found(
    forward: Map,
    adjoint: Map | None,
    tolerance: float | None,
    rule: Callable[[Shape], Shape] | None,
    y_shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    given: tuple[Tensor, ...],
) -> Shape:
    """The shape of one x: from `rule`, else of A^T y, else of y; validated by applying A.

    Raises:
        InvalidArgument: If A does not map this shape to that of y, or the adjoint is wrong.
    """
    y = drawn(torch.empty(lane_count(given), *y_shape, dtype=dtype, device=device))
    if rule is not None:
        shape = tuple(rule(y_shape))
    elif adjoint is not None:
        shape = tuple(call("adjoint", adjoint, y, *given).shape[1:])
    else:
        shape = y_shape
        made = tuple(call("forward", forward, y, *given).shape[1:])
        expected = "the shape of one x, or a function that computes it from that of y"
        got = f"None, and forward maps {shape} to {made}"
        require(made == shape, "x_shape", expected=expected, got=got)
    x = y.new_empty(len(y), *shape)
    made = tuple(call("forward", forward, drawn(x), *given).shape[1:])
    expected = f"shape (b, *{made}), the shape of A(x) for x of shape {shape}"
    require(made == y_shape, "y", expected=expected, got=f"(b, *{y_shape})")
    if adjoint is not None:
        check_adjoint(forward, adjoint, x, y, given, tolerance)
    return shape


def like_of(example: Tensor | None, parts: list[nn.Module], given: tuple[Tensor, ...]) -> Tensor:
    """A tensor with the dtype and device to validate with."""
    inside = [t for part in parts for t in (*part.parameters(), *part.buffers())]
    known = [t for t in (example, *inside, *given) if t is not None and t.is_floating_point()]
    return known[0].detach() if known else torch.empty(0)


def lane_count(given: tuple[Tensor, ...]) -> int:
    """The number of lanes to validate with: that of the per-lane tensors, or two."""
    sizes = {len(t) if t.ndim else 0 for t in given}
    expected = "tensors (b, ...) of equal length"
    require(len(sizes) <= 1 and 0 not in sizes, "lanes", expected=expected, got=sorted(sizes))
    return sizes.pop() if sizes else 2

"""Validation of the shapes of x, y and parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Shape


def empty_like_parameters(operator: nn.Module) -> Tensor:
    """A tensor with the dtype and device of the operator's buffers, or torch's defaults."""
    return next((t for t in operator.buffers() if t.is_floating_point()), torch.empty(0)).detach()


def check_y_shape(y_shape: Shape, ndim: int, form: str) -> None:
    """Raise InvalidArgument unless one y has `ndim` axes, described by `form`."""
    if len(y_shape) != ndim:
        raise InvalidArgument("y", expected=f"shape (b, {form})", got=f"(b, {_join(y_shape)})")


def enlarged(y_shape: Shape, factor: int) -> Shape:
    """(c, h factor, w factor) for y of shape (c, h, w); InvalidArgument for other shapes."""
    check_y_shape(y_shape, 3, "c, h, w")
    c, h, w = y_shape
    return c, h * factor, w * factor


def check_broadcast(name: str, shape: Shape, wanted: Shape) -> None:
    """Raise InvalidArgument unless a parameter of this shape broadcasts to the wanted one."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    fits = len(shape) <= len(wanted) and all(a in (1, b) for a, b in pairs)
    require(fits, name, expected=f"a shape that broadcasts to {wanted}", got=shape)


def _join(shape: Shape) -> str:
    return ", ".join(str(n) for n in shape)

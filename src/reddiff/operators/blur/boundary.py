"""Boundary conditions of a convolution: extension of an image, and the adjoint of that."""

from __future__ import annotations

from enum import Enum, auto

import torch
from torch import Tensor


class Boundary(Enum):
    """Boundary conditions: how an image with the row `a b c d` is extended beyond its edges.

    | member | extended row | scipy.ndimage | numpy.pad | torch pad |
    |---|---|---|---|---|
    | `CIRCULAR` | c d, a b c d, a b: the image is periodic | wrap | wrap | circular |
    | `REFLECT` | b a, a b c d, d c: the edge pixel is repeated | reflect | symmetric | none |
    | `MIRROR` | c b, a b c d, c b: the edge pixel is not repeated | mirror | reflect | reflect |
    | `REPLICATE` | a a, a b c d, d d: the edge pixel continues | nearest | edge | replicate |
    | `ZERO` | 0 0, a b c d, 0 0 | constant | constant | constant |
    """

    CIRCULAR = auto()
    REFLECT = auto()
    MIRROR = auto()
    REPLICATE = auto()
    ZERO = auto()


def extend(x: Tensor, radius: tuple[int, int], boundary: Boundary) -> Tensor:
    """Pad an image according to a boundary condition.

    Arguments:
        x: `(..., h, w)`.
        radius: The numbers of rows and columns to add on either side, less than h and w.
        boundary: The boundary condition.

    Returns:
        `(..., h + 2 radius[0], w + 2 radius[1])`.
    """
    return _extend(_extend(x, -2, radius[0], boundary), -1, radius[1], boundary)


def fold(p: Tensor, radius: tuple[int, int], boundary: Boundary) -> Tensor:
    """The adjoint of `extend`: values in the padding are added to the pixels they were copied from.

    Arguments:
        p: `(..., h + 2 radius[0], w + 2 radius[1])`.
        radius: The numbers of rows and columns that `extend` added on either side.
        boundary: The boundary condition.

    Returns:
        `(..., h, w)`.
    """
    return _fold(_fold(p, -1, radius[1], boundary), -2, radius[0], boundary)


def _extend(x: Tensor, axis: int, r: int, boundary: Boundary) -> Tensor:
    if r == 0:
        return x
    n = x.shape[axis]
    if boundary is Boundary.CIRCULAR:
        before, after = x.narrow(axis, n - r, r), x.narrow(axis, 0, r)
    elif boundary is Boundary.ZERO:
        before = after = torch.zeros_like(x.narrow(axis, 0, r))
    elif boundary is Boundary.REPLICATE:
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, n - 1, 1)
        before, after = first.repeat_interleave(r, axis), last.repeat_interleave(r, axis)
    else:
        skip = int(boundary is Boundary.MIRROR)
        before = x.narrow(axis, skip, r).flip(axis)
        after = x.narrow(axis, n - r - skip, r).flip(axis)
    return torch.cat([before, x, after], axis)


def _fold(p: Tensor, axis: int, r: int, boundary: Boundary) -> Tensor:
    if r == 0:
        return p
    n = p.shape[axis] - 2 * r
    before, core, after = p.split([r, n, r], axis)
    if boundary is Boundary.ZERO:
        return core
    out = core.clone()  # no scatter-add: fixed order of summation on any device
    if boundary is Boundary.CIRCULAR:
        out.narrow(axis, n - r, r).add_(before)
        out.narrow(axis, 0, r).add_(after)
    elif boundary is Boundary.REPLICATE:
        out.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))
        out.narrow(axis, n - 1, 1).add_(after.sum(axis, keepdim=True))
    else:
        skip = int(boundary is Boundary.MIRROR)
        out.narrow(axis, skip, r).add_(before.flip(axis))
        out.narrow(axis, n - r - skip, r).add_(after.flip(axis))
    return out

"""Matrix-free linear algebra, lane by lane."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import dot, lanes, norm
from reddiff.random import Keys

Map = Callable[[Tensor], Tensor]


def cg(
    matvec: Map, b: Float[Tensor, "b *n"], *, tol: float = 0.0, iterations: int = 100
) -> Float[Tensor, "b *n"]:
    r"""Solve :math:`M x = b` for a positive semi-definite M by conjugate gradients from zero.

    Each lane has coefficients of its own, and stands still once its residual is below
    `tol` times ||b||, or at the limit of its floating-point type.

    Arguments:
        matvec: v -> M v.
        b: The right-hand side.
        tol: The relative residual at which a lane is done.
        iterations: The most steps taken.

    References:
        | Methods of Conjugate Gradients for Solving Linear Systems (Hestenes & Stiefel, 1952)
    """
    tol = max(tol, 4 * torch.finfo(b.dtype).eps)
    x, r, p = torch.zeros_like(b), b, b
    rr = dot(r, r)
    goal = tol**2 * rr
    for _ in range(iterations):
        active = rr > goal
        if not active.any():
            break
        mp = matvec(p)
        curvature = dot(p, mp)
        active = active & (curvature > 0)
        step = torch.where(active, rr / torch.where(active, curvature, 1), 0)
        x = x + lanes(step, b) * p
        r = r - lanes(step, b) * mp
        new = torch.where(active, dot(r, r), 0)
        p = r + lanes(torch.where(active, new / torch.where(active, rr, 1), 0), b) * p
        rr = new
    return x


def power_iteration(matvec: Map, like: Float[Tensor, "b *n"], *, iterations: int = 100) -> Tensor:
    """The largest eigenvalue `(b,)` of a positive semi-definite M, from a fixed random start."""
    v = Keys(0, (0,) * len(like)).at(0).randn_like(like)
    size = norm(v)
    for _ in range(iterations):
        v = v / lanes(size.clamp(min=torch.finfo(like.dtype).tiny), v)
        v = matvec(v)
        size = norm(v)
    return size

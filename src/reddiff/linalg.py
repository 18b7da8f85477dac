"""Matrix-free linear algebra, independently for each lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.lanes import dot, norm, per_lane
from reddiff.random import Keys

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Solution:
    """The last iterate, and the lanes in which it reached the tolerance."""

    x: Float[Tensor, "b *n"]
    converged: Bool[Tensor, " b"]


def conjugate_gradients(
    matvec: Map,
    b: Float[Tensor, "b *n"],
    *,
    start: Float[Tensor, "b *n"] | None = None,
    tol: Tensor | float = 0.0,
    iterations: int = 100,
) -> Solution:
    r"""Solve :math:`M x = b` for a positive semi-definite M by conjugate gradients.

    Each lane has its own coefficients. It stops once its residual is at most `tol` times ||b||,
    or at the limit of the floating-point precision. Started at zero, the solution of a singular
    system is the one with the smallest norm.

    Arguments:
        matvec: v -> M v.
        b: The right-hand side.
        start: The initial x; zero by default, which saves one application of M.
        tol: The relative residual at which a lane stops: a number >= 0, or one per lane.
        iterations: The largest number of iterations.

    Returns:
        x, and whether the residual of each lane reached its tolerance.

    References:
        | Methods of Conjugate Gradients for Solving Linear Systems (Hestenes & Stiefel, 1952)
    """
    least = 4 * torch.finfo(b.dtype).eps
    goal = torch.as_tensor(tol, dtype=b.dtype, device=b.device).clamp(min=least) ** 2 * dot(b, b)
    x = torch.zeros_like(b) if start is None else start
    r = p = b if start is None else b - matvec(start)
    rr = dot(r, r)
    definite = torch.ones_like(rr, dtype=torch.bool)
    for _ in range(iterations):
        active = definite & (rr > goal)
        if not active.any():
            break
        mp = matvec(p)
        curvature = dot(p, mp)
        definite = ~active | (curvature > 0)  # otherwise p is in the null space
        active = active & definite
        step = torch.where(active, rr / torch.where(active, curvature, 1), 0)
        x = x + per_lane(step, b) * p
        r = r - per_lane(step, b) * mp
        new = torch.where(active, dot(r, r), rr)
        p = r + per_lane(torch.where(active, new / torch.where(active, rr, 1), 0), b) * p
        rr = new
    return Solution(x, rr <= goal)


def cg(
    matvec: Map, b: Float[Tensor, "b *n"], *, tol: float = 0.0, iterations: int = 100
) -> Float[Tensor, "b *n"]:
    """The x of `conjugate_gradients` started at zero, even if it has not converged."""
    return conjugate_gradients(matvec, b, tol=tol, iterations=iterations).x


def power_iteration(matvec: Map, like: Float[Tensor, "b *n"], *, iterations: int = 100) -> Tensor:
    """The largest eigenvalue of a positive semi-definite M, `(b,)`, approximated from below.

    Arguments:
        matvec: v -> M v.
        like: A tensor with the shape, dtype and device of v. The iteration starts at noise with a
            fixed seed.
        iterations: The number of iterations.
    """
    v = Keys(0, (0,) * len(like)).at(0).randn_like(like)
    size = norm(v)
    for _ in range(iterations):
        v = v / per_lane(size.clamp(min=torch.finfo(like.dtype).tiny), v)
        v = matvec(v)
        size = norm(v)
    return size

"""Arithmetic per lane. Axis 0 of every tensor counts independent problems and is never reduced."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def per_lane(value: Tensor | float, like: Tensor) -> Tensor:
    """Right-pad a scalar or per-lane vector with singleton axes, so that it broadcasts with `like`.

    Arguments:
        value: A number, a 0-d tensor, a vector `(b,)`, or a tensor with all axes of `like`.
        like: A tensor `(b, ...)` with the number of axes, dtype and device of the result.
    """
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if value.ndim in (0, like.ndim):
        return value
    return value.reshape(-1, *[1] * (like.ndim - 1))


def dot(u: Float[Tensor, "b *n"], v: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
    """The inner product of each lane."""
    return (u * v).flatten(1).sum(1)


def norm(u: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
    """The Euclidean norm of each lane."""
    return torch.linalg.vector_norm(u.flatten(1), dim=1)


def finite(u: Float[Tensor, "b *n"]) -> Bool[Tensor, " b"]:
    """Whether all entries of each lane are finite."""
    return torch.isfinite(u).flatten(1).all(1)


def pick(mask: Bool[Tensor, " b"], u: Tensor, v: Tensor | float) -> Tensor:
    """The lanes of `u` where the mask is true, and those of `v` elsewhere."""
    return torch.where(mask.reshape(-1, *[1] * (u.ndim - 1)), u, v)


def repeat(u: Tensor, times: int) -> Tensor:
    """Repeat each lane `times` times, with the copies of a lane next to each other."""
    return u if times == 1 else u.repeat_interleave(times, 0)

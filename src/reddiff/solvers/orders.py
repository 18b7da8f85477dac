"""The order in which RED-diff visits the levels of its schedule.

An order maps the step k `(b,)`, the number of levels K, and uniform random numbers u `(b, draws)`
to level indices `(b, draws)`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reddiff.errors import lookup

Order = Callable[[Tensor, int, Tensor], Tensor]

_GOLDEN = (5**0.5 - 1) / 2


def descending(k: Tensor, levels: int, u: Tensor) -> Tensor:
    """Noisiest first, as in the paper; all draws of a step are at the same level."""
    return k[:, None].expand_as(u)


def ascending(k: Tensor, levels: int, u: Tensor) -> Tensor:
    """Cleanest first; all draws of a step are at the same level."""
    return levels - 1 - descending(k, levels, u)


def random(k: Tensor, levels: int, u: Tensor) -> Tensor:
    """Each draw at its own level, uniformly distributed."""
    return _index(u, levels)


def stratified(k: Tensor, levels: int, u: Tensor) -> Tensor:
    """Stratified sampling of levels, shifted by the golden ratio from step to step.

    Each draw of a step is uniform within its stratum. Over a few steps all levels are visited
    almost equally often, which reduces the variance of the averaged gradient.
    """
    draws = u.shape[1]
    shift = (k.to(u.dtype) * _GOLDEN).frac()[:, None]
    strata = (torch.arange(draws, device=u.device) + u) / draws
    return _index((strata + shift).frac(), levels)


def _index(u: Tensor, levels: int) -> Tensor:
    return (u * levels).long().clamp(max=levels - 1)


ORDERS: dict[str, Order] = {f.__name__: f for f in (descending, ascending, random, stratified)}


def order(name: str) -> Order:
    """The order with this name, for command lines and configuration files.

    Raises:
        InvalidArgument: If there is no such order.
    """
    return lookup(ORDERS, "order", name)

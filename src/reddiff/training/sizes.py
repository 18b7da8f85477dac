"""The networks that `train` chooses from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A network.

    Arguments:
        channels: At each level, finest first.
        blocks: At each level.
        hours: The longest time of training, on a CPU, for which it is chosen.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    hours: float


SIZES = {
    "tiny": Size((16, 24), (1, 1), 0.05),
    "small": Size((32, 48, 64), (1, 1, 1), 0.5),
    "medium": Size((64, 96, 128), (2, 2, 1), 4.0),
    "large": Size((96, 160, 192, 160), (4, 3, 2, 1), float("inf")),
}


def size_for(hours: float | None) -> str:
    """The largest network that so many hours suffice for; a small one for steps."""
    if hours is None:
        return "small"
    return next(name for name, size in SIZES.items() if hours <= size.hours)

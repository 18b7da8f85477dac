"""The networks from which `train` chooses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The size of a network.

    Arguments:
        channels: The number of channels at each level, finest first.
        blocks: The number of residual blocks at each level.
        hours: The longest training time on a CPU, in hours, for which it is chosen.
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
    """The name of the network for a training time in hours; "small" for a budget in steps."""
    if hours is None:
        return "small"
    return next(name for name, size in SIZES.items() if hours <= size.hours)

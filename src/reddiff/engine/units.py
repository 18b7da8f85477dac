"""What the processes of a run are given, and what they find."""

from __future__ import annotations

from dataclasses import dataclass

from reddiff.engine.items import Item
from reddiff.engine.spool import Spot
from reddiff.images.settings import Settings


@dataclass(frozen=True)
class Setup:
    """What a process needs.

    Arguments:
        settings: Those of every picture.
        keep_diverged: As for `Job`.
        folder: That of the results.
        threads: Threads of torch.
        beside: Whether the records will lie beside the pictures, in files.
        lanes: The most pictures in a batch; see `Batches`.
        processes: That share the memory.
    """

    settings: Settings
    keep_diverged: bool
    folder: str
    threads: int
    beside: bool
    lanes: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Unit:
    """One picture to restore.

    Arguments:
        shard: The number of its shard.
        index: Its own.
        item: The picture.
        spool: The folder for its result.
    """

    shard: int
    index: int
    item: Item
    spool: str

    @property
    def size(self) -> int:
        """The bytes of its file, which stand for its pixels until it is read; 0 if not known."""
        return max(self.item.size, 0)


@dataclass(frozen=True)
class Found:
    """The outcome for a picture.

    Arguments:
        seconds: That it took.
        reason: Why it failed; empty if it did not.
        spot: The location of its result.
    """

    seconds: float
    reason: str = ""
    spot: Spot | None = None

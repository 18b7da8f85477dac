"""The progress of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """A picture or a shard is finished.

    Arguments:
        key: The picture that is done or failed; empty for a shard.
        reason: Why it failed; empty if it did not.
        seconds: The time it took.
        shard: The number of the shard.
        marker: The marker of the shard, if it was finished.
        fresh: Whether this run restored the picture; False for the result of an earlier run.
    """

    key: str
    reason: str
    seconds: float
    shard: int
    marker: dict[str, Any] | None = None
    fresh: bool = True


@dataclass(frozen=True)
class Totals:
    """The totals of a run.

    Arguments:
        done: The number of pictures with a result, including earlier runs.
        failed: The number of pictures that failed.
        earlier: The number of pictures in shards that an earlier run had finished.
    """

    done: int
    failed: int
    earlier: int


class Watcher:
    """Called during a run. A subclass overrides the methods that it needs."""

    def begin(self, total: int, earlier: int, notes: Sequence[str]) -> None:
        """Called before the first picture.

        Arguments:
            total: The number of pictures.
            earlier: The number of pictures in shards that an earlier run finished.
            notes: Notes, in sentences.
        """

    def __call__(self, event: Event) -> None:
        """Called when a picture or a shard is done."""

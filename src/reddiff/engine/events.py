"""What a run tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """What has just happened.

    Arguments:
        key: The picture that is done or failed; empty if a shard was finished.
        reason: Why it failed; empty if it did not.
        seconds: That it took.
        shard: The number of the shard.
        marker: That of the shard, if it was finished.
        fresh: Whether it took this time; not for a result that an earlier run left.
    """

    key: str
    reason: str
    seconds: float
    shard: int
    marker: dict[str, Any] | None = None
    fresh: bool = True


@dataclass(frozen=True)
class Totals:
    """How a run ended.

    Arguments:
        done: The pictures that have a result, earlier runs included.
        failed: Those that have none.
        earlier: The pictures of shards that an earlier run had finished.
    """

    done: int
    failed: int
    earlier: int


class Watcher:
    """Is told what happens. A subclass overrides the methods that it needs."""

    def begin(self, total: int, earlier: int, notes: Sequence[str]) -> None:
        """Called before the first picture.

        Arguments:
            total: The number of pictures.
            earlier: Those of shards that an earlier run finished.
            notes: What there is to say, in sentences.
        """

    def __call__(self, event: Event) -> None:
        """Called when a picture or a shard is done."""

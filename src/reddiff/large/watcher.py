"""What a run tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reddiff.large.grid import Box


class Watcher:
    """Is told how a run goes on. This one does nothing."""

    def begin(self, total: int, earlier: int, notes: tuple[str, ...]) -> None:
        """Called before the first window.

        Arguments:
            total: The number of windows.
            earlier: How many were finished before.
            notes: Notes, in sentences.
        """

    def __call__(self, box: Box) -> None:
        """Called after each window."""


@dataclass(frozen=True)
class LargeResult:
    """The outcome of `restore_large`.

    Arguments:
        record: What is written beside the result.
        earlier: How many windows were finished by earlier runs.
        fresh: Whether anything was left to do.
    """

    record: Mapping[str, Any]
    earlier: int
    fresh: bool = True

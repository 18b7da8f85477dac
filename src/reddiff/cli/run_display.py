"""The output of `reddiff run`: a bar on a terminal, a line per shard, and a summary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reddiff.cli import interruptions
from reddiff.cli.errors import INVALID_INPUT, SOME_FAILED
from reddiff.cli.folder_bar import new_bar
from reddiff.cli.terminal import counted, one_line, say
from reddiff.engine.events import Event, Totals, Watcher
from reddiff.run.progress_bar import duration

if TYPE_CHECKING:
    from rich.console import Console

    from reddiff.engine.status import Status

NAMED = 20  # failed pictures that are printed


class Display(Watcher):
    """Prints the events of a run.

    Arguments:
        console: Where the bar is shown; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.bar = new_bar(console)
        self.total, self.done, self.failed, self.earlier = 0, 0, 0, 0
        self.start, self.worked = time.monotonic(), 0

    def begin(self, total: int, earlier: int, notes: Sequence[str]) -> None:
        """Called before the first picture."""
        for note in notes:
            say(note, error=True)
        if earlier:
            say(f"{counted(earlier, 'picture')} of {total} finished before")
        self.total, self.done, self.earlier = total, earlier, earlier
        self.start = time.monotonic()
        interruptions.raise_from_now_on()
        self.task = self.bar.add_task("pictures", total=total, completed=earlier, more="")
        self.bar.start()

    def __call__(self, event: Event) -> None:
        if event.marker is not None:
            found = event.marker
            said = f"shard {event.shard}: {found['done']} done"
            said += f", {len(found['failed'])} failed" * bool(found["failed"])
            each = f", {found['seconds'] / max(1, found['done']):.2f} s a picture"
            say(said + each)
            return
        self.done += 1
        self.worked += event.fresh
        if event.reason:
            self.failed += 1
            if self.failed <= NAMED:
                say(f"reddiff: {one_line(f'{event.key}: {event.reason}')}", error=True)
        left = self.left()
        more = "" if left is None else f"{duration(left)} left"
        more += f", {self.failed} failed" * bool(self.failed)
        self.bar.update(self.task, completed=self.done, more=more)

    def left(self) -> float | None:
        """Seconds until the end; None until a picture is done."""
        if not self.worked:
            return None
        return (self.total - self.done) * (time.monotonic() - self.start) / self.worked

    def close(self) -> None:
        self.bar.stop()

    def end(self, totals: Totals, folder: Path) -> int:
        """Print how a run ended; the exit code."""
        pictures = totals.done + totals.failed
        say(f"{counted(pictures, 'picture')}: {totals.done} done, {totals.failed} failed")
        if not totals.failed:
            return 0
        say(f"The failed ones are in {folder / 'failed.jsonl'}", error=True)
        return SOME_FAILED if totals.done else INVALID_INPUT


def status_text(found: Status) -> str:
    """The state of a run, as lines of text."""
    made = found.done + found.failed
    each = f", {found.seconds / made:.2f} s a picture" if made else ""
    state = "a run is writing to it" if found.busy else "no run is writing to it"
    return "\n".join(
        [
            f"{found.finished} of {counted(found.shards, 'shard')} finished ({found.output}); "
            f"{state}",
            f"{counted(found.pictures, 'picture')}: {found.done} done, {found.failed} failed, "
            f"{found.waiting} waiting for their shard, {found.left} left",
            f"{found.bytes / 1e6:.1f} MB{each}",
        ]
    )

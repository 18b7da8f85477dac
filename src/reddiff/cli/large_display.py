"""What `reddiff large` prints: a bar on a terminal, notes, and a summary."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from reddiff.cli import interruptions
from reddiff.cli.folder_bar import new_bar
from reddiff.cli.terminal import counted, flat, say
from reddiff.large.watcher import LargeResult, Watcher
from reddiff.run.progress_bar import duration

if TYPE_CHECKING:
    from rich.console import Console

    from reddiff.large.grid import Box


class LargeDisplay(Watcher):
    """Shows the windows done and the time left.

    Arguments:
        console: Where the bar is shown; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.bar = new_bar(console)

    def begin(self, total: int, earlier: int, notes: tuple[str, ...]) -> None:
        """Called before the first window."""
        for note in notes:
            say(note, error=True)
        if earlier:
            say(f"{counted(earlier, 'window')} of {total} finished before")
        self.total, self.done, self.earlier = total, earlier, earlier
        self.start = time.monotonic()
        interruptions.raise_from_now_on()
        self.task = self.bar.add_task("windows", total=total, completed=earlier, more="")
        self.bar.start()

    def __call__(self, box: Box) -> None:
        self.done += 1
        each = (time.monotonic() - self.start) / (self.done - self.earlier)
        left = f"{duration((self.total - self.done) * each)} left"
        self.bar.update(self.task, completed=self.done, more=left)

    def close(self) -> None:
        self.bar.stop()

    def end(self, output: Path, result: LargeResult) -> None:
        """Print how a run ended."""
        found, name = result.record, flat(str(output))
        if not result.fresh:
            say(f"{name}: finished before")
            return
        how = "estimated" if found["noise_estimated"] else "given"
        plan = found["plan"]
        say(
            f"{name}: {flat(plan['task'])} by {flat(plan['solver'])}, "
            f"{counted(found['windows'], 'window')} of {plan['window']} with an overlap of "
            f"{plan['overlap']}, {found['seconds']:.1f} s; noise {found['noise']:.4f} ({how})"
        )
        if found["missing"]:
            say(f"  {found['missing']:.2%} of the values are missing, and stay so")

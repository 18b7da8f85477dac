"""A progress bar over many pictures, with the steps of the current one below it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reddiff.hooks import Hook, Progress
from reddiff.images.reports import Outcome, Row
from reddiff.run.progress_bar import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress


def new_bar(console: Console | None = None) -> RichProgress:
    """A progress bar with a field `more`. It is shown on a terminal only, and vanishes at the end.

    Arguments:
        console: Where to show it; stderr by default.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True) if console is None else console
    return RichProgress(
        TextColumn("{task.description}", markup=False),  # names may hold braces and brackets
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[more]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_interactive,
        redirect_stdout=sys.stdout.isatty(),  # a pipe is given its lines as they are
    )


class FolderBar:
    """Shows how many pictures are done, how long the rest will take, and the current picture.

    It is shown on a terminal only, and vanishes at the end.

    Arguments:
        total: The number of pictures; one picture has no bar of its own.
        console: Where to show it; stderr by default.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total, self.done, self.timed, self.seconds = total, 0, 0, 0.0
        self.bar = new_bar(console)
        self.shown = not self.bar.disable
        self.all = self.bar.add_task("pictures", total=total, more="", visible=total > 1)
        self.one = self.bar.add_task("", total=None, more="", visible=False)
        self.bar.start()

    def begin(self, label: str) -> Hook:
        """The hook of the next picture."""
        return _Steps(self, label)

    def end(self, row: Row) -> None:
        """Count a picture."""
        self.done += 1
        if row.outcome is Outcome.DONE:
            self.timed += 1
            self.seconds += row.seconds
        left = self.left()
        more = "" if left is None else f"{duration(left)} left"
        self.bar.update(self.all, completed=self.done, more=more)
        self.bar.update(self.one, visible=False)

    def left(self) -> float | None:
        """Expected seconds left if no more pictures are skipped; None until one is done."""
        if not self.timed:
            return None
        return (self.total - self.done) * self.seconds / self.timed

    def close(self) -> None:
        self.bar.stop()


class _Steps(Hook):
    """Shows the steps of one picture."""

    def __init__(self, bar: FolderBar, label: str) -> None:
        self.bar, self.label = bar, label

    def __call__(self, progress: Progress) -> None:
        if not self.bar.shown:
            return
        text = f"residual {float(progress.residual.mean()):.4g}"
        done, total = progress.step, progress.steps
        self.bar.bar.update(
            self.bar.one,
            description=self.label,
            completed=done,
            total=total,
            more=text,
            visible=True,
        )

"""A progress bar on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from reddiff.hooks import Hook, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


class ProgressBar(Hook):
    """A progress bar with evaluations per second, remaining time and the residual.

    Arguments:
        label: The text before the bar.
        transient: Whether the bar disappears at the end.
        announce: Whether to print the expected cost of the run above the bar, after its first step.
        residual: Whether to show the residual, which needs one evaluation of A per step.
    """

    def __init__(
        self,
        label: str = "solve",
        *,
        transient: bool = False,
        announce: bool = False,
        residual: bool = True,
    ) -> None:
        self.label, self.transient = label, transient
        self.announce, self.residual = announce, residual
        self._bar: RichProgress | None = None

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        if self._bar is None:
            self._bar = self._open(progress.steps)
            if self.announce:
                self._bar.console.print(cost(progress), highlight=False)
        text = f"residual {float(progress.residual.mean()):.4g}" if self.residual else ""
        task = self._bar.tasks[0]
        speed = progress.evaluations / task.elapsed if task.elapsed else 0.0
        self._bar.update(task.id, completed=progress.step, residual=text, speed=f"{speed:.1f}")
        return None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open(self, steps: int) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        bar = Progress(
            TextColumn("{task.description}", markup=False),  # names can contain brackets
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[speed]} evaluations/s"),
            TextColumn("{task.fields[residual]}"),
            TimeRemainingColumn(),
            console=console,
            transient=self.transient,
            disable=self.transient and not console.is_interactive,  # would leave an empty line
        )
        bar.add_task(self.label, total=steps, residual="", speed="0")
        bar.start()
        return bar


def cost(progress: Progress) -> str:
    """The expected cost of a run, extrapolated from its steps so far."""
    runs, part = len(progress.alive), progress.steps / progress.step
    each, vjps = (round(n * part) for n in (progress.evaluations, progress.vjps))
    backward = f" and {vjps} backward passes" if vjps else ""
    total = f", {each * runs} evaluations in all" if runs > 1 else ""
    what = f"{each} network evaluations{backward} for each of {runs} runs"
    return f"{progress.steps} steps: {what}{total}"


def duration(seconds: float) -> str:
    """A duration as text, such as 40 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

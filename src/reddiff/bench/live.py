"""The progress of a benchmark: a live table on a terminal, otherwise a line per job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean
from types import TracebackType
from typing import TYPE_CHECKING

from reddiff.bench.estimates import Estimates
from reddiff.bench.planning import Job
from reddiff.bench.rows import Result
from reddiff.run.progress_bar import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SHOWN = {"psnr": ".2f", "ssim": ".3f", "lpips": ".3f", "residual": ".2f", "exact_rmse": ".4f"}


class LiveTable:
    """The results so far, and the expected time left.

    Arguments:
        console: The console to print to.
        jobs: All jobs of the run.
        estimates: Estimates of their cost.
    """

    def __init__(self, console: Console, jobs: Sequence[Job], estimates: Estimates) -> None:
        from rich.live import Live

        self.console, self.estimates = console, estimates
        self.open = dict.fromkeys(jobs)
        self.total = dict.fromkeys((job.solver for job in jobs), 0)
        for job in jobs:
            self.total[job.solver] += len(job.images)
        self.rows: dict[str, list[Result]] = {label: [] for label in self.total}
        self.start = time.monotonic()
        self.worked = 0.0
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            self.live.start()
            self.live.update(self._table(), refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def __call__(self, job: Job, found: Sequence[Result]) -> None:
        """Add a finished job."""
        self.open.pop(job, None)
        self.rows[job.solver] += found
        seconds = sum(row.seconds for row in found)
        self.worked += seconds
        self.estimates.learn(job.solver, self.estimates.work(job), seconds)
        if self.console.is_terminal:
            self.live.update(self._table(), refresh=True)
        else:
            line = f"{job.cell.prior}, {job.cell.task} at {job.cell.noise:g}, {job.solver}: "
            self.console.print(line + _summary(found) + self._left(), markup=False, soft_wrap=True)

    def left(self) -> float | None:
        """Expected seconds until all jobs are done; None if unknown."""
        expected = [self.estimates.expected(job) for job in self.open]
        if any(e is None for e in expected):
            return None
        elapsed = time.monotonic() - self.start
        speedup = self.worked / elapsed if self.worked and elapsed > 0 else 1.0
        return sum(e or 0.0 for e in expected) / max(speedup, 0.1)

    def _left(self) -> str:
        left = self.left()
        return "" if left is None else f"; {duration(left)} left"

    def _table(self) -> RenderableType:
        from rich.table import Table

        every = [row for rows in self.rows.values() for row in rows]
        metrics = [m for m in SHOWN if any(m in row.metrics for row in every)]
        done = sum(map(len, self.rows.values()))
        title = f"{done} of {sum(self.total.values())} images{self._left()}"
        table = Table("solver", "images", *metrics, "s an image", title=title)
        for label, rows in self.rows.items():
            good = [row for row in rows if row.status == "ok"]
            cells = [_mean(good, metric) for metric in metrics]
            seconds = f"{fmean(row.seconds for row in good):.2f}" if good else ""
            bad = len(rows) - len(good)
            images = f"{len(rows)}/{self.total[label]}" + f", {bad} without result" * (bad > 0)
            table.add_row(label, images, *cells, seconds)
        return table


def _mean(rows: Sequence[Result], metric: str) -> str:
    values = [row.metrics[metric] for row in rows if metric in row.metrics]
    return f"{fmean(values):{SHOWN[metric]}}" if values else ""


def _summary(found: Sequence[Result]) -> str:
    """The results of a job in a line."""
    good = [row for row in found if row.status == "ok"]
    parts = [f"{len(found)} image{'s' * (len(found) != 1)}"]
    parts += [f"{m} {mean}" for m in SHOWN if (mean := _mean(good, m))]
    parts += [f"{fmean(row.seconds for row in good):.2f} s an image"] if good else []
    bad = [row for row in found if row.status != "ok"]
    parts += [f"{len(bad)} {bad[0].status} ({bad[0].error})"] if bad else []
    return ", ".join(parts)

"""Tables of a summary, for any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reddiff.bench.measures import measure
from reddiff.bench.ranking import Entry
from reddiff.bench.summary import Cell, Summary

Rows = Literal["solver", "task"]


@dataclass(frozen=True)
class Grid:
    """A table of one prior and noise level.

    Arguments:
        prior, noise: The prior and noise level.
        metrics: The metrics in each cell, in order.
        corner: The meaning of the rows.
        columns: The names of the columns.
        lines: The name and the cells of each row; a cell has an entry for each metric, or None.
        measured: The largest number of images of a task.
    """

    prior: str
    noise: float
    metrics: tuple[str, ...]
    corner: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[Entry | None, ...], ...]], ...]
    measured: int

    @property
    def title(self) -> str:
        """The title of the table."""
        shown = " / ".join(measure(name).title for name in self.metrics)
        return f"{shown}, prior {self.prior}, noise {self.noise:g}"

    @property
    def entries(self) -> list[Entry]:
        """All entries of the table."""
        return [e for _, cells in self.lines for cell in cells for e in cell if e is not None]

    @property
    def images(self) -> str:
        """The number of images in the means, and the total number if a solver lacks some."""
        counts = sorted({len(e.images) for e in self.entries if e.compared}) or [0]
        text = " to ".join(f"{n}" for n in dict.fromkeys((counts[0], counts[-1])))
        return text if counts[0] == self.measured else f"{text} of {self.measured}"


def make_grids(summary: Summary, metrics: Sequence[str], rows: Rows = "solver") -> list[Grid]:
    """A table for each prior and noise level, with solvers or tasks as rows.

    Arguments:
        summary: The results.
        metrics: The metrics in each cell.
        rows: Whether solvers or tasks are the rows; the others are the columns.
    """
    made = []
    for prior, noise in dict.fromkeys((cell.prior, cell.noise) for cell in summary.cells):
        tasks = [c.task for c in summary.cells if (c.prior, c.noise) == (prior, noise)]
        cells = {
            (solver, task): tuple(
                summary.get(Cell(prior, task, noise), solver, metric) for metric in metrics
            )
            for solver in summary.solvers
            for task in tasks
        }
        solvers = [s for s in summary.solvers if any(any(cells[s, t]) for t in tasks)]
        if rows == "solver":
            lines = [(s, tuple(cells[s, t] for t in tasks)) for s in solvers]
            columns = tasks
        else:
            lines = [(t, tuple(cells[s, t] for s in solvers)) for t in tasks]
            columns = solvers
        count = max(summary.images[Cell(prior, task, noise)] for task in tasks)
        if solvers:
            made.append(
                Grid(prior, noise, tuple(metrics), rows, tuple(columns), tuple(lines), count)
            )
    return made

"""Summarize results over images: means with intervals, ranks, and differences of solvers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reddiff.bench.intervals import Interval, interval
from reddiff.bench.measures import COSTS, MEASURES, measure
from reddiff.bench.ranking import Entry, compared

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """A prior, task and noise level for which solvers are compared."""

    prior: str
    task: str
    noise: float


@dataclass(frozen=True)
class Summary:
    """The entries of a results file.

    Arguments:
        cells, solvers, metrics: In the order of the rows, or of the spec.
        entries: The entries, by cell, solver and metric.
        images: The number of images of each cell.
        failures: Results that are not ok, by cell, solver and status.
    """

    cells: tuple[Cell, ...]
    solvers: tuple[str, ...]
    metrics: tuple[str, ...]
    entries: Mapping[tuple[Cell, str, str], Entry]
    images: Mapping[Cell, int]
    failures: Mapping[tuple[Cell, str], Mapping[str, int]] = field(default_factory=dict)

    def get(self, cell: Cell, solver: str, metric: str) -> Entry | None:
        """The entry, if there is one."""
        return self.entries.get((cell, solver, metric))

    def difference(self, cell: Cell, metric: str, solver: str, to: str) -> Difference | None:
        """The paired difference of two solvers over their common images."""
        one, other = self.get(cell, solver, metric), self.get(cell, to, metric)
        both = [] if one is None or other is None else [k for k in one.values if k in other.values]
        if one is None or other is None or not both:
            return None
        by = measure(metric)
        gaps = [one.values[k] - other.values[k] for k in both]
        losses = [(by.loss(one.values[k]), by.loss(other.values[k])) for k in both]
        wins = sum(a < b for a, b in losses)
        return Difference(interval(gaps), len(both), wins)


@dataclass(frozen=True)
class Difference:
    """A paired difference of two solvers.

    Arguments:
        mean: The mean of the differences with its interval.
        images: The number of common images.
        wins: The number of images on which the first solver is better.
    """

    mean: Interval
    images: int
    wins: int


def summarize(
    rows: Iterable[Row],
    *,
    solvers: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    unranked: Collection[str] = (),
) -> Summary:
    """Means with intervals, ranks, and differences to the best solver, for every cell.

    Solvers are compared on the images for which all of them have a value. A solver with fewer than
    half of the images of its cell is not ranked: its mean is over its own images.

    Arguments:
        rows: The rows of `Results.rows`, one for each image and solver.
        solvers: The solvers to show, in order; by default all, in the order of the rows.
        metrics: The metrics to compute, in order; by default all, including costs.
        unranked: Solvers without a rank, because they were selected with the truth.
    """
    values: dict[tuple[Cell, str], dict[str, dict[str, float]]] = {}
    images: dict[Cell, dict[str, None]] = {}
    failures: dict[tuple[Cell, str], Counter[str]] = {}
    found: dict[str, None] = {}
    for row in rows:
        if solvers and row["solver"] not in solvers:
            continue
        cell = Cell(row["prior"], row["task"], row["noise"])
        key = cell, row["solver"]
        images.setdefault(cell, {})[row["image"]] = None
        by_metric = values.setdefault(key, {})
        if row["status"] != "ok":
            failures.setdefault(key, Counter())[row["status"]] += 1
            continue
        for name, value in _measured(row).items():
            found[name] = None
            by_metric.setdefault(name, {})[row["image"]] = value
    names = in_order(found) if metrics is None else tuple(m for m in metrics if m in found)
    labels = tuple(dict.fromkeys(solver for _, solver in values))
    shown = tuple(s for s in solvers if s in labels) or labels
    entries: dict[tuple[Cell, str, str], Entry] = {}
    for cell in images:
        for metric in names:
            each = {s: v for s in shown if (v := values.get((cell, s), {}).get(metric))}
            made = compared(each, len(images[cell]), metric, unranked)
            entries |= {(cell, s, metric): entry for s, entry in made.items()}
    counts = {cell: len(some) for cell, some in images.items()}
    return Summary(tuple(images), shown, names, entries, counts, failures)


def in_order(metrics: Iterable[str]) -> tuple[str, ...]:
    """Metrics in the order of `MEASURES`, followed by all others."""
    found = list(metrics)
    return (*(m for m in MEASURES if m in found), *sorted(m for m in found if m not in MEASURES))


def _measured(row: Row) -> dict[str, float]:
    """The numbers of a row, without NaN and without costs that are unknown or always 0."""
    known = {k: float(v) for k, v in row["metrics"].items() if not math.isnan(v)}
    if row["evaluations"]:
        known |= {name: float(row[name]) for name in COSTS if row[name] is not None}
    return known

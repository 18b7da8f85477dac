"""Estimates of the time of jobs, from finished jobs, from rows, or from a timed evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reddiff.bench.context import Context
from reddiff.bench.planning import Cost, Job, speed
from reddiff.bench.summary import Cell

BACKWARD = 2.0  # assumed cost of a backward pass in evaluations, until it is timed

Costs = Mapping[tuple[Cell, str], Cost | str]


class Estimates:
    """Seconds per unit of work of every solver; a unit is one evaluation of the network.

    Arguments:
        costs: The cost of an image.
    """

    def __init__(self, costs: Costs) -> None:
        self.costs, self.backward = costs, BACKWARD
        self.seconds: dict[str, float] = {}
        self.units: dict[str, float] = {}
        self.basis = "the results in the file"

    def time(self, context: Context) -> None:
        """Time an evaluation of each prior, with a backward pass if one is needed.

        The estimate is then the same for all solvers, that of the slowest prior.
        """
        pulled = any(isinstance(c, Cost) and c.vjps for c in self.costs.values())
        forward = max(speed(context, prior, vjp=False) for prior in context.spec.priors)
        self.basis = f"an evaluation of {forward:.3f} s an image"
        self.learn("", 1.0, forward)
        if pulled:
            both = max(speed(context, prior, vjp=True) for prior in context.spec.priors)
            self.backward = max(0.0, both / forward - 1)
            self.basis += f", a backward pass of {both - forward:.3f} s"

    def work(self, job: Job) -> float:
        """The units of work of a job."""
        cost = self.costs.get((job.cell, job.solver))
        if not isinstance(cost, Cost):
            return 0.0
        return len(job.images) * (cost.evaluations + self.backward * cost.vjps)

    def learn(self, solver: str, units: float, seconds: float) -> None:
        """Add the time that some work of a solver took."""
        self.seconds[solver] = self.seconds.get(solver, 0.0) + seconds
        self.units[solver] = self.units.get(solver, 0.0) + units

    def learn_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the times in the rows of a file."""
        for row in rows:
            units = row["evaluations"] + self.backward * row["vjps"]
            self.learn(row["solver"], units, row["seconds"])

    def expected(self, job: Job) -> float | None:
        """Expected seconds of a job; None if nothing is known yet."""
        work, solver = self.work(job), job.solver
        if not self.units.get(solver):
            total = sum(self.units.values())
            return work * sum(self.seconds.values()) / total if total else None
        return work * self.seconds[solver] / self.units[solver]

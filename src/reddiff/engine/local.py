"""Processes of this machine, or this process alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from reddiff.engine.driver import Distributor, Work
from reddiff.engine.items import TargetError
from reddiff.engine.shard_work import ShardWork
from reddiff.engine.units import Found, Setup, Unit
from reddiff.engine.worker import Worker, serve
from reddiff.images.batching import Batches
from reddiff.processes import Died, run_jobs

Units = tuple[Unit, ...]


def local_processes(workers: int) -> Distributor:
    """Processes of this machine.

    Arguments:
        workers: Their number; 0 to do all in this one.
    """

    def distribute(work: Work) -> Iterator[dict[str, Any]]:
        """Restore pictures as processes are free, and finish shards."""
        yield from _Local(work).run(min(workers, work.pending))

    return distribute


class _Local:
    """The shards that are being worked on."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.open: dict[int, ShardWork] = {}
        self.finished: list[dict[str, Any]] = []

    def run(self, workers: int) -> Iterator[dict[str, Any]]:
        setup = self.work.setup
        # few, so that no process waits long for another
        units = self._units(max(1, self.work.pending // (4 * max(1, workers))))
        pool = run_jobs(serve, setup, units, workers, _one_by_one) if workers else None
        for some, found in _here(setup, units) if pool is None else pool:
            for unit, outcome in zip(some, _each(some, found), strict=True):
                self._take(unit, outcome)
            yield from self._taken()
        yield from self._taken()

    def _taken(self) -> Iterator[dict[str, Any]]:
        """The markers of the shards that were finished."""
        while self.finished:
            yield self.finished.pop(0)

    def _units(self, most: int) -> Iterator[Units]:
        """The pictures that have no result yet, a few at a time."""
        work, batches = self.work, Batches(self.work.setup.lanes)
        for number in work.missing:
            rows = work.plan.rows(number)
            items = work.source.items[rows.start : rows.stop]
            shard = ShardWork(work.target, work.plan, number, items)
            for event in shard.earlier:
                work.tell(event)
            self.open[number] = shard
            self._finish(number)
            for some in batches.near(shard.todo, lambda unit: unit.size, most):
                yield tuple(some)

    def _take(self, unit: Unit, found: Found) -> None:
        self.work.tell(self.open[unit.shard].take(unit, found))
        self._finish(unit.shard)

    def _finish(self, number: int) -> None:
        if self.open[number].done:
            self.finished.append(self.open.pop(number).finish())


def _one_by_one(units: Units) -> list[Units]:
    return [(unit,) for unit in units]


def _each(units: Units, found: Sequence[Found] | Died) -> Sequence[Found]:
    """The outcome for each picture."""
    return [Found(0.0, found.sentence)] * len(units) if isinstance(found, Died) else found


def _here(setup: Setup, units: Iterator[Units]) -> Iterator[tuple[Units, list[Found]]]:
    """Restore the pictures in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(setup.threads)
    try:
        worker = Worker(setup)
        for some in units:
            found = worker(some)
            if isinstance(found, TargetError):
                raise found
            yield some, found
    finally:
        torch.set_num_threads(threads)

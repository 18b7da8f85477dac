"""Run a plan: give pictures to processes, finish shards, and go on where an earlier run ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import torch

from reddiff.engine.events import Event, Totals, Watcher
from reddiff.engine.failures import write_failed
from reddiff.engine.items import Source, TargetError, unwritten
from reddiff.engine.modes import Mode, Output
from reddiff.engine.plan import Plan
from reddiff.engine.shards import commit, spool_folder
from reddiff.engine.spool import read_spooled, spool_path
from reddiff.engine.target import Target
from reddiff.engine.units import Found, Setup, Unit
from reddiff.engine.worker import Worker, serve
from reddiff.engine.writers import Shard
from reddiff.errors import InvalidArgument
from reddiff.images.batching import Batches
from reddiff.images.jobs import Job
from reddiff.processes import Died, run_jobs

Units = tuple[Unit, ...]


def prepare(
    target: Target, plan: Plan, source: Source, *, mode: Mode, new_run: bool, retry: bool
) -> list[str]:
    """Compare a plan with that of the earlier run in a target, whose lock is held; returns notes.

    Arguments:
        target: The target.
        plan, source: What to do.
        mode: Whether to remove the results of the earlier run.
        new_run: Whether to set them aside.
        retry: Restore shards with failed pictures again.

    Raises:
        InvalidArgument: If the earlier run had another plan; names what differs.
    """
    old = None if mode is Mode.OVERWRITE or new_run else target.plan()
    notes = []
    if mode is Mode.OVERWRITE or new_run:
        place = target.clear(keep=new_run)
        notes += [f"The earlier run is now in {place}."] if place is not None else []
    elif old is not None and old != plan:
        found = plan.differences(old)
        if (old.source, old.count) != (plan.source, plan.count):
            found.append(f"source ({target.source_changes(source)})")
        expected = f"the plan that {target.folder} was begun with (--new-run begins another)"
        raise InvalidArgument("plan", expected=expected, got=f"other {', '.join(found)}")
    if old is None:
        target.begin(plan, source)
    elif retry:
        for marker in target.markers(plan):
            if marker["failed"]:
                target.reopen(marker["shard"])
    return notes


def run_plan(
    target: Target,
    plan: Plan,
    job: Job,
    source: Source,
    *,
    workers: int,
    watcher: Watcher,
    lanes: int = 1,
    notes: Sequence[str] = (),
) -> Totals:
    """Do what is missing of a plan that `prepare` accepted.

    Arguments:
        target: The target, whose lock is held.
        plan: The plan.
        job: The settings of every picture.
        source: The pictures.
        workers: The number of processes; 0 to do all in this one.
        watcher: Is told what happens.
        lanes: The most pictures in a batch; see `Batches`.
        notes: What it is told first.

    Raises:
        PictureError: If the target cannot be written to; what is finished stays.
        WorkerError: If processes die before they begin.
    """
    beside = plan.output == Output.FILES
    shards = range(plan.shards)
    missing = [number for number in shards if target.marker(number, plan) is None]
    pending = sum(len(plan.rows(number)) for number in missing)
    watcher.begin(plan.count, plan.count - pending, notes)
    workers = min(workers, pending)
    folder, processes = str(target.folder), max(1, workers)
    setup = Setup(job.settings, job.keep_diverged, folder, plan.threads, beside, lanes, processes)
    work = _Work(target, plan, source, watcher)
    if missing:
        few = max(1, pending // (4 * processes))  # so that no process waits long for another
        units = work.units(missing, Batches(lanes), few)
        local = run_jobs(serve, setup, units, workers, _one_by_one) if workers else None
        for some, found in _here(setup, units) if local is None else local:
            each = [found] * len(some) if isinstance(found, Died) else found
            for unit, outcome in zip(some, each, strict=True):
                work.take(unit, outcome)
    failed = write_failed(target, plan)
    with suppress(OSError):
        (target.state / "spool" / plan.id).rmdir()
        (target.state / "spool").rmdir()
    return Totals(plan.count - failed, failed, plan.count - pending)


def _one_by_one(units: Units) -> list[Units]:
    return [(unit,) for unit in units]


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


class _Work:
    """The shards that are being worked on."""

    def __init__(self, target: Target, plan: Plan, source: Source, watcher: Watcher) -> None:
        self.target, self.plan, self.source, self.tell = target, plan, source, watcher
        self.open: dict[int, Shard] = {}

    def units(self, missing: list[int], batches: Batches, most: int) -> Iterator[Units]:
        """The pictures that have no result yet, a few at a time."""
        for number in missing:
            folder = spool_folder(self.target, self.plan, number)
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritten(folder, error) from error
            rows = self.plan.rows(number)
            todo = []
            for index in rows:
                kept = read_spooled(spool_path(folder, index))
                if kept is None:
                    todo.append(index)
                else:
                    self.tell(Event(kept.row["key"], "", 0.0, number, fresh=False))
            self.open[number] = Shard(number, rows, len(todo))
            self._finish(number)
            items = self.source.items
            left = (Unit(number, index, items[index], str(folder)) for index in todo)
            for some in batches.near(left, lambda unit: max(unit.item.size, 0), most):
                yield tuple(some)

    def take(self, unit: Unit, found: Found | Died) -> None:
        """Take down the outcome for a picture."""
        shard = self.open[unit.shard]
        seconds = 0.0 if isinstance(found, Died) else found.seconds
        reason = found.sentence if isinstance(found, Died) else found.reason
        if reason:
            shard.failed[unit.index] = reason
        shard.left -= 1
        self.tell(Event(unit.item.key, reason, seconds, unit.shard))
        self._finish(unit.shard)

    def _finish(self, number: int) -> None:
        if self.open[number].left == 0:
            marker = commit(self.target, self.plan, self.open.pop(number), self.source.items)
            self.tell(Event("", "", marker["seconds"], number, marker))

"""Run a plan: distribute pictures to processes, finish shards, and resume an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reddiff.engine.events import Event, Totals, Watcher
from reddiff.engine.failures import write_failed
from reddiff.engine.items import Source
from reddiff.engine.modes import Mode, Output
from reddiff.engine.plan import Plan
from reddiff.engine.target import Target
from reddiff.engine.units import Setup
from reddiff.errors import InvalidArgument
from reddiff.images.jobs import Job


def prepare(
    target: Target, plan: Plan, source: Source, *, mode: Mode, new_run: bool, retry: bool
) -> list[str]:
    """Compare a plan with that of the earlier run in a target; returns notes.

    Arguments:
        target: The target, whose lock is held.
        plan: The plan.
        source: The pictures.
        mode: Whether to remove the results of the earlier run.
        new_run: Whether to move the results of the earlier run to another folder.
        retry: Repeat shards with failed pictures.

    Raises:
        InvalidArgument: If the earlier run had another plan. The message names the differences.
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
        expected = f"the plan that {target.folder} was started with (--new-run starts another run)"
        raise InvalidArgument("plan", expected=expected, got=f"other {', '.join(found)}")
    if old is None:
        target.begin(plan, source)
    elif retry:
        for marker in target.markers(plan):
            if marker["failed"]:
                target.reopen(marker["shard"])
    return notes


@dataclass(frozen=True)
class Work:
    """What is missing of a plan.

    Arguments:
        target, plan, source: The run.
        missing: The numbers of the shards that are not finished.
        setup: What processes need.
        tell: Is told of every picture.
    """

    target: Target
    plan: Plan
    source: Source
    missing: Sequence[int]
    setup: Setup
    tell: Callable[[Event], None]

    @property
    def pending(self) -> int:
        """The pictures of these shards."""
        return sum(len(self.plan.rows(number)) for number in self.missing)


Distributor = Callable[[Work], Iterator[dict[str, Any]]]  # yields the marker of each shard


def run_plan(
    target: Target,
    plan: Plan,
    job: Job,
    source: Source,
    *,
    distributor: Distributor,
    watcher: Watcher,
    processes: int = 1,
    lanes: int = 1,
    notes: Sequence[str] = (),
) -> Totals:
    """Restore the pictures of a plan that have no result yet. `prepare` must have accepted it.

    Arguments:
        target: The target, whose lock is held.
        plan: The plan.
        job: The settings of every picture.
        source: The pictures.
        distributor: Who restores them.
        watcher: Is told what happens.
        processes: That share the memory of a machine.
        lanes: The most pictures in a batch; see `Batches`.
        notes: What it is told first.

    Raises:
        PictureError: If the target cannot be written to; finished results are kept.
        WorkerError: If processes die before they start to work.
    """
    beside, folder = plan.output == Output.FILES, str(target.folder)
    setup = Setup(job.settings, job.keep_diverged, folder, plan.threads, beside, lanes, processes)
    failed: dict[int, list[dict[str, Any]]] = {}
    missing = []
    for number in range(plan.shards):
        marker = target.marker(number, plan)
        if marker is None:
            missing.append(number)
        elif marker["failed"]:
            failed[number] = marker["failed"]
    work = Work(target, plan, source, missing, setup, watcher)
    earlier = plan.count - work.pending
    watcher.begin(plan.count, earlier, notes)
    for marker in distributor(work) if missing else ():
        if marker["failed"]:
            failed[marker["shard"]] = marker["failed"]
        watcher(Event("", "", marker["seconds"], marker["shard"], marker))
    count = write_failed(target, plan, failed)
    with suppress(OSError):
        (target.state / "spool" / plan.id).rmdir()
        (target.state / "spool").rmdir()
    return Totals(plan.count - count, count, earlier)

"""Actors of Ray, on one machine or many: each loads the prior once, and finishes shards."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from reddiff.engine.driver import Distributor, Work
from reddiff.engine.events import Event
from reddiff.engine.items import Item, unwritten
from reddiff.engine.plan import Plan
from reddiff.engine.shard_work import ShardWork
from reddiff.engine.shards import spool_folder
from reddiff.engine.target import Target
from reddiff.engine.units import Found, Setup, Unit
from reddiff.engine.worker import Worker
from reddiff.errors import PictureError, ReddiffError, import_package
from reddiff.processes import TIMES, Died, WorkerError

STARTED = "started"  # a file in the spool: the pictures that were begun
IDLE_DEATHS = 3  # of actors on one shard, without a picture that may be to blame


def ray_actors(workers: int | None) -> Distributor:
    """Actors of the Ray cluster that `RAY_ADDRESS` names, or that runs here, or of a new one.

    Arguments:
        workers: Their number; by default as many as the cluster has room for.

    Raises:
        InvalidArgument: If Ray is not installed.
    """
    package = import_package("ray", "--distributor", "ray")

    def distribute(work: Work) -> Iterator[dict[str, Any]]:
        """Give shards to actors, and what an actor leaves behind to another one."""
        with _connected(package):
            yield from _Cluster(package, work, workers).run()

    return distribute


class ShardActor:
    """Restores the shards that it is given, one after the other.

    Arguments:
        setup: As for `Worker`.
        plan: The plan of the run.
        here: The folder that relative paths are relative to.
    """

    def __init__(self, setup: Setup, plan: Plan, here: str) -> None:
        self.plan = plan
        self.error: BaseException | None = None
        try:
            os.chdir(here)
            torch.set_num_threads(setup.threads)
            self.worker, self.target = Worker(setup), Target(Path(setup.folder))
        except (ReddiffError, OSError) as error:
            self.error = error

    def restore(
        self, number: int, items: list[Item]
    ) -> tuple[dict[str, Any], list[Event]] | BaseException:
        """Finish a shard; its marker and what to tell of its pictures, or an error to be raised."""
        if self.error is not None:
            return self.error
        try:
            return self._finished(ShardWork(self.target, self.plan, number, items))
        except PictureError as error:
            return error

    def _finished(self, shard: ShardWork) -> tuple[dict[str, Any], list[Event]]:
        path, events = shard.folder / STARTED, shard.earlier
        begun = Counter(path.read_text().split()) if path.exists() else Counter[str]()
        fresh = [unit for unit in shard.todo if not begun[str(unit.index)]]
        runs: list[list[Unit]] = [*self.worker.batches.near(fresh, lambda unit: unit.size)]
        for unit in shard.todo:  # its process died with it once: alone, it is known whether by it
            if begun[str(unit.index)] >= TIMES:
                events.append(shard.take(unit, Found(0.0, Died(None).sentence)))
            elif begun[str(unit.index)]:
                runs.append([unit])
        for some in runs:
            try:
                with path.open("a") as file:
                    file.write("".join(f"{unit.index}\n" for unit in some))
            except OSError as error:
                raise unwritten(path, error) from error
            found = self.worker(some)
            if isinstance(found, BaseException):
                raise found
            events += map(shard.take, some, found)
        return shard.finish(), events


class _Cluster:
    """The actors, and what each of them does."""

    def __init__(self, package: Any, work: Work, workers: int | None) -> None:
        self.ray, self.work = package, work
        setup, room = work.setup, package.cluster_resources()
        gpus = int(_on_gpu(str(setup.settings.device)) and room.get("GPU", 0) >= 1)
        most = int(room.get("GPU", 1)) if gpus else int(room.get("CPU", 1)) // setup.threads
        count = max(1, most) if workers is None else max(1, workers)
        self.count = min(count, len(work.missing))
        # lost on one node, its shard is given to another: so none is restarted by Ray
        options = {"num_cpus": setup.threads, "num_gpus": gpus, "max_restarts": 0}
        self.kind = package.remote(**options)(ShardActor)
        self.busy: dict[Any, tuple[Any, int]] = {}  # result to come -> actor, shard

    def run(self) -> Iterator[dict[str, Any]]:
        work, left = self.work, deque(self.work.missing)
        deaths = Counter[int]()
        for number in work.missing:  # what an earlier run began is not held against pictures
            with suppress(OSError):
                (spool_folder(work.target, work.plan, number) / STARTED).unlink()
        for _ in range(self.count):
            self._give(self._actor(), left.popleft())
        while self.busy:
            (ready, *_), _ = self.ray.wait([*self.busy], num_returns=1)
            actor, number = self.busy.pop(ready)
            try:
                found = self.ray.get(ready)
            except self.ray.exceptions.RayError as error:
                deaths[number] += 1
                if deaths[number] > TIMES * len(work.plan.rows(number)) + IDLE_DEATHS:
                    sentence = f"{deaths[number]} actors ended in shard {number}"
                    raise WorkerError(sentence) from error
                self._give(self._actor(), number)
                continue
            if isinstance(found, BaseException):
                raise found
            if left:
                self._give(actor, left.popleft())
            marker, events = found
            for event in events:
                work.tell(event)
            yield marker

    def _actor(self) -> Any:
        work = self.work
        return self.kind.remote(work.setup, work.plan, str(Path.cwd()))

    def _give(self, actor: Any, number: int) -> None:
        rows = self.work.plan.rows(number)
        items = [*self.work.source.items[rows.start : rows.stop]]
        self.busy[actor.restore.remote(number, items)] = actor, number


def _on_gpu(device: str) -> bool:
    return device == "auto" or device.startswith("cuda")


@contextmanager
def _connected(package: Any) -> Iterator[None]:
    """The cluster that is connected already, or one for as long as this lasts."""
    mine = not package.is_initialized()
    if mine:
        try:
            package.init(log_to_driver=False, include_dashboard=False, logging_level="error")
        except Exception as error:  # it raises plain ones, too
            words = " ".join(str(error).split())
            raise WorkerError(f"Ray could not be started or reached: {words}") from error
    try:
        yield
    finally:
        if mine:
            package.shutdown()

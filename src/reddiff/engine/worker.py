"""A process of a run: it loads the prior once and restores one picture after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from reddiff.engine.items import Item, LocalFile, TargetError, unwritten
from reddiff.engine.spool import Spooled, spool_path, write_spooled
from reddiff.errors import PictureError, ReddiffError
from reddiff.hooks import Hook
from reddiff.images.io import as_range, read_picture
from reddiff.images.jobs import Job, file_hash
from reddiff.images.records import relative_to
from reddiff.images.runs import make
from reddiff.images.settings import Settings
from reddiff.interop import door
from reddiff.priors.base import Prior
from reddiff.processes import answer
from reddiff.run.parent import begin_work


@dataclass(frozen=True)
class Setup:
    """What a process needs.

    Arguments:
        settings: Those of every picture.
        keep_diverged: As for `Job`.
        folder: That of the results.
        threads: Threads of torch.
        beside: Whether the records will lie beside the pictures, in files.
    """

    settings: Settings
    keep_diverged: bool
    folder: str
    threads: int
    beside: bool


@dataclass(frozen=True)
class Unit:
    """One picture to restore.

    Arguments:
        shard: The number of its shard.
        index: Its own.
        item: The picture.
        spool: The folder for its result.
    """

    shard: int
    index: int
    item: Item
    spool: str


@dataclass(frozen=True)
class Found:
    """The outcome for a picture.

    Arguments:
        seconds: That it took.
        reason: Why it failed; empty if it did not.
    """

    seconds: float
    reason: str = ""


class Worker:
    """Restores one picture after the other with one prior.

    Arguments:
        setup: What it needs.
        hooks: Called after every step.

    Raises:
        ReddiffError: If the prior cannot be loaded.
    """

    def __init__(self, setup: Setup, hooks: Sequence[Hook] = ()) -> None:
        self.setup, self.hooks = setup, hooks
        self.prior = door.prior(str(setup.settings.prior))

    def __call__(self, unit: Unit) -> Found | TargetError:
        """Restore a picture into the spool; an error to be raised if that cannot be written."""
        start, folder = time.perf_counter(), Path(unit.spool)
        try:
            result = restored(unit, self.setup, self.prior, self.hooks)
        except TargetError as error:
            return error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the row says it
            return Found(time.perf_counter() - start, _reason(error))
        seconds = time.perf_counter() - start
        result.row["seconds"] = round(seconds, 4)
        try:
            write_spooled(spool_path(folder, unit.index), result)
        except OSError as error:
            return unwritten(folder, error)
        return Found(seconds)


def serve(pipe: Any, setup: Setup) -> None:
    """Restore pictures until the pipe is closed, or the process at its other end is gone."""
    watch = begin_work(setup.threads)
    try:
        worker = Worker(setup, [watch])
    except ReddiffError as error:
        pipe.send(error)
        return
    answer(pipe, worker)


def _reason(error: BaseException) -> str:
    """Why a picture failed, without the name of its file, which may be a temporary one."""
    if isinstance(error, PictureError):
        return f"expected {error.expected}, got {error.got}"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if isinstance(error, ReddiffError) else f"{type(error).__name__}: {words}"


def restored(unit: Unit, setup: Setup, prior: Prior, hooks: Sequence[Hook]) -> Spooled:
    """The result for one picture, whose noise depends on the seed and its content alone."""
    item, settings = unit.item, setup.settings
    final = Path(setup.folder, item.name)
    with item.place.local(Path(unit.spool), unit.index) as path:
        content = file_hash(path)
        lane = lane_of(content)
        job = Job(str(path), str(final), settings, setup.keep_diverged, lane)
        picture = read_picture(path, page=settings.page, value_range=as_range(settings.range))
        made = make(job, picture, prior, hooks=hooks)
    if setup.beside:
        entries = job.moved(relative_to(final.parent)).entries
        if not isinstance(item.place, LocalFile):
            entries["source"] = item.key
    else:
        entries = job.entries | {"source": item.key, "output": item.name}
    row = {
        "key": item.key,
        "name": item.name,
        "input": content,
        "pixels": made.record["pixels"],
        "written": sha256(made.data).hexdigest(),
    }
    return Spooled(row, made.record | {"job": entries}, made.data)


def lane_of(content: str) -> int:
    """The lane id of a picture, from the SHA-256 of its file."""
    return int(content[:16], 16) - (1 << 63)

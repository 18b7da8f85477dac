"""A process of a run. It loads the prior once and restores one picture after another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from reddiff.engine.items import LocalFile, TargetError, unwritten
from reddiff.engine.spool import Spooled, append_spooled
from reddiff.engine.units import Found, Setup, Unit
from reddiff.errors import PictureError, ReddiffError
from reddiff.hooks import Hook
from reddiff.images.batching import Batches
from reddiff.images.io import Picture, as_range, read_picture
from reddiff.images.jobs import Job, file_hash, lane_of
from reddiff.images.making import Made, make_together
from reddiff.images.partners import with_own
from reddiff.images.records import relative_to
from reddiff.interop import door
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.processes import answer
from reddiff.run.parent import begin_work


class Worker:
    """Restores one picture after another with one prior.

    Arguments:
        setup: The configuration.
        hooks: Called after every step.

    Raises:
        ReddiffError: If the prior cannot be loaded.
    """

    def __init__(self, setup: Setup, hooks: Sequence[Hook] = ()) -> None:
        self.setup, self.hooks = setup, hooks
        self.prior = door.prior(str(setup.settings.prior))
        self.weights = weights_hash(self.prior)
        self.batches = Batches(setup.lanes, setup.processes)
        self.spool = f"{secrets.token_hex(8)}.spool"  # never that of an earlier process

    def __call__(self, units: Sequence[Unit]) -> list[Found] | TargetError:
        """Restore a few pictures into the spool; an error to be raised if that cannot be written.

        Arguments:
            units: Pictures of one shard, not more than `Batches.near` puts together.
        """
        start, good = time.perf_counter(), dict[int, Spooled]()
        results = restored(units, self.setup, self.prior, self.weights, self.batches, self.hooks)
        share = (time.perf_counter() - start) / len(units)
        for unit, result in zip(units, results, strict=True):
            if isinstance(result, TargetError):
                return result
            if isinstance(result, Spooled):
                result.row["seconds"] = round(share, 4)
                good[unit.index] = result
        path = Path(units[0].spool, self.spool)
        try:
            spots = append_spooled(path, good) if good else {}
        except OSError as error:
            return unwritten(path.parent, error)
        return [
            Found(share, spot=spots[unit.index])
            if isinstance(result, Spooled)
            else Found(share, _reason(result))
            for unit, result in zip(units, results, strict=True)
        ]


def serve(pipe: Any, setup: Setup) -> None:
    """Restore pictures until the pipe is closed, or the process at its other end has ended."""
    watch = begin_work(setup.threads)
    try:
        worker = Worker(setup, [watch])
    except ReddiffError as error:
        pipe.send(error)
        return
    answer(pipe, worker)


def _reason(error: BaseException) -> str:
    """Why a picture failed, without the name of its file, which may be temporary."""
    if isinstance(error, PictureError):
        return f"expected {error.expected}, got {error.got}"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if isinstance(error, ReddiffError) else f"{type(error).__name__}: {words}"


def restored(
    units: Sequence[Unit],
    setup: Setup,
    prior: Prior,
    weights: str,
    batches: Batches,
    hooks: Sequence[Hook],
) -> list[Spooled | BaseException]:
    """The results for pictures, or why they failed.

    The noise of a picture depends on the seed and its content alone.
    """
    found: dict[Unit, Spooled | BaseException] = {}
    with ExitStack() as files:
        opened: dict[Unit, tuple[Job, Picture, str]] = {}
        for unit in units:
            try:
                opened[unit] = _opened(unit, setup, files)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - returned
                found[unit] = error
        works = [(job, picture) for job, picture, _ in opened.values()]
        results = make_together(works, prior, batches, weights=weights, hooks=hooks)
        for unit, result in zip(opened, results, strict=True):
            job, _, content = opened[unit]
            if isinstance(result, Made):
                found[unit] = _spooled(unit, setup, job, content, result)
            else:
                found[unit] = result
    return [found[unit] for unit in units]


def _opened(unit: Unit, setup: Setup, files: ExitStack) -> tuple[Job, Picture, str]:
    """The job of a picture, the picture, and the hash of its file."""
    settings = with_own(setup.settings, dict(unit.item.own))
    final = Path(setup.folder, unit.item.name)
    path = files.enter_context(unit.item.place.local(Path(unit.spool), unit.index))
    content = file_hash(path)
    job = Job(str(path), str(final), settings, setup.keep_diverged, lane_of(content))
    picture = read_picture(path, page=settings.page, value_range=as_range(settings.range))
    return job, picture, content


def _spooled(unit: Unit, setup: Setup, job: Job, content: str, made: Made) -> Spooled:
    item = unit.item
    if setup.beside:
        entries = job.moved(relative_to(Path(job.output).parent)).entries
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

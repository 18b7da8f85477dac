"""Run many jobs: a failure does not end the others, and finished ones can be skipped."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from reddiff.errors import PictureError, ReddiffError
from reddiff.hooks import Hook
from reddiff.images.animation import Animation
from reddiff.images.io import read_picture
from reddiff.images.jobs import FILE_FIELDS, Job, file_hash
from reddiff.images.records import FORMAT, read_record, record_path, versions
from reddiff.images.reports import OnExisting, Outcome, Row
from reddiff.images.runs import run
from reddiff.images.spread import Spread
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash


def run_all(
    jobs: Sequence[Job],
    *,
    prior: Prior,
    on_existing: OnExisting = OnExisting.ERROR,
    truth: str | Path | None = None,
    parents: bool = True,
    hooks: Callable[[Job], Sequence[Hook]] = lambda _: (),
    film: Callable[[Job], Path | None] = lambda _: None,
    spread: Callable[[Job], Spread | None] = lambda _: None,
) -> Iterator[Row]:
    """Run jobs that share a prior. An exception is reported in the row of its job.

    Arguments:
        jobs: The jobs.
        prior: Their prior.
        on_existing: What to do if a result exists.
        truth: As for `run`.
        parents: Create the folders of outputs.
        hooks: The hooks of a job.
        film: The file for the animation of a job, or None.
        spread: What to write of the spread of the draws of a job, or None.

    Yields:
        A row for each job, in order.
    """
    weights = weights_hash(prior) if on_existing is OnExisting.SKIP else ""
    for job in jobs:
        start, force, reason = time.perf_counter(), on_existing is OnExisting.OVERWRITE, ""
        try:
            path, wide = film(job), spread(job)
            beside = [] if wide is None else wide.files(Path(job.output), job.settings.draws or 0)
            if on_existing is OnExisting.SKIP:
                stands, reason, record = _standing(job, weights, beside)
                if stands is _Stands.FINISHED:
                    yield Row(job, Outcome.SKIPPED, reason, record=record)
                    continue
                force = stands is _Stands.STALE
                if stands is _Stands.MISSING:
                    _clear(job, [*beside, *([] if path is None else [path])])
            made = run(
                job,
                prior=prior,
                truth=truth,
                force=force,
                parents=parents,
                hooks=hooks(job),
                film=None if path is None else Animation(path, force=force),
                spread=wide,
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a row says it
            seconds = time.perf_counter() - start
            yield Row(job, Outcome.FAILED, str(error), seconds, error=error)
        else:
            yield Row(job, Outcome.DONE, reason, time.perf_counter() - start, record=made)


class _Stands(Enum):
    MISSING = 0
    FINISHED = 1
    STALE = 2


def _standing(
    job: Job, weights: str, files: Sequence[Path] = ()
) -> tuple[_Stands, str, dict[str, Any] | None]:
    """The state of a result, the reason, and its record.

    Raises:
        PictureError: If a file exists without a record.
    """
    output = Path(job.output)
    if not os.path.lexists(output):
        return _Stands.MISSING, "", None
    try:
        record = read_record(record_path(output))
    except ReddiffError as error:
        expected = "a result with its record (--force replaces it)"
        got = "a file without one"
        raise PictureError(output, expected=expected, got=got, errno=errno.EEXIST) from error
    digest = file_hash(output)
    if record["format"] == FORMAT and digest != record["written"]:
        if digest == record["replaced"]:
            return _Stands.STALE, "an earlier run was interrupted", None
        if _whole(output):
            return _Stands.FINISHED, "kept: it was changed after it was restored", None
        return _Stands.STALE, "it is damaged", None
    missing = [file.name for file in files if not file.is_file()]
    changed = _changed(job, weights, record) or (f"without {missing[0]}" if missing else "")
    return (_Stands.STALE, changed, None) if changed else (_Stands.FINISHED, "", record)


def _whole(path: Path) -> bool:
    try:
        read_picture(path)
    except ReddiffError:
        return False
    return True


def _changed(job: Job, weights: str, record: dict[str, Any]) -> str:
    """What has changed since the run of this record; empty if nothing has."""
    if record["format"] != FORMAT:
        return f"its record is of format {record['format']}"
    if record["versions"].get("reddiff") != versions()["reddiff"]:
        return "another version of reddiff made it"
    old = Job.of(record["job"])
    was, now = old.entries, job.entries
    names = [name for name in now if name not in ("output", *FILE_FIELDS)]
    other = [name for name in names if was[name] != now[name]]
    mine = job.input_hashes()
    for name in FILE_FIELDS:
        if name in mine or name in old.files:
            if mine.get(name) != record["inputs"].get(name) or job.tail(name) != old.tail(name):
                other.append(name)
        elif was[name] != now[name]:
            other.append(name)
    if other:
        return f"changed since: {', '.join(other)}"
    return "changed since: weights" if record["weights"] != weights else ""


def _clear(job: Job, files: Sequence[Path]) -> None:
    """Remove the record and other files of a run that was killed before it wrote its picture."""
    beside = record_path(job.output)
    with suppress(ReddiffError):
        read_record(beside)
        beside.unlink()
        for file in files:
            file.unlink(missing_ok=True)

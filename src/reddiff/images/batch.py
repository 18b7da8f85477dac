"""Run many jobs. A failure does not stop the others, and finished jobs can be skipped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reddiff.hooks import Hook
from reddiff.images.animation import Animation
from reddiff.images.batching import Batches
from reddiff.images.jobs import Job
from reddiff.images.making import Made, make, make_together
from reddiff.images.reports import OnExisting, Outcome, Row
from reddiff.images.runs import Opened, open_run, write_run
from reddiff.images.spread import Spread
from reddiff.images.standing import Stands, clear_remains, standing_of
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash


def run_all(
    jobs: Sequence[Job],
    *,
    prior: Prior,
    on_existing: OnExisting = OnExisting.ERROR,
    truth: Callable[[Job], Path | None] = lambda _: None,
    parents: bool = True,
    hooks: Callable[[Job], Sequence[Hook]] = lambda _: (),
    film: Callable[[Job], Path | None] = lambda _: None,
    spread: Callable[[Job], Spread | None] = lambda _: None,
    batches: Batches | None = None,
) -> Iterator[Row]:
    """Run jobs that share a prior. An exception is reported in the row of its job.

    Arguments:
        jobs: The jobs.
        prior: Their prior.
        on_existing: What to do if a result exists.
        truth: The file to compare the result of a job with, or None.
        parents: Create the folders of outputs.
        hooks: The hooks of a job.
        film: The file for the animation of a job, or None.
        spread: What to write of the spread of the draws of a job, or None.
        batches: How pictures are solved together; alone by default, and with a film or a spread.
            The hooks are then those of the first picture.

    Yields:
        A row for each job, in order.
    """
    weights = weights_hash(prior)
    batches = Batches(1) if batches is None else batches

    def begin(job: Job) -> _Begun | Row:
        """Open a job, or say why it ends here."""
        start = time.perf_counter()
        try:
            return _open(
                job, prior, weights, on_existing, truth(job), parents, film(job), spread(job)
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a row says it
            return _failed(job, error, time.perf_counter() - start)

    for begun in batches.near(map(begin, jobs), _pixels):
        ready = [one for one in begun if isinstance(one, _Begun) and one.plain]
        together = iter(_together(ready, prior, weights, batches, hooks) if len(ready) > 1 else [])
        for one in begun:
            if isinstance(one, Row):
                yield one
            elif len(ready) > 1 and one.plain:
                yield next(together)
            else:
                yield _alone(one, prior, weights, hooks(one.opened.job))


@dataclass(frozen=True, eq=False)
class _Begun:
    """A job that is open."""

    opened: Opened
    reason: str
    film: Animation | None
    spread: Spread | None
    seconds: float

    @property
    def plain(self) -> bool:
        """Whether the job makes nothing but a picture."""
        return self.film is None and self.spread is None


def _open(
    job: Job,
    prior: Prior,
    weights: str,
    on_existing: OnExisting,
    truth: Path | None,
    parents: bool,
    film: Path | None,
    spread: Spread | None,
) -> _Begun | Row:
    """Open a job; a row if it is skipped."""
    start, force, reason = time.perf_counter(), on_existing is OnExisting.OVERWRITE, ""
    beside = [] if spread is None else spread.files(Path(job.output), job.settings.draws or 0)
    if on_existing is OnExisting.SKIP:
        stands, reason, record = standing_of(job, weights, beside)
        if stands is Stands.FINISHED:
            return Row(job, Outcome.SKIPPED, reason, record=record)
        force = stands is Stands.STALE
        if stands is Stands.MISSING:
            clear_remains(job, [*beside, *([] if film is None else [film])])
    opened = open_run(job, prior=prior, truth=truth, force=force, parents=parents, spread=spread)
    shown = None if film is None else Animation(film, force=force)
    return _Begun(opened, reason, shown, spread, time.perf_counter() - start)


def _alone(begun: _Begun, prior: Prior, weights: str, hooks: Sequence[Hook]) -> Row:
    opened, start = begun.opened, time.perf_counter() - begun.seconds
    made: Made | BaseException
    try:
        made = make(
            opened.job,
            opened.picture,
            prior,
            weights=weights,
            hooks=hooks,
            film=begun.film,
            check=opened.check,
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a row says it
        made = error
    return _written(begun, made, start)


def _written(begun: _Begun, made: Made | BaseException, start: float) -> Row:
    """Write what a job made, if it did; its row."""
    opened = begun.opened
    if not isinstance(made, BaseException):
        try:
            record = write_run(opened, made, film=begun.film, spread=begun.spread)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a row says it
            made = error
    seconds = time.perf_counter() - start
    if isinstance(made, BaseException):
        return _failed(opened.job, made, seconds)
    return Row(opened.job, Outcome.DONE, begun.reason, seconds, record=record)


def _together(
    begun: Sequence[_Begun],
    prior: Prior,
    weights: str,
    batches: Batches,
    hooks: Callable[[Job], Sequence[Hook]],
) -> Iterator[Row]:
    """The rows of several jobs, in order; the time of each is its share."""
    start = time.perf_counter()
    works = [(one.opened.job, one.opened.picture) for one in begun]
    checks = [one.opened.check for one in begun]
    first = hooks(works[0][0])
    results = make_together(works, prior, batches, weights=weights, hooks=first, checks=checks)
    share = (time.perf_counter() - start) / len(begun)
    for one, made in zip(begun, results, strict=True):
        yield _written(one, made, time.perf_counter() - share - one.seconds)


def _pixels(begun: _Begun | Row) -> int:
    return 0 if isinstance(begun, Row) else math.prod(begun.opened.picture.size)


def _failed(job: Job, error: BaseException, seconds: float) -> Row:
    return Row(job, Outcome.FAILED, str(error), seconds, error=error)

"""Restore pictures that are read already, one by one or several as one batch; write nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import torch

from reddiff.errors import Diverged
from reddiff.hooks import Hook, Progress
from reddiff.images.animation import Animation
from reddiff.images.batching import Batches
from reddiff.images.conversions import take_numbers
from reddiff.images.io import Picture, encode
from reddiff.images.job_tasks import check_size, job_task, result_size
from reddiff.images.jobs import Job
from reddiff.images.preparation import Ready, prepare
from reddiff.images.records import FORMAT, UNITS, versions
from reddiff.images.restoration import Preview, solve_ready
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings
from reddiff.images.tasks.custom import blamed
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.results import Status

DIVERGED = (
    "the run diverged at step {}: a value became NaN or inf, and no picture was written "
    "(--keep-diverged writes the last finite estimate)"
)


@dataclass(frozen=True, eq=False)
class Made:
    """What a job makes: the result, its file and its record."""

    result: Restored
    data: bytes
    record: dict[str, Any]


def make(
    job: Job,
    picture: Picture,
    prior: Prior,
    *,
    weights: str | None = None,
    hooks: Sequence[Hook] = (),
    film: Animation | None = None,
    check: Callable[[tuple[int, int]], None] = lambda _: None,
) -> Made:
    """Restore a picture that is read already, and write nothing.

    Arguments:
        job, prior, hooks, film: As for `run`.
        picture: The picture in the job's source.
        weights: `weights_hash(prior)`, if it is known: for a small picture, its time counts.
        check: Called with the height and width of the result before the work begins.

    Raises:
        InvalidArgument, PictureError, Diverged: As for `run`.
    """
    begun = _begin(job, picture, prior, check)
    result = _alone(begun, hooks, None if film is None else film.add)
    return _made(begun, result, weights or weights_hash(prior))


def make_together(
    works: Sequence[tuple[Job, Picture]],
    prior: Prior,
    batches: Batches,
    *,
    weights: str | None = None,
    hooks: Sequence[Hook] = (),
    checks: Sequence[Callable[[tuple[int, int]], None]] | None = None,
) -> list[Made | BaseException]:
    """`make` for several pictures; those that can be solved as one batch are.

    Arguments:
        works: Jobs that share their settings but for files, and their pictures.
        prior, weights, hooks: As for `make`.
        batches: The size of batches.
        checks: `check` for each picture.

    Returns:
        For each picture what `make` returns or raises, with the same pixels, bit for bit.
    """
    weights = weights or weights_hash(prior)
    found: dict[int, Made | BaseException] = {}
    good: dict[int, _Begun] = {}
    for i, (job, picture) in enumerate(works):
        try:
            good[i] = _begin(job, picture, prior, _accept if checks is None else checks[i])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - returned
            found[i] = error
    for group in batches.groups({i: b.ready for i, b in good.items()}):
        members = [good[i] for i in group]
        results = _solved(members, batches, hooks)
        for i, one, result in zip(group, members, results, strict=True):
            try:
                found[i] = _made(one, result or _alone(one, hooks), weights)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - returned
                found[i] = error
    return [found[i] for i in range(len(works))]


@dataclass(frozen=True, eq=False)
class _Begun:
    """A picture that is ready to be solved."""

    job: Job
    inputs: dict[str, str]
    settings: Settings
    ready: Ready


def _solved(
    members: Sequence[_Begun], batches: Batches, hooks: Sequence[Hook]
) -> list[Restored | None]:
    """The results of one batch; None for what is to be solved alone."""
    settings = members[0].settings
    if len(members) == 1 or settings.draws is not None:
        return [None] * len(members)
    lanes = [b.job.lane for b in members]
    return batches.solve([b.ready for b in members], lanes, settings.seed, hooks)


def _accept(size: tuple[int, int]) -> None:
    """No check."""


def _begin(
    job: Job, picture: Picture, prior: Prior, check: Callable[[tuple[int, int]], None]
) -> _Begun:
    inputs = job.input_hashes()
    with blamed(str(job.settings.task)):
        task = job_task(job, picture)
        size = result_size(task, picture, job.settings.scale or 1)
        check_size(size)
        check(size)
        settings = replace(job.settings, task=task, prior=prior, page=None, range=None)
        settings = take_numbers(settings)
        return _Begun(job, inputs, settings, prepare(picture, settings))


def _alone(begun: _Begun, hooks: Sequence[Hook], preview: Preview | None = None) -> Restored:
    """Solve one picture alone."""
    job = begun.job
    stop = [] if job.keep_diverged or job.settings.draws is not None else [_StopDiverged()]
    with blamed(str(job.settings.task)):
        hooks = [*stop, *hooks]
        return solve_ready(begun.ready, begun.settings, hooks=hooks, preview=preview, lane=job.lane)


def _made(begun: _Begun, result: Restored, weights: str) -> Made:
    job = begun.job
    if result.status == Status.DIVERGED and not job.keep_diverged:
        raise Diverged(DIVERGED.format(int(result.reconstruction.steps.max())))
    data = encode(job.output, result.picture)
    record = _record(job, result, weights)
    record |= {"inputs": begun.inputs, "written": sha256(data).hexdigest(), "replaced": None}
    return Made(result, data, record)


class _StopDiverged(Hook):
    """Ends a run as soon as it has diverged."""

    def __call__(self, progress: Progress) -> None:
        if not bool(progress.alive.any()):
            raise Diverged(DIVERGED.format(progress.step))


def _record(job: Job, result: Restored, weights: str) -> dict[str, Any]:
    run = result.reconstruction
    cost = {k: v[0] if isinstance(v, tuple) else v for k, v in asdict(run.cost).items()}
    pixels = result.pixels.contiguous().numpy().tobytes()
    return {
        "format": FORMAT,
        "command": "restore",
        "versions": versions(),
        "units": UNITS,
        "job": job.entries,
        "weights": weights,
        "solver": run.solver,
        "noise": result.noise,
        "noise_estimated": result.estimated,
        "residual_ratio": result.residual_ratio,
        "status": result.status.name,
        "cost": cost,
        "threads": torch.get_num_threads(),
        "notes": list(result.notes),
        "pixels": sha256(pixels).hexdigest()[:16],
    }

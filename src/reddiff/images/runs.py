"""Restore files; every run leaves a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from reddiff.errors import Diverged
from reddiff.files import check_target, write_together, write_whole
from reddiff.hooks import Hook, Progress
from reddiff.images.animation import Animation
from reddiff.images.comparison import common_size, compare
from reddiff.images.io import (
    Picture,
    as_range,
    check_output,
    encode,
    picture_size,
    read_picture,
)
from reddiff.images.job_tasks import check_size, job_task, result_size
from reddiff.images.jobs import Job, file_hash
from reddiff.images.records import FORMAT, UNITS, as_json, record_path, relative_to, versions
from reddiff.images.restoration import restore_with
from reddiff.images.restored import Restored
from reddiff.images.spread import Spread
from reddiff.images.tasks.custom import blamed
from reddiff.interop import door
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.results import Status

DIVERGED = (
    "the run diverged at step {}: a value became NaN or inf, and no picture was written "
    "(--keep-diverged writes the last finite estimate)"
)


def run(
    job: Job,
    *,
    prior: Prior | None = None,
    truth: str | Path | None = None,
    force: bool = False,
    parents: bool = False,
    hooks: Sequence[Hook] = (),
    film: Animation | None = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Restore a file, write the result and its record, and return the record.

    All that can be known to fail is found out before the run. The picture is written last, after
    its record and its film; metrics are measured after that.

    Arguments:
        job: What to do.
        prior: The prior of the job, if it is loaded already.
        truth: A file to measure PSNR, SSIM and LPIPS against.
        force: Overwrite files.
        parents: Make the folder of the output if it is missing.
        hooks: Called after every step.
        film: Collects the estimates of the run; its file is written too.
        spread: What to write and say of the spread of the draws.

    Raises:
        InvalidArgument: If a setting cannot be used.
        PictureError: If a file cannot be read or written, or exists without `force`.
        WeightsError: If the weights do not fit.
        Diverged: If a value became NaN or inf, unless the job says to keep such results.
    """
    output, beside, settings = Path(job.output), record_path(job.output), job.settings
    job.check()
    check_output(output, force=force, parents=parents)
    check_target(beside, force=force, parents=parents)
    picture = read_picture(job.source, page=settings.page, value_range=as_range(settings.range))
    check_output(output, alpha=picture.alpha is not None, force=force, parents=parents)
    replaced = file_hash(output) if output.is_file() else None
    network = door.prior(str(settings.prior)) if prior is None else prior
    scale, wanted = settings.scale or 1, None
    size = None if truth is None else picture_size(truth)

    def check(made: tuple[int, int]) -> None:
        if size is not None:
            common_size(made, size, scale)
        if spread is not None:
            spread.check(output, settings, made, weights_hash(network), force=force)

    if truth is not None:
        wanted = read_picture(truth, value_range=as_range(settings.range))
    made = make(job, picture, network, hooks=hooks, film=film, check=check)
    result, data = made.result, made.data
    record = made.record | {"replaced": replaced}
    more: list[tuple[Path, Iterator[bytes]]] = []
    if spread is not None:
        ends = spread.ends(result)
        record["uncertainty"] = spread.entries(result, ends)
        more = spread.contents(output, result, ends)
    saved = record | {"job": job.moved(relative_to(output.parent)).entries}
    files: list[tuple[Path, bytes | Iterator[bytes]]] = [(beside, as_json(saved)), *more]
    files += [] if film is None or film.empty else [(film.path, film.encoded())]
    files.append((output, data))
    write_together(files, force=force)
    if wanted is None:
        return record
    try:
        measured: dict[str, Any] = {"metrics": compare(result.picture, wanted, scale)}
    except Exception as error:  # noqa: BLE001 - the picture is there: nothing may undo that
        note = f"The result is written, but could not be compared with the truth: {error}"
        measured = {"notes": [*record["notes"], note]}
    write_whole(beside, as_json(saved | measured), force=True)
    return record | measured


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
    hooks: Sequence[Hook] = (),
    film: Animation | None = None,
    check: Callable[[tuple[int, int]], None] = lambda _: None,
) -> Made:
    """Restore a picture that is read already, and write nothing.

    Arguments:
        job, prior, hooks, film: As for `run`.
        picture: The picture in the job's source.
        check: Called with the height and width of the result before the work begins.

    Raises:
        InvalidArgument, PictureError, Diverged: As for `run`.
    """
    settings, scale = job.settings, job.settings.scale or 1
    inputs = job.input_hashes()
    stop = [] if job.keep_diverged or settings.draws is not None else [_StopDiverged()]
    with blamed(str(settings.task)):
        task = job_task(job, picture)
        size = result_size(task, picture, scale)
        check_size(size)
        check(size)
        result = restore_with(
            picture,
            replace(settings, task=task, prior=prior, page=None, range=None),
            hooks=[*stop, *hooks],
            preview=None if film is None else film.add,
            lane=job.lane,
        )
    if result.status == Status.DIVERGED and not job.keep_diverged:
        raise Diverged(DIVERGED.format(int(result.reconstruction.steps.max())))
    data = encode(job.output, result.picture)
    record = _record(job, result, prior)
    record |= {"inputs": inputs, "written": sha256(data).hexdigest(), "replaced": None}
    return Made(result, data, record)


class _StopDiverged(Hook):
    """Ends a run as soon as it has diverged."""

    def __call__(self, progress: Progress) -> None:
        if not bool(progress.alive.any()):
            raise Diverged(DIVERGED.format(progress.step))


def _record(job: Job, result: Restored, prior: Prior) -> dict[str, Any]:
    run = result.reconstruction
    cost = {k: v[0] if isinstance(v, tuple) else v for k, v in asdict(run.cost).items()}
    pixels = result.pixels.contiguous().numpy().tobytes()
    return {
        "format": FORMAT,
        "command": "restore",
        "versions": versions(),
        "units": UNITS,
        "job": job.entries,
        "weights": weights_hash(prior),
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

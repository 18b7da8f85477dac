"""Restore files; every run leaves a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from reddiff.errors import Diverged, require
from reddiff.files import check_target, write_together, write_whole
from reddiff.hooks import Hook, Progress
from reddiff.images.animation import Animation
from reddiff.images.arguments import refuse_parameters
from reddiff.images.comparison import common_size, compare
from reddiff.images.io import (
    MAX_PIXELS,
    Picture,
    as_range,
    check_output,
    encode,
    picture_size,
    read_picture,
)
from reddiff.images.jobs import Job, file_hash
from reddiff.images.memory import require_memory
from reddiff.images.records import FORMAT, UNITS, as_json, record_path, relative_to, versions
from reddiff.images.restoration import restore_with
from reddiff.images.restored import Restored
from reddiff.images.spread import Spread
from reddiff.images.tasks import Compressed, Task, make_task
from reddiff.images.tasks.custom import OWN, blamed
from reddiff.interop import door
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.orientation import Orientation
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.results import Status

PIXEL_BYTES = 150  # of memory per pixel of the result, at the least
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
    wanted, scale = None, settings.scale or 1
    replaced = file_hash(output) if output.is_file() else None
    network = door.prior(str(settings.prior)) if prior is None else prior
    inputs = job.input_hashes()
    stop = [] if job.keep_diverged or settings.draws is not None else [_StopDiverged()]
    with blamed(str(settings.task)):
        task = _task(job, picture)
        size = None if truth is None else picture_size(truth)
        made = _size(task, picture, scale)
        _check_size(made, size, scale)
        if spread is not None:
            spread.check(output, settings, made, weights_hash(network), force=force)
        if truth is not None:
            wanted = read_picture(truth, value_range=as_range(settings.range))
        result = restore_with(
            picture,
            replace(settings, task=task, prior=network, page=None, range=None),
            hooks=[*stop, *hooks],
            preview=None if film is None else film.add,
        )
    if result.status == Status.DIVERGED and not job.keep_diverged:
        raise Diverged(DIVERGED.format(int(result.reconstruction.steps.max())))
    data = encode(output, result.picture)
    record = _record(job, result, network) | {
        "inputs": inputs,
        "written": sha256(data).hexdigest(),
        "replaced": replaced,
    }
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


class _StopDiverged(Hook):
    """Ends a run as soon as it has diverged."""

    def __call__(self, progress: Progress) -> None:
        if not bool(progress.alive.any()):
            raise Diverged(DIVERGED.format(progress.step))


def _task(job: Job, picture: Picture) -> str | Task:
    """The task as an object where more is known than its name.

    For `jpeg` what the file says: its compression, or at least its orientation. Code is run once.
    """
    settings = job.settings
    name = str(settings.task)
    turned = picture.format == "JPEG" and picture.orientation != 1
    if name == "jpeg":
        refuse_parameters("the task jpeg", settings)
        return Compressed(JPEG.of(job.source))
    if name.startswith("jpeg:") and turned:
        refuse_parameters("the task jpeg", settings)
        task = make_task(name)
        if isinstance(task, Compressed):
            turn = Orientation(picture.orientation)
            return Compressed(JPEG(tables=task.codec.tables, orientation=turn))
    if not OWN.fullmatch(name):
        return name
    refuse_parameters("an operator of yours", settings)
    return make_task(name)


def _size(task: str | Task, picture: Picture, scale: int) -> tuple[int, int]:
    """The height and width of the result."""
    if isinstance(task, Task) and not isinstance(task, Compressed):
        shape = task.problem(picture.pixels).x_shape
        return int(shape[-2]), int(shape[-1])
    height, width = picture.size
    return height * scale, width * scale


def _check_size(size: tuple[int, int], truth: tuple[int, int] | None, scale: int) -> None:
    """Refuse a result that does not fit in memory, or has another size than the truth."""
    pixels, shown = size[0] * size[1], f"{size[1]}x{size[0]} pixels"
    expected = f"a result of at most {MAX_PIXELS} pixels"
    require(pixels <= MAX_PIXELS, "scale", expected=expected, got=shown)
    require_memory(PIXEL_BYTES * pixels, f"a result (of {shown})")
    if truth is not None:
        common_size(size, truth, scale)


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

"""Restorations of files: what decides the pixels is one `Job`, and every run leaves a record.

A record is a JSON file beside the output. It names the versions, the weights, the seed, all
settings and what came of them; `replay` runs it again and checks that the pixels are the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import Diverged, RecordError, require
from reddiff.files import check_target, write_together, write_whole
from reddiff.hooks import Hook, Progress
from reddiff.images.animation import Animation
from reddiff.images.comparison import compare
from reddiff.images.custom_errors import blamed
from reddiff.images.io import (
    Picture,
    as_range,
    check_output,
    encode,
    picture_size,
    read_picture,
)
from reddiff.images.limits import check_settings, check_size
from reddiff.images.masks import make_mask
from reddiff.images.presets import load_prior
from reddiff.images.records import (
    FORMAT,
    UNITS,
    Job,
    as_json,
    file_hash,
    read_job,
    read_record,
    record_path,
    relative_to,
    versions,
)
from reddiff.images.restoration import Restored, restore
from reddiff.images.simulation import simulate
from reddiff.images.tasks import Compressed, Task, make_task
from reddiff.images.tasks.custom import OWN
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.orientation import Orientation
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.results import Status

__all__ = ["Job", "compare", "read_record", "record_path", "replay", "run", "simulate"]


def run(
    job: Job,
    *,
    prior: Prior | None = None,
    truth: str | Path | None = None,
    force: bool = False,
    parents: bool = False,
    hooks: Sequence[Hook] = (),
    film: Animation | None = None,
) -> dict[str, Any]:
    """Restore a file, write the result and its record, and return the record.

    All that can be known to fail is found out before the run. The picture is written last, when its
    record and its film are there; metrics are measured after that.

    Arguments:
        job: What to do.
        prior: The prior of the job, if it is loaded already.
        truth: A file to measure PSNR, SSIM and LPIPS against.
        force: Overwrite files.
        parents: Make the folder of the output if it is missing.
        hooks: Called after every step.
        film: Collects the estimates of the run; its file is written too.

    Raises:
        InvalidArgument: If a setting cannot be used.
        PictureError: If a file cannot be read or written, or exists without `force`.
        WeightsError: If the weights do not fit.
        Diverged: If a value became NaN or inf, unless the job says to keep such results.
    """
    output, beside = Path(job.output), record_path(job.output)
    check_settings(job)
    check_output(output, force=force, parents=parents)
    check_target(beside, force=force, parents=parents)
    value_range = None if job.range is None else as_range(job.range)
    picture = read_picture(job.source, page=job.page, value_range=value_range)
    check_output(output, alpha=picture.alpha is not None, force=force, parents=parents)
    wanted = None
    replaced = file_hash(output) if output.is_file() else None
    network = load_prior(job.prior) if prior is None else prior
    inputs = job.input_hashes()
    mask = None if job.mask is None else _mask(job, picture)
    stop = [] if job.keep_diverged else [_StopDiverged()]
    with blamed(job.task):
        task = _task(job, mask, picture)
        size = None if truth is None else picture_size(truth)
        check_size(_size(job, task, picture), size, job.scale or 1)
        if truth is not None:
            wanted = read_picture(truth, value_range=value_range)
        result = restore(
            picture,
            task=task,
            mask=None if isinstance(task, Task) else mask,
            scale=job.scale,
            kernel=job.kernel,
            noise=job.noise,
            solver=job.solver,
            steps=job.steps,
            realism=job.realism,
            prior=network,
            seed=job.seed,
            device=job.device,
            tile=job.tile,
            hooks=[*stop, *hooks],
            preview=None if film is None else film.add,
        )
    if int(result.reconstruction.status) == Status.DIVERGED and not job.keep_diverged:
        raise Diverged(DIVERGED.format(int(result.reconstruction.steps)))
    data = encode(output, result.picture)
    record = _record(job, result, network) | {
        "inputs": inputs,
        "written": sha256(data).hexdigest(),
        "replaced": replaced,
    }
    saved = record | {"job": asdict(job.moved(relative_to(output.parent)))}
    files = [(beside, as_json(saved))]
    files += [] if film is None or film.empty else [(film.path, film.encoded())]
    files.append((output, data))
    write_together(files, force=force)
    if wanted is None:
        return record
    try:
        measured: dict[str, Any] = {"metrics": compare(result.picture, wanted, job.scale or 1)}
    except Exception as error:  # noqa: BLE001 - the picture is there: nothing may undo that
        note = f"The result is written, but could not be compared with the truth: {error}"
        measured = {"notes": [*record["notes"], note]}
    write_whole(beside, as_json(saved | measured), force=True)
    return record | measured


def replay(
    path: str | Path,
    *,
    output: str | Path | None = None,
    task: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Run a record again, and check that inputs, weights and pixels are the same.

    A record may come from somebody else. It cannot run code that the caller does not name, nor
    write anywhere but in its own folder.

    Arguments:
        path: The record. Relative paths in it are relative to its folder.
        output: Where to write instead of the record's own output.
        task: `FILE.py:NAME`, if the record has such a task: it must be the same file and name.
        force: Overwrite files; without `output`, only the picture that the record lies beside.

    Raises:
        PictureError: If the record, or an input, cannot be read.
        RecordError: If the file is no record, an input or the weights changed, it names an output
            elsewhere or a file of code that `task` does not name, or the pixels differ (the file is
            written, and the message says so).
    """
    record = read_record(path)
    if record["format"] != FORMAT:
        raise RecordError(
            f"{path}: a record of format {record['format']} cannot be run again: it lacks hashes, "
            f"and its paths depend on where it was written (format {FORMAT} has both)"
        )
    folder = Path(path).parent
    job = read_job(record).moved(lambda text: str(folder / text))
    if output is None:
        _check_inside(job, Path(path), force=force)
    else:
        job = replace(job, output=str(output))
    _check_code(job, task, path)
    files, known = job.files, record["inputs"]
    if set(files) != set(known):
        expected = f"hashes of {', '.join(files)}"
        raise RecordError(f"{path}: expected {expected}, got {', '.join(known) or 'none'}")
    for name, file in files.items():
        if not file.is_file() or file_hash(file) != known[name]:
            raise RecordError(f"{path}: expected {name} {file} as it was, got another or none")
    prior = load_prior(job.prior)
    if weights_hash(prior) != record["weights"]:
        raise RecordError(
            f"{path}: expected weights {record['weights']}, got {weights_hash(prior)}"
        )
    threads = torch.get_num_threads()
    # Another number may round differently; more than there are processors help nobody.
    torch.set_num_threads(min(record["threads"], os.cpu_count() or 1))
    try:
        again = run(job, prior=prior, force=force)
    finally:
        torch.set_num_threads(threads)
    if again["pixels"] != record["pixels"]:
        made = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        raise RecordError(
            f"{path}: expected pixels {record['pixels']}, got {again['pixels']} in {job.output} "
            f"(the record is of {made}, {record['threads']} threads)"
        )
    return again


DIVERGED = (
    "the run diverged at step {}: a value became NaN or inf, and no picture was written "
    "(--keep-diverged writes the last finite estimate)"
)


class _StopDiverged(Hook):
    """Ends a run as soon as it has diverged."""

    def __call__(self, progress: Progress) -> None:
        if not bool(progress.alive.any()):
            raise Diverged(DIVERGED.format(progress.step))


def _check_inside(job: Job, path: Path, *, force: bool) -> None:
    """The output that a record names is in its own folder, and is its own if it is replaced."""
    folder = Path(os.path.realpath(path.parent))
    target = Path(os.path.realpath(Path(job.output).parent)) / Path(job.output).name
    if not target.is_relative_to(folder):
        raise RecordError(
            f"{path}: its output {job.output} is outside its own folder; say where to write with -o"
        )
    own = record_path(target) == folder / path.name
    if force and not own and os.path.lexists(target):
        raise RecordError(
            f"{path}: --force replaces only the picture that a record lies beside, not "
            f"{job.output}; say where to write with -o"
        )


def _check_code(job: Job, task: str | None, path: str | Path) -> None:
    """A file of code runs only if the caller names it."""
    mine, given = OWN.fullmatch(job.task), OWN.fullmatch(task or "")
    if mine is None:
        if task is not None:
            raise RecordError(f"{path}: its task is {job.task}; --task is for FILE.py:NAME alone")
        return
    same = (
        given is not None
        and os.path.realpath(given[1]) == os.path.realpath(mine[1])
        and given[2] == mine[2]
    )
    if not same:
        raise RecordError(
            f"{path}: it runs the code in {mine[1]}; if you trust that file, give "
            f"--task {job.task} as well"
        )


def _task(job: Job, mask: Tensor | None, picture: Picture) -> str | Task:
    """The task, where more is known of it than its name.

    Of `jpeg` what the file says: its compression, or at least its orientation. Code is run once.
    """
    if job.task == "jpeg":
        for name in ("mask", "scale", "kernel"):
            given = getattr(job, name)
            require(given is None, name, expected="none for the task jpeg", got="one")
        return Compressed(JPEG.of(job.source))
    if job.task.startswith("jpeg:") and picture.format == "JPEG" and picture.orientation != 1:
        task = make_task(job.task, mask=mask, scale=job.scale)
        if isinstance(task, Compressed):
            turn = Orientation(picture.orientation)
            return Compressed(JPEG(tables=task.codec.tables, orientation=turn))
    if not OWN.fullmatch(job.task):
        return job.task
    require(job.kernel is None, "kernel", expected="none for an operator of yours", got="one")
    return make_task(job.task, mask=mask, scale=job.scale)


def _mask(job: Job, picture: Picture) -> Tensor:
    return make_mask(str(job.mask), picture.size, seed=job.seed, fit=job.fit_mask)


def _size(job: Job, task: str | Task, picture: Picture) -> tuple[int, int]:
    """The height and width of the result."""
    if isinstance(task, Task) and OWN.fullmatch(job.task):
        y = picture.pixels
        shape = task.operator(y).x_shape(tuple(task.data(y).shape))
        return int(shape[-2]), int(shape[-1])
    height, width = picture.size
    return height * (job.scale or 1), width * (job.scale or 1)


def _record(job: Job, result: Restored, prior: Prior) -> dict[str, Any]:
    run = result.reconstruction
    cost = asdict(run.cost)
    pixels = result.pixels.contiguous().numpy().tobytes()
    return {
        "format": FORMAT,
        "command": "restore",
        "versions": versions(),
        "units": UNITS,
        "job": asdict(job),
        "weights": weights_hash(prior),
        "solver": run.snapshot.solver,
        "noise": result.noise,
        "noise_estimated": result.estimated,
        "residual_ratio": result.residual_ratio,
        "status": Status(int(run.status[0, 0])).name,
        "cost": cost | {"evaluations": cost["evaluations"][0], "vjps": cost["vjps"][0]},
        "threads": torch.get_num_threads(),
        "notes": list(result.notes),
        "pixels": sha256(pixels).hexdigest()[:16],
    }

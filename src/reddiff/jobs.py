"""Restorations of files: what decides the pixels is one `Job`, and every run leaves a record.

A record is a JSON file beside the output. It names the versions, the weights, the seed, all
settings and what came of them; `replay` runs it again and checks that the pixels are the same.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reddiff.catalogue import load_prior
from reddiff.errors import InvalidArgument, RecordError
from reddiff.hooks import Hook
from reddiff.masks import make_mask
from reddiff.operators.jpeg import JPEG
from reddiff.operators.orientation import Orientation
from reddiff.pictures import (
    Picture,
    check_output,
    check_target,
    read_kernel,
    read_picture,
    write_picture,
    write_whole,
)
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash
from reddiff.restore import Restored, degrade, restore
from reddiff.results import Status
from reddiff.tasks import Compressed, Task, make_task
from reddiff.tasks.own import OWN

FORMAT = 1
UNITS = "pixels and noise in [0, 1]; the solver works on 2 pixels - 1"


@dataclass(frozen=True)
class Job:
    """Everything that decides the pixels of a restored file.

    Arguments:
        source: The degraded picture's file.
        output: The restored picture's file; its suffix is its format.
        task: A name, see `restore`; `jpeg` alone reads the quality from the file.
        mask: A text for `masks.make_mask`.
        fit_mask: Resize a mask file of another size.
        scale: See `restore`.
        kernel: A text for `pictures.read_kernel`.
        noise: See `restore`.
        solver: A name in `catalogue.SOLVERS`.
        steps: See `restore`.
        realism: See `restore`.
        prior: A name in `catalogue.PRIORS`, or a .safetensors file.
        seed: See `restore`.
        device: See `restore`.
        tile: See `restore`.
    """

    source: str
    output: str
    task: str
    mask: str | None = None
    fit_mask: bool = False
    scale: int | None = None
    kernel: str | None = None
    noise: float | None = None
    solver: str = "noise-aware"
    steps: int | None = None
    realism: float | None = None
    prior: str = "photo"
    seed: int = 0
    device: str = "auto"
    tile: int = 512


def run(
    job: Job,
    *,
    prior: Prior | None = None,
    truth: str | Path | None = None,
    force: bool = False,
    hooks: Sequence[Hook] = (),
    preview: Callable[[int, Tensor], None] | None = None,
) -> dict[str, Any]:
    """Restore a file, write the result and its record, and return the record.

    Arguments:
        job: What to do.
        prior: The prior of the job, if it is loaded already.
        truth: A file to measure PSNR, SSIM and LPIPS against.
        force: Overwrite files.
        hooks: Called after every step.
        preview: As for `restore`.

    Raises:
        InvalidArgument: If a setting cannot be used.
        PictureError: If a file cannot be read or written, or exists without `force`.
        WeightsError: If the weights do not fit.
    """
    output, beside = Path(job.output), record_path(job.output)
    picture = read_picture(job.source)
    check_output(output, alpha=picture.alpha is not None, force=force)
    check_target(beside, force=force)
    wanted = None if truth is None else read_picture(truth)
    network = load_prior(job.prior) if prior is None else prior
    result = restore(
        picture,
        task=_task(job, picture),
        mask=_mask(job, picture),
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
        hooks=hooks,
        preview=preview,
    )
    record = _record(job, result, network)
    if wanted is not None:
        record["metrics"] = compare(result.picture, wanted)
    write_picture(output, result.picture, force=force)
    write_whole(beside, _json(record), force=force)
    return record


def replay(
    path: str | Path, *, output: str | Path | None = None, force: bool = False
) -> dict[str, Any]:
    """Run a record again, and check that inputs, weights and pixels are the same.

    Arguments:
        path: The record.
        output: Where to write instead of the record's own output.
        force: Overwrite files.

    Raises:
        RecordError: If the file is no record, an input or the weights changed, or the pixels
            differ (the file is written, and the message says so).
    """
    record = read_record(path)
    job = Job(**record["job"])
    if output is not None:
        job = replace(job, output=str(output))
    for name, digest in record["inputs"].items():
        own = OWN.fullmatch(getattr(job, name)) if name == "task" else None
        source = own[1] if own else getattr(job, name)
        if not Path(source).is_file() or file_hash(source) != digest:
            raise RecordError(f"{path}: expected {name} {source} as it was, got another or none")
    prior = load_prior(job.prior)
    if weights_hash(prior) != record["weights"]:
        raise RecordError(
            f"{path}: expected weights {record['weights']}, got {weights_hash(prior)}"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(record["threads"])  # another number may round differently
    try:
        again = run(job, prior=prior, force=force)
    finally:
        torch.set_num_threads(threads)
    if again["pixels"] != record["pixels"]:
        raise RecordError(
            f"{path}: expected pixels {record['pixels']}, got {again['pixels']} in {job.output} "
            f"(the record is of torch {record['versions']['torch']})"
        )
    return again


def simulate(
    source: str | Path,
    output: str | Path,
    *,
    task: str,
    mask: str | None = None,
    scale: int | None = None,
    kernel: str | None = None,
    noise: float = 0.0,
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Degrade a file; writes the result, its mask or kernel, and a record beside it.

    Arguments and errors as for `run`.
    """
    output = Path(output)
    picture = read_picture(source)
    job = Job(str(source), str(output), task, mask, False, scale, kernel, noise, seed=seed)
    made_mask = _mask(job, picture)
    made_kernel, notes = None, list[str]()
    if kernel is not None:
        found = read_kernel(kernel)
        made_kernel = found.psf
        notes.extend(found.notes)
    degraded = degrade(
        picture,
        task=task,
        mask=made_mask,
        scale=scale,
        kernel=made_kernel,
        noise=noise,
        seed=seed,
    )
    if scale and any(n % scale for n in picture.pixels.shape[-2:]):
        notes.append(f"The size was extended to a multiple of {scale}.")
    beside = {}
    if made_mask is not None:
        beside["mask"] = output.with_name(f"{output.stem}.mask.png")
    if made_kernel is not None:
        beside["kernel"] = output.with_name(f"{output.stem}.kernel.npy")
    check_output(output, alpha=picture.alpha is not None, force=force)
    for path in (*beside.values(), record_path(output)):
        check_target(path, force=force)
    write_picture(output, degraded, force=force)
    if made_mask is not None:
        write_picture(beside["mask"], Picture(made_mask), force=force)
    if made_kernel is not None:
        buffer = BytesIO()
        np.save(buffer, made_kernel.numpy())
        write_whole(beside["kernel"], buffer.getvalue(), force=force)
    record = {
        "format": FORMAT,
        "command": "degrade",
        "job": asdict(job),
        "notes": notes,
        "units": UNITS,
        "versions": versions(),
        **{name: str(path) for name, path in beside.items()},
    }
    write_whole(record_path(output), _json(record), force=force)
    return record


def compare(picture: Picture, truth: Picture) -> dict[str, float]:
    """PSNR in dB, SSIM and LPIPS of a picture against the truth; LPIPS from 64 x 64 pixels on.

    Raises:
        InvalidArgument: If the sizes differ.
    """
    from reddiff.metrics import LPIPS, psnr, ssim

    x, t = picture.pixels[None], truth.pixels[None]
    if x.shape[-2:] != t.shape[-2:]:
        raise InvalidArgument("truth", expected=f"size {x.shape[-2:]}", got=t.shape[-2:])
    x, t = (v.expand(-1, max(x.shape[1], t.shape[1]), -1, -1) for v in (x, t))
    values = {"psnr": float(psnr(x, t)), "ssim": float(ssim(x, t))}
    if min(x.shape[-2:]) >= 64:
        rgb_x, rgb_t = (v.expand(-1, 3, -1, -1) for v in (x, t))
        values["lpips"] = float(LPIPS()(rgb_x, rgb_t))
    return values


def record_path(output: str | Path) -> Path:
    """Where the record of an output is: its name with `.json` appended."""
    return Path(f"{output}.json")


def read_record(path: str | Path) -> dict[str, Any]:
    """A record from its file.

    Raises:
        RecordError: If it is none, or of another format version or command.
    """
    try:
        record = json.loads(Path(path).read_text())
        known = {f.name for f in fields(Job)}
        good = record["format"] == FORMAT and set(record["job"]) <= known
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: expected a reddiff record, got {error}") from error
    if not good or record["command"] != "restore":
        got = f"format {record['format']}, command {record.get('command')}"
        raise RecordError(f"{path}: expected a restore record of format {FORMAT}, got {got}")
    return dict(record)


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file, as 16 hexadecimal digits."""
    return sha256(Path(path).read_bytes()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """What was run."""
    return {
        "reddiff": version("reddiff"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def _task(job: Job, picture: Picture) -> str | Task:
    """The task; of `jpeg` what the file says: its compression, or at least its orientation."""
    if job.task == "jpeg":
        return Compressed(JPEG.of(job.source))
    if job.task.startswith("jpeg:") and picture.format == "JPEG" and picture.orientation != 1:
        task = make_task(job.task)
        if isinstance(task, Compressed):
            turn = Orientation(picture.orientation)
            return Compressed(JPEG(tables=task.codec.tables, orientation=turn))
    return job.task


def _mask(job: Job, picture: Picture) -> Tensor | None:
    if job.mask is None:
        return None
    return make_mask(job.mask, picture.size, seed=job.seed, fit=job.fit_mask)


def _record(job: Job, result: Restored, prior: Prior) -> dict[str, Any]:
    run = result.reconstruction
    paths = {"source": job.source, "mask": job.mask, "kernel": job.kernel}
    if own := OWN.fullmatch(job.task):
        paths["task"] = own[1]
    cost, ratio = asdict(run.cost), result.residual_ratio
    pixels = result.pixels.contiguous().numpy().tobytes()
    return {
        "format": FORMAT,
        "command": "restore",
        "versions": versions(),
        "units": UNITS,
        "job": asdict(job),
        "inputs": {k: file_hash(p) for k, p in paths.items() if p and Path(p).is_file()},
        "weights": weights_hash(prior),
        "solver": run.snapshot.solver,
        "noise": result.noise,
        "noise_estimated": result.estimated,
        "residual_ratio": ratio if math.isfinite(ratio) else None,  # JSON has no inf
        "status": Status(int(run.status[0, 0])).name,
        "cost": cost | {"evaluations": cost["evaluations"][0], "vjps": cost["vjps"][0]},
        "threads": torch.get_num_threads(),
        "notes": list(result.notes),
        "pixels": sha256(pixels).hexdigest()[:16],
    }

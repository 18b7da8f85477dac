"""Degraded files: measurements simulated from pictures, for tests of what restores them."""

from __future__ import annotations

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from reddiff.errors import require
from reddiff.files import check_target, write_together
from reddiff.images.custom_errors import blamed
from reddiff.images.io import MAX_PIXELS, Picture, check_output, encode, read_kernel, read_picture
from reddiff.images.masks import make_mask
from reddiff.images.records import FORMAT, UNITS, Job, as_json, record_path, relative_to, versions
from reddiff.images.restoration import degrade


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
    parents: bool = False,
) -> dict[str, Any]:
    """Degrade a file; writes its mask or kernel, a record, and then the result.

    Arguments and errors as for `jobs.run`.
    """
    output = Path(output)
    check_output(output, force=force, parents=parents)
    job = Job(str(source), str(output), task, mask, False, scale, kernel, noise, seed=seed)
    picture = read_picture(source)
    check_output(output, alpha=picture.alpha is not None, force=force, parents=parents)
    _check_scale(scale, picture)
    notes: list[str] = []
    made_mask = None if mask is None else make_mask(mask, picture.size, seed=seed)
    made_kernel = None
    if kernel is not None:
        found = read_kernel(kernel)
        made_kernel = found.psf
        notes.extend(found.notes)
    beside = {}
    if made_mask is not None:
        beside["mask"] = output.with_name(f"{output.stem}.mask.png")
    if made_kernel is not None:
        beside["kernel"] = output.with_name(f"{output.stem}.kernel.npy")
    for path in (*beside.values(), record_path(output)):
        check_target(path, force=force, parents=parents)
    with blamed(task):
        degraded = degrade(
            picture,
            task=task,
            mask=made_mask,
            scale=scale,
            kernel=made_kernel,
            noise=noise,
            seed=seed,
        )
    if scale and any(n % scale for n in picture.size):
        notes.append(
            f"The size was extended to a multiple of {scale}. `restore --truth` compares what lies "
            "in both pictures."
        )
    files = []
    if made_mask is not None:
        files.append((beside["mask"], encode(beside["mask"], Picture(made_mask))))
    if made_kernel is not None:
        buffer = BytesIO()
        np.save(buffer, made_kernel.numpy())
        files.append((beside["kernel"], buffer.getvalue()))
    move = relative_to(output.parent)
    record = {
        "format": FORMAT,
        "command": "degrade",
        "job": asdict(job.moved(move)),
        "notes": notes,
        "units": UNITS,
        "versions": versions(),
    }
    made = {name: str(path) for name, path in beside.items()}
    saved = as_json(record | {name: move(path) for name, path in made.items()})
    files += [(record_path(output), saved), (output, encode(output, degraded))]
    write_together(files, force=force)
    return record | made


def _check_scale(scale: int | None, picture: Picture) -> None:
    """The picture is extended to a multiple of the scale: it must stay a picture."""
    if scale is None:
        return
    height, width = picture.size
    good = scale >= 1 and (height + scale) * (width + scale) <= MAX_PIXELS
    require(good, "scale", expected="a whole number from 1, for a picture of its size", got=scale)

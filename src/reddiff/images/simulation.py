"""Simulate degraded pictures from files, with a record of each simulation."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from reddiff.errors import require
from reddiff.files import check_target, write_together
from reddiff.images.degradation import degrade_with
from reddiff.images.io import (
    MAX_PIXELS,
    Picture,
    as_range,
    check_output,
    encode,
    read_kernel,
    read_picture,
)
from reddiff.images.jobs import Job
from reddiff.images.masks import make_mask
from reddiff.images.records import FORMAT, UNITS, as_json, record_path, relative_to, versions
from reddiff.images.settings import Degradation, Settings, check_numbers, words
from reddiff.images.tasks.custom import blamed


def simulate(
    source: str | Path,
    output: str | Path,
    settings: Degradation,
    *,
    force: bool = False,
    parents: bool = False,
) -> dict[str, Any]:
    """Degrade a file; write the mask or kernel, a record, and then the result.

    Arguments:
        source: The picture's file.
        output: The degraded picture's file.
        settings: How to degrade it, as on the command line.
        force: Overwrite files.
        parents: Make the folder of the output if it is missing.

    Returns:
        The record, with the files of the mask and the kernel as `mask` and `kernel`.

    Raises:
        InvalidArgument: If a setting cannot be used.
        PictureError: If a file cannot be read or written, or exists without `force`.
    """
    output, mask, kernel = Path(output), settings.mask, settings.kernel
    check_numbers(settings)
    check_output(output, force=force, parents=parents)
    picture = read_picture(source, page=settings.page, value_range=as_range(settings.range))
    check_output(output, alpha=picture.alpha is not None, force=force, parents=parents)
    _check_scale(settings.scale, picture)
    notes: list[str] = []
    made: dict[str, tuple[Path, bytes]] = {}
    exact = replace(settings, page=None, range=None)
    if mask is not None:
        found = make_mask(str(mask), picture.size, seed=settings.seed, fit=settings.fit_mask)
        path = output.with_name(f"{output.stem}.mask.png")
        made["mask"] = path, encode(path, Picture(found))
        exact = replace(exact, mask=found)
    if kernel is not None:
        psf = read_kernel(str(kernel))
        notes.extend(psf.notes)
        buffer = BytesIO()
        np.save(buffer, psf.psf.numpy())
        made["kernel"] = output.with_name(f"{output.stem}.kernel.npy"), buffer.getvalue()
        exact = replace(exact, kernel=psf.psf)
    for path in (*(path for path, _ in made.values()), record_path(output)):
        check_target(path, force=force, parents=parents)
    with blamed(str(settings.task)):
        degraded = degrade_with(picture, exact)
    if settings.scale and any(n % settings.scale for n in picture.size):
        notes.append(
            f"The size was extended to a multiple of {settings.scale}. `restore --truth` compares "
            "the common part of the two pictures."
        )
    entries = words(settings) | {"noise": settings.noise or 0.0}
    job = Job(str(source), str(output), Settings(**entries))
    move = relative_to(output.parent)
    moved = job.moved(move).entries
    record = {
        "format": FORMAT,
        "command": "degrade",
        "job": {name: moved[name] for name in ("source", "output", *entries)},
        "notes": notes,
        "units": UNITS,
        "versions": versions(),
    }
    paths = {name: str(path) for name, (path, _) in made.items()}
    saved = as_json(record | {name: move(path) for name, path in paths.items()})
    files = [*made.values(), (record_path(output), saved), (output, encode(output, degraded))]
    write_together(files, force=force)
    return record | paths


def _check_scale(scale: int | None, picture: Picture) -> None:
    """Raise an error if the scale would extend the picture beyond the largest size."""
    if scale is None:
        return
    height, width = picture.size
    good = (height + scale) * (width + scale) <= MAX_PIXELS
    require(good, "scale", expected="a scale that fits the size of the picture", got=scale)

"""The record of a large picture, and what stands in the way of one."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from reddiff.errors import PictureError, ReddiffError
from reddiff.files import check_target, read_regular, write_error
from reddiff.images.records import MAX_BYTES, record_path, relative_to, versions
from reddiff.large.formats import open_large
from reddiff.large.plan import Large, differences, plan_id
from reddiff.large.preparation import Prepared

FORMAT = 1


def earlier_record(request: Large, prepared: Prepared) -> dict[str, Any] | None:
    """The record of a run of the same plan, if it is there.

    Raises:
        PictureError: If the output or its record is there and of something else, without `force`.
    """
    output, beside = request.output, record_path(request.output)
    try:
        found = json.loads(read_regular(beside, MAX_BYTES))
        old: Mapping[str, Any] = found["plan"]
    except (PictureError, ValueError, KeyError, TypeError):
        old = found = {}
    if found and old == prepared.plan:
        return found
    if request.force:
        if not _is_store(output):
            check_target(output, force=True)
        return None
    if output.exists() and old:
        changed = "; ".join(differences(old, prepared.plan)[:4])
        expected = "a new file, or one of the same run (--force replaces it)"
        raise PictureError(
            output, expected=expected, got=f"one of another run: {changed}", errno=errno.EEXIST
        )
    if _is_store(output):
        raise write_error(output, FileExistsError(errno.EEXIST, "file exists"))
    check_target(output)
    check_target(beside)
    return None


def _is_store(output: Path) -> bool:
    """Whether a folder is a picture in Zarr; what else it may be is never replaced."""
    if not output.is_dir():
        return False
    try:
        open_large(output)
    except ReddiffError:
        return False
    return True


def require_disk(output: Path, prepared: Prepared) -> None:
    """Refuse a result that does not fit the disk."""
    canvas, source = prepared.canvas, prepared.work.source
    needed = prod(canvas.layout.shape) * source.dtype.itemsize
    free = shutil.disk_usage(output.absolute().parent).free
    if needed > free:
        expected = f"a disk with {needed / 1e9:.3g} GB free"
        raise PictureError(output, expected=expected, got=f"{free / 1e9:.3g} GB", errno=28)


def record_of(
    request: Large, prepared: Prepared, noted: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """The record of a finished picture."""
    grid, pictures = prepared.work.grid, prepared.work.source.layout.pictures
    count = sum(map(len, grid.windows))
    area = sum(prod(box.size) for row in grid.windows for box in row) / prod(grid.size)
    return {
        "format": FORMAT,
        "command": "large",
        "versions": versions(),
        "job": request.job.moved(relative_to(request.output.parent)).entries,
        "plan": prepared.plan,
        "plan_id": plan_id(prepared.plan),
        **noted,
        "limits": prepared.work.limits,
        "shape": prepared.canvas.layout.shape,
        "dtype": str(prepared.work.source.dtype),
        "windows": count * len(pictures),
        "solved_twice": area - 1,
        "missing": prepared.found.missing / prepared.found.values,
        "seconds": seconds,
        "notes": prepared.notes,
    }

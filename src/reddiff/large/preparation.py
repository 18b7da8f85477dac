"""All that can fail before the first window does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.images.io import as_range
from reddiff.images.job_tasks import PIXEL_BYTES
from reddiff.images.memory import require_memory
from reddiff.interop import door
from reddiff.large.formats import format_of, open_large
from reddiff.large.formats.base import Canvas, Source
from reddiff.large.grid import Grid
from reddiff.large.parts import Parts
from reddiff.large.plan import Large, plan_of
from reddiff.large.scanning import Scan, limits, scan
from reddiff.large.tasks import WindowTask
from reddiff.large.windows import Work
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash


@dataclass(frozen=True)
class Prepared:
    """What is to be done, with everything opened.

    Arguments:
        work: What every window needs.
        canvas: The result.
        plan: All that decides the pixels.
        found: What a pass over the source found.
        notes: Notes, in sentences.
    """

    work: Work
    canvas: Canvas
    plan: Mapping[str, Any]
    found: Scan
    notes: tuple[str, ...]


def prepare(request: Large, prior: Prior | None) -> Prepared:
    """Open and read everything once.

    Raises:
        InvalidArgument, PictureError, WeightsError: As for `restore_large`.
    """
    settings = request.settings
    request.job.check()
    kind = format_of(request.source)
    if format_of(request.output) is not kind:
        expected = f"a {request.source.suffix} file, as the input is"
        raise PictureError(request.output, expected=expected, got=request.output.suffix or "none")
    _check_apart(request.output, {"IN": request.source, "the mask": settings.mask})
    task = WindowTask.of(settings)
    Grid((1, 1), request.window, request.overlap)  # refuses an overlap that does not fit
    expected = f"at least {task.reach} pixels, the reach of the task {task.name}"
    require(request.overlap >= task.reach, "--overlap", expected=expected, got=request.overlap)
    opened = open_large(request.source, settings.page)
    source = replace(opened, layout=opened.layout.with_channels(request.channels))
    mask = None if settings.mask is None else _mask(Path(str(settings.mask)), source)
    nodata = source.nodata if request.nodata is None else request.nodata
    nodata = _checked(nodata, source)
    if request.nodata is not None:
        source = replace(source, nodata=nodata)
    side = min(request.window, max(source.layout.size)) * task.scale
    require_memory(PIXEL_BYTES * side**2, f"a window (of {side}x{side} pixels)")
    parts = Parts(request.output)
    canvas = kind.canvas(parts.folder, source, task.scale)
    grid = Grid(source.layout.size, request.window, request.overlap, task.scale, canvas.chunk)
    network = door.prior(str(settings.prior)) if prior is None else prior
    found = scan(source, nodata)
    low, high, said = limits(source, found, as_range(settings.range))
    kept = None if mask is None else scan(mask)
    plain = replace(settings, mask=None, kernel=None, scale=None, range=None, page=None)
    work = Work(source, grid, task, plain, network, (low, high), nodata, mask, _white(mask, kept))
    if mask is not None:
        _check_windows(work)
    plan = plan_of(request, weights=weights_hash(network), found=found, mask=kept, nodata=nodata)
    return Prepared(work, canvas, plan, found, (*source.notes, *task.notes, *said))


def _check_apart(output: Path, inputs: Mapping[str, object]) -> None:
    """Refuse an output that is an input, or lies in one, or holds one."""
    place = output.resolve()
    for name, path in inputs.items():
        if path is None:
            continue
        other = Path(str(path)).resolve()
        require(place != other, "OUT", expected=f"another file than {name}", got=output)
        apart = place not in other.parents and other not in place.parents
        require(apart, "OUT", expected=f"a place apart from {name}", got=output)


def _mask(path: Path, source: Source) -> Source:
    """The mask in a file, for a source."""
    mask = open_large(path)
    if (
        mask.layout.size != source.layout.size
        or len(mask.layout.pictures) != 1
        or mask.layout.color
    ):
        (h, w) = source.layout.size
        expected = f"a mask of one channel and {w}x{h} pixels, as the picture has"
        raise PictureError(path, expected=expected, got=f"shape {mask.layout.shape}")
    return mask


def _white(mask: Source | None, found: Scan | None) -> float:
    """The least value of a mask that is kept: half of white, which is 1 if no value is above it."""
    if mask is None or found is None or mask.dtype.kind not in "iu" or found.high <= 1:
        return 0.5
    return float(np.iinfo(mask.dtype).max) / 2


def _check_windows(work: Work) -> None:
    """Refuse a hole that no window looks beyond."""
    for picture in work.source.layout.pictures:
        for row in work.grid.windows:
            for box in row:
                read = work.read(picture, box)
                if not read.known and read.kept is not None and not bool(read.kept.all()):
                    expected = "kept pixels in every window (a larger --window has some)"
                    raise InvalidArgument("mask", expected=expected, got=f"none in {box}")


def _checked(nodata: float | None, source: Source) -> float | None:
    """The nodata value, if values of the source can be it; None for NaN, which is missing anyway.

    Raises:
        InvalidArgument: If they cannot.
    """
    if nodata is None or isnan(nodata):
        return None
    if source.dtype.kind == "f":
        return float(source.dtype.type(nodata))
    limit = (
        (0, 1)
        if source.dtype.kind == "b"
        else (np.iinfo(source.dtype).min, np.iinfo(source.dtype).max)
    )
    good = nodata == round(nodata) and limit[0] <= nodata <= limit[1]
    expected = f"a value of {source.dtype}, from {limit[0]} to {limit[1]}"
    require(good, "--nodata", expected=expected, got=f"{nodata:g}")
    return nodata

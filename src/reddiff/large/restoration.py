"""Restore one large picture, window by window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from reddiff.errors import InvalidArgument
from reddiff.large.grid import Box
from reddiff.large.layout import Index
from reddiff.large.outcome import earlier_record, record_of, require_disk
from reddiff.large.parts import Parts, writing
from reddiff.large.plan import Large
from reddiff.large.preparation import Prepared, prepare
from reddiff.large.watcher import LargeResult, Watcher
from reddiff.priors.base import Prior


def restore_large(
    request: Large, *, prior: Prior | None = None, watcher: Watcher | None = None
) -> LargeResult:
    """Restore a picture that may be larger than memory.

    It is cut into windows that overlap. Each is restored alone, with random numbers that depend on
    the seed, its content and its place, and written to the folder `OUT.parts`. Where windows
    overlap, the result is their weighted mean. It takes its name when it is complete. After an
    interruption, the same call does what is missing, and the result has the same pixels.

    A window as large as the picture is the picture as a whole.

    Arguments:
        request: What is to be done.
        prior: The prior, if it is loaded already.
        watcher: Is told of every window.

    Raises:
        InvalidArgument: If an argument cannot be used, or the task is not the same at every place.
        PictureError: If a file cannot be read or written, exists, or was begun by another run.
        WeightsError: If the weights do not fit.
        Diverged: If a value became NaN or inf.
    """
    watcher = Watcher() if watcher is None else watcher
    prepared = prepare(request, prior)
    record = earlier_record(request, prepared)
    parts = Parts(request.output)
    if record is not None and request.output.exists():
        parts.remove()
        return LargeResult(record, record["windows"], fresh=False)
    with parts.locked():
        noted = parts.begin(prepared.plan, force=request.force)
        if not noted:
            require_disk(request.output, prepared)
            noted = _noise(prepared)
            parts.write_plan(prepared.plan, noted)
        prepared = replace(
            prepared,
            work=replace(
                prepared.work, settings=replace(prepared.work.settings, noise=noted["noise"])
            ),
        )
        started = time.monotonic()
        try:
            with writing(request.output):
                prepared.canvas.create()
            earlier = _windows(prepared, parts, watcher)
            with writing(request.output):
                result = prepared.canvas.finish()
        finally:
            prepared.canvas.close()
        record = record_of(request, prepared, noted, time.monotonic() - started)
        parts.place(result, record)
    return LargeResult(record, earlier)


def _windows(prepared: Prepared, parts: Parts, watcher: Watcher) -> int:
    """Restore all windows that are missing; the number of those that were there."""
    work, finished = prepared.work, parts.finished
    rows, pictures = work.grid.windows, list(enumerate(work.source.layout.pictures))

    def done(number: int, row: int, column: int) -> bool:
        stop = rows[row][column].rows.stop * work.grid.scale
        written = stop <= finished.get(str(number), 0)
        return written or parts.window_path(number, row, column).exists()

    places = [(n, i, j) for n, _ in pictures for i, row in enumerate(rows) for j in range(len(row))]
    earlier = sum(done(*place) for place in places)
    watcher.begin(len(places), earlier, prepared.notes)
    for number, picture in pictures:
        for i, row in enumerate(rows):
            for j, box in enumerate(row):
                if not done(number, i, j):
                    path = parts.window_path(number, i, j)
                    parts.write_window(path, work.restore(picture, box))
                    watcher(box)
            _publish(prepared, parts, number, picture, i)
    return earlier


def _publish(prepared: Prepared, parts: Parts, number: int, picture: Index, row: int) -> None:
    """Write the rows of the result that are complete after a row of windows."""
    grid, canvas, layout = prepared.work.grid, prepared.canvas, prepared.canvas.layout
    rows, whole = grid.windows, slice(0, grid.size[1])
    last = row + 1 == len(rows)
    complete = (grid.size[0] if last else rows[row + 1][0].rows.start) * grid.scale

    def windows(part: Box) -> Iterator[tuple[Box, NDArray[Any]]]:
        for i, boxes in enumerate(rows):
            if part.inside(Box(boxes[0].rows, whole).times(grid.scale)) is None:
                continue
            for j, box in enumerate(boxes):
                if part.inside(box.times(grid.scale)) is not None:
                    yield box, parts.window(parts.window_path(number, i, j))

    stop = written = parts.finished.get(str(number), 0)
    for line in grid.parts:
        if written < line[0].rows.stop <= complete:
            for part in line:
                values = prepared.work.blend(picture, part, windows(part))
                with writing(parts.output):
                    canvas.write(layout.at(picture, part.rows, part.columns), values)
            stop = line[0].rows.stop
    if stop == written:
        return
    with writing(parts.output):
        canvas.flush()
    parts.finish_rows(number, stop)
    for i, boxes in enumerate(rows):
        for j, box in enumerate(boxes):
            if written < box.rows.stop * grid.scale <= stop:
                parts.window_path(number, i, j).unlink(missing_ok=True)


def _noise(prepared: Prepared) -> dict[str, Any]:
    """The noise level of all windows, and whether it is an estimate."""
    work = prepared.work
    if work.settings.noise is not None:
        return {"noise": work.settings.noise, "noise_estimated": False}
    level = work.noise_level()
    if level is None:
        expected = "a level (--noise), as too few pixels are measured to estimate it"
        raise InvalidArgument("noise", expected=expected, got="none")
    return {"noise": level, "noise_estimated": True}

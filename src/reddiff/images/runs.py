"""Restore files, with a record of each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reddiff.files import check_target, write_together, write_whole
from reddiff.hooks import Hook
from reddiff.images.animation import Animation
from reddiff.images.comparison import common_size, compare
from reddiff.images.io import Picture, as_range, check_output, picture_size, read_picture
from reddiff.images.jobs import Job, file_hash
from reddiff.images.making import Made, make
from reddiff.images.records import as_json, record_path, relative_to
from reddiff.images.spread import Spread
from reddiff.interop import door
from reddiff.priors.base import Prior
from reddiff.priors.photo import weights_hash


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

    Predictable failures are raised before the run. The picture is written last, after its record
    and its animation; metrics are computed after that.

    Arguments:
        job: The job.
        prior: The prior of the job, if it is already loaded.
        truth: The file of the true picture, to compute PSNR, SSIM and LPIPS.
        force: Overwrite files.
        parents: Make the folder of the output if it is missing.
        hooks: Called after every step.
        film: Collects the estimates of the run for an animation.
        spread: The outputs on the draws.

    Raises:
        InvalidArgument: If a setting cannot be used.
        PictureError: If a file cannot be read or written, or exists without `force`.
        WeightsError: If the weights do not fit the network.
        Diverged: If a value became NaN or inf, unless `job.keep_diverged` is set.
    """
    opened = open_run(job, prior=prior, truth=truth, force=force, parents=parents, spread=spread)
    made = make(job, opened.picture, opened.prior, hooks=hooks, film=film, check=opened.check)
    return write_run(opened, made, film=film, spread=spread)


@dataclass(frozen=True, eq=False)
class Opened:
    """A run that can begin, as far as that is known without its work.

    Arguments:
        job: What to do.
        picture: The degraded picture.
        prior: The prior.
        truth: The picture to compare the result with, or None.
        replaced: The hash of the file that the result will replace, or None.
        force: Whether files may be replaced.
        check: Refuses a result of a height and width that cannot be used.
    """

    job: Job
    picture: Picture
    prior: Prior
    truth: Picture | None
    replaced: str | None
    force: bool
    check: Callable[[tuple[int, int]], None]


def open_run(
    job: Job,
    *,
    prior: Prior | None = None,
    truth: str | Path | None = None,
    force: bool = False,
    parents: bool = False,
    spread: Spread | None = None,
) -> Opened:
    """Read what a run needs, and refuse what can be known to fail. Arguments as for `run`."""
    output, beside, settings = Path(job.output), record_path(job.output), job.settings
    job.check()
    check_output(output, force=force, parents=parents)
    check_target(beside, force=force, parents=parents)
    picture = read_picture(job.source, page=settings.page, value_range=as_range(settings.range))
    check_output(output, alpha=picture.alpha is not None, force=force, parents=parents)
    replaced = file_hash(output) if output.is_file() else None
    network = door.prior(str(settings.prior)) if prior is None else prior
    size = None if truth is None else picture_size(truth)

    def check(made: tuple[int, int]) -> None:
        if size is not None:
            common_size(made, size, settings.scale or 1)
        if spread is not None:
            spread.check(output, settings, made, weights_hash(network), force=force)

    wanted = None
    if truth is not None:
        wanted = read_picture(truth, value_range=as_range(settings.range))
    return Opened(job, picture, network, wanted, replaced, force, check)


def write_run(
    opened: Opened, made: Made, *, film: Animation | None = None, spread: Spread | None = None
) -> dict[str, Any]:
    """Write what a run made, and return its record. Arguments as for `run`."""
    job, force = opened.job, opened.force
    output, beside = Path(job.output), record_path(job.output)
    result, data = made.result, made.data
    record = made.record | {"replaced": opened.replaced}
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
    if opened.truth is None:
        return record
    try:
        scale = job.settings.scale or 1
        measured: dict[str, Any] = {"metrics": compare(result.picture, opened.truth, scale)}
    except Exception as error:  # noqa: BLE001 - the picture is there: nothing may undo that
        note = f"The result is written, but could not be compared with the truth: {error}"
        measured = {"notes": [*record["notes"], note]}
    write_whole(beside, as_json(saved | measured), force=True)
    return record | measured

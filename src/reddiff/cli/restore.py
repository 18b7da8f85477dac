"""`reddiff restore`: restore degraded pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli.batch import run_batch
from reddiff.cli.options import Batch, Ext, Force, KeepDiverged, Recursive, some_path, with_settings
from reddiff.cli.terminal import flat
from reddiff.images.reports import OnExisting
from reddiff.images.settings import Settings

if TYPE_CHECKING:
    from reddiff.images.folders import Found
    from reddiff.images.spread import Spread


@with_settings(Settings)
def restore(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN...", help="The degraded pictures: files, folders or patterns."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The restored picture, or a folder. In a folder, names and formats are kept.",
        ),
    ],
    settings: Settings,
    recursive: Recursive = False,
    ext: Ext = None,
    batch: Batch = "auto",
    suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="Append to the name of each result in a folder.")
    ] = "",
    on_existing: Annotated[
        OnExisting | None,
        typer.Option(
            help="If a result exists: error; skip (restore it again if settings, weights or inputs "
            "have changed); or overwrite (--force is short for this).",
            show_default="error",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="CSV", help="Write a table with one row per picture."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="PATH",
            help="Ground truth: print PSNR, SSIM and LPIPS against it. For several pictures, a "
            "folder with one of the name of each.",
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="DIR",
            help="Save an animation of the estimates in this folder.",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL",
            help="Level of the intervals of all pixels, such as 0.9. Writes their lower and upper "
            "ends and a map of their width beside the result. Sets --draws if it is not given.",
        ),
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHERE=WHAT",
            help="Print a statistic of a region with its interval. WHERE is box:X,Y,WIDTH,HEIGHT "
            "or MASK.png; WHAT is mean, sum, std, min, max or contrast. May be repeated.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FILE",
            help="Widen the intervals as `reddiff calibrate` found necessary. FILE is its output.",
        ),
    ] = None,
    save_draws: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="DIR", help="Save every draw in this folder."),
    ] = None,
    keep_diverged: KeepDiverged = False,
    force: Force = False,
) -> None:
    """Restore degraded pictures. Writes each result, and a record of the run beside it.

    If a run diverges, no picture is written and the exit code is 6.
    """
    from reddiff.errors import InvalidArgument
    from reddiff.images.jobs import Job
    from reddiff.images.partners import other_sizes, own_settings, own_truths

    some_path(output)
    spread, settings = _spread(settings, interval, roi or [], save_draws, calibration)
    if force and on_existing not in (None, OnExisting.OVERWRITE):
        expected = "overwrite or no value, together with --force"
        raise InvalidArgument("--on-existing", expected=expected, got=on_existing)
    found, pairs = _pairs(sources, output, ext or [], suffix, recursive=recursive)
    places = [place for _, place in found.files]
    each = own_settings(settings, places)
    todo = [
        Job(str(file), str(target), own, keep_diverged)
        for (file, target), own in zip(pairs, each, strict=True)
    ]
    many = len(todo) > 1 or todo[0].output != output
    truths = own_truths(truth, places)
    mode = OnExisting.OVERWRITE if force else on_existing or OnExisting.ERROR
    run_batch(
        todo,
        notes=[*found.notes, *map(flat, other_sizes(todo) if many else ())],
        folder=Path(output) if many else None,
        on_existing=mode,
        truths={job.output: file for job, file in zip(todo, truths, strict=True)},
        preview=preview,
        report=report,
        spread=spread,
        batch=batch,
    )


def _spread(
    settings: Settings,
    interval: float | None,
    rois: list[str],
    folder: Path | None,
    calibrated: Path | None,
) -> tuple[Spread | None, Settings]:
    """What to write of the spread of draws, and settings with enough of them."""
    if interval is None and not rois and folder is None and calibrated is None:
        return None, settings
    from dataclasses import replace

    from reddiff.errors import InvalidArgument
    from reddiff.images.regions import Region
    from reddiff.images.spread import Spread

    exact = None
    if calibrated is not None:
        from reddiff.images.calibration import read_calibration

        exact = read_calibration(calibrated)
        interval = exact.level if interval is None else interval
    spread = Spread(interval, folder, tuple(map(Region, rois)), exact)
    least = spread.least
    if settings.draws is None and least == 1:
        raise InvalidArgument("--draws", expected="a number beside --save-draws", got="none")
    return spread, settings if settings.draws is not None else replace(settings, draws=least)


def _pairs(
    sources: list[str], output: str, ext: list[str], suffix: str, *, recursive: bool
) -> tuple[Found, list[tuple[Path, Path]]]:
    """The pictures found, and pairs of a picture and its output."""
    from reddiff.errors import require
    from reddiff.images.folders import SUFFIXES, extensions, find
    from reddiff.images.io.writing import FORMATS
    from reddiff.images.naming import targets

    place = Path(output)
    kinds = extensions(ext) if ext else SUFFIXES
    found = find(sources, recursive=recursive, avoid=place, suffixes=kinds)
    names = len(sources) == 1 and sources[0] == str(found.files[0][0])  # a file, not a folder
    names = names or place.suffix.lower() in FORMATS
    single = len(found.files) == 1 and names and not place.is_dir() and output[-1] not in "/\\"
    named = single and suffix
    require(not named, "--suffix", expected="a folder as the output", got=f"the file {output}")
    return found, [(found.files[0][0], place)] if single else targets(found.files, place, suffix)

"""`reddiff restore`: restore degraded pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli.batch import run_batch
from reddiff.cli.options import Force, some_path, with_settings
from reddiff.images.reports import OnExisting
from reddiff.images.settings import Settings

if TYPE_CHECKING:
    from reddiff.images.folders import Found


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
            help="The restored picture, or a folder, which keeps names and formats.",
        ),
    ],
    settings: Settings,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search sub-folders too, and keep their structure.")
    ] = False,
    on_existing: Annotated[
        OnExisting | None,
        typer.Option(
            help="If a result exists: error; skip (redo it if settings, weights or inputs have "
            "changed); or overwrite, for which --force is short.",
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
            help="Ground truth: print PSNR, SSIM and LPIPS against it.",
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
    keep_diverged: Annotated[
        bool,
        typer.Option(
            "--keep-diverged", help="Write the last finite estimate of a run that diverged."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Restore degraded pictures. Writes each result, and a record of the run beside it.

    A run that diverges writes no picture and ends with code 6.
    """
    from reddiff.errors import InvalidArgument
    from reddiff.images.jobs import Job

    some_path(output)
    if force and on_existing not in (None, OnExisting.OVERWRITE):
        expected = "overwrite or no value, together with --force"
        raise InvalidArgument("--on-existing", expected=expected, got=on_existing)
    found, pairs = _pairs(sources, output, recursive=recursive)
    todo = [Job(str(file), str(target), settings, keep_diverged) for file, target in pairs]
    many = len(todo) > 1 or todo[0].output != output
    if truth is not None and len(todo) > 1:
        raise InvalidArgument("truth", expected="a single input for one truth", got=len(todo))
    mode = OnExisting.OVERWRITE if force else on_existing or OnExisting.ERROR
    run_batch(
        todo,
        notes=found.notes,
        folder=Path(output) if many else None,
        on_existing=mode,
        truth=truth,
        preview=preview,
        report=report,
    )


def _pairs(
    sources: list[str], output: str, *, recursive: bool
) -> tuple[Found, list[tuple[Path, Path]]]:
    """The pictures found, and pairs of a picture and its output."""
    from reddiff.images.folders import find, targets
    from reddiff.images.io.writing import FORMATS

    place = Path(output)
    found = find(sources, recursive=recursive, avoid=place)
    names = len(sources) == 1 and sources[0] == str(found.files[0][0])  # a file, not a folder
    names = names or place.suffix.lower() in FORMATS
    single = len(found.files) == 1 and names and not place.is_dir() and output[-1] not in "/\\"
    return found, [(found.files[0][0], place)] if single else targets(found.files, place)

"""`reddiff calibrate`: calibrate the intervals of draws on pictures whose truth is known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, some_path, with_settings
from reddiff.cli.terminal import flat, say
from reddiff.images.settings import Settings

if TYPE_CHECKING:
    from reddiff.images.calibration import Calibration


@with_settings(Settings)
def calibrate(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Sharp pictures that the prior was not trained on: files, folders or patterns.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="FILE", help="The calibration file."
        ),
    ],
    settings: Settings,
    interval: Annotated[
        float, typer.Option(metavar="LEVEL", help="Level of the intervals, such as 0.9.")
    ] = 0.9,
    size: Annotated[
        int | None,
        typer.Option(min=16, help="Crop the pictures to squares of this side. Default: no crop."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Also search sub-folders.")
    ] = False,
    force: Force = False,
) -> None:
    """Degrade and restore pictures, and compare the intervals with the truth.

    `reddiff restore --calibration FILE`, with the same task, noise, solver and prior, then gives
    intervals with the right coverage for pictures like these.
    """
    from reddiff.files import check_target, write_whole
    from reddiff.images.calibration_fit import calibrate as run
    from reddiff.images.folders import find

    check_target(output, force=force)
    found = find(images, recursive=recursive)
    for note in found.notes:
        say(note, error=True)
    interruptions.raise_from_now_on()
    begun, total = time.perf_counter(), len(found.files)

    def done(number: int, name: str) -> None:
        left = (time.perf_counter() - begun) * (total - number) / number
        say(f"{number}/{total} {flat(name)}; {left:.0f} s left", error=True)

    made = run([path for path, _ in found.files], settings, level=interval, size=size, done=done)
    write_whole(output, made.as_json(), force=force)
    for line in lines(made):
        say(line)


def lines(made: Calibration) -> list[str]:
    """A calibration in a few lines."""
    before, after = made.widths
    raw = made.coverage["draws"]
    level = f"{100 * made.level:g} %"
    found = [
        f"{made.images} pictures; inside the {level} intervals of the draws: "
        f"{100 * raw.share:.1f} % of the pixels ({100 * raw.low:.1f} to {100 * raw.high:.1f}), "
        f"width {before:.4f}",
        f"calibrated, by cross-validation (width {after:.4f}):",
    ]
    for name, factor in (("all", None), *made.factors.items()):
        entry = made.coverage.get(name)
        if entry is None:
            continue
        times = "" if factor is None else f", {factor:.2f} times as wide"
        found.append(
            f"  {name}: {100 * entry.share:.1f} % inside "
            f"({100 * entry.low:.1f} to {100 * entry.high:.1f}){times}"
        )
    found.append(f"means of boxes: {made.region:.2f} times as wide")
    if not made.distances:
        found.append("no check for unusual pictures: it needs 40 pictures")
    return found

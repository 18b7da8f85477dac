"""`reddiff degrade`: simulate a measurement of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, some_path, with_settings
from reddiff.cli.terminal import flat, say
from reddiff.images.settings import Degradation


@with_settings(Degradation)
def degrade(
    source: Annotated[
        Path, typer.Argument(parser=some_path, metavar="IN", help="The picture to degrade.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="PATH", help="The degraded picture."
        ),
    ],
    settings: Degradation,
    force: Force = False,
) -> None:
    """Simulate a degraded picture. Writes the result, its mask or kernel, and a record."""
    from reddiff.images.simulation import simulate

    interruptions.raise_from_now_on()
    record = simulate(source, output, settings, force=force)
    extra = [record[name] for name in ("mask", "kernel") if name in record]
    say(flat(", ".join([str(output), *extra])))
    for note in record["notes"]:
        say(f"  {note}")

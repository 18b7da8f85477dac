"""`reddiff probe`: find out whether a prior is wired as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import some_path
from reddiff.cli.terminal import say

WRONG = 1


def probe(
    prior: Annotated[str, typer.Argument(help="A prior, see `reddiff priors`, or a file.")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=some_path,
            metavar="[IMAGES]...",
            help="Pictures like those it was trained on; the first four are used. Default: photos.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="N", help="About how long it may take.")] = 50.0,
) -> None:
    """Check the wiring of a prior on known images; exit code 1 where something is wrong."""
    from reddiff.interop import door
    from reddiff.probing import probe as probe_prior
    from reddiff.probing.pictures import read_images

    network = door.prior(prior)
    known = read_images(images) if images else None
    result = probe_prior(network, known, seconds=seconds)
    say(f"{prior}: {result}")
    if not result:
        raise typer.Exit(WRONG)

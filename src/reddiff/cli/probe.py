"""`reddiff probe`: check that a prior evaluates its network as the network was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import some_path
from reddiff.cli.terminal import say
from reddiff.images.settings import Settings, options

WRONG = 1


def probe(
    prior: Annotated[str, typer.Argument(help=options(Settings)["prior"].help)],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=some_path,
            metavar="[IMAGES]...",
            help="Pictures like those the network was trained on; the first four are used. "
            "Default: photos of the package.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="N", help="Approximate time limit.")] = 50.0,
) -> None:
    """Check the prediction, schedule and pixel range of a prior on known images.

    The exit code is 1 if a mistake is found.
    """
    from reddiff.interop import door
    from reddiff.probing import probe as probe_prior
    from reddiff.probing.pictures import read_images

    network = door.prior(prior)
    known = read_images(images) if images else None
    result = probe_prior(network, known, seconds=seconds)
    say(f"{prior}: {result}")
    if not result:
        raise typer.Exit(WRONG)

"""`reddiff convert`: convert the checkpoint of a published network to a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import Force, some_path
from reddiff.cli.terminal import flat, say


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            parser=some_path, metavar="CHECKPOINT", help="The .pt or .safetensors file to convert."
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(parser=some_path, metavar="OUT", help="The .safetensors file to write."),
    ],
    arch: Annotated[
        str, typer.Option(metavar="NAME", help="The network, such as adm-256 or edm-64-vp.")
    ],
    half: Annotated[
        bool, typer.Option("--half", help="Write float16, at half the file size.")
    ] = False,
    force: Force = False,
) -> None:
    """Convert a checkpoint of a published network to a file for [bold]--prior[/bold].

    The checkpoint is read as data: a pickle that would run code is refused.
    """
    from reddiff.errors import require
    from reddiff.interop.conversion import convert as convert_weights

    ending = output.suffix == ".safetensors"
    require(ending, "OUT", expected="a name that ends with .safetensors", got=output)
    done = convert_weights(source, output, arch, half=half, force=force)
    size = output.stat().st_size / 1e6
    say(flat(f"{output}: {arch}, {done.parameters / 1e6:.1f} M parameters, {size:.1f} MB"))
    if done.place or done.others:
        say(flat(f"  from {done.place or 'the top'}; {done.others} other tensors left out"))

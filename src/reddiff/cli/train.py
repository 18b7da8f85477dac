"""`reddiff train`: train a small prior on your own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reddiff.cli.interruptions import INTERRUPTED
from reddiff.cli.options import Force, Seed, some_path
from reddiff.cli.terminal import flat, say

if TYPE_CHECKING:
    from reddiff.training.command import Row


def train(
    folder: Annotated[
        Path,
        typer.Argument(
            parser=some_path, metavar="FOLDER", help="The folder of pictures or .npy arrays."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="FILE",
            help="The .safetensors file to write.",
        ),
    ],
    hours: Annotated[
        float | None, typer.Option(help="Training time in hours. Default: 1 without --steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of training steps.")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the network: tiny, small, medium or large. Default: from the hours."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint beside the output.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 2.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Train a small prior on your pictures, for use with [bold]--prior FILE[/bold]."""
    from reddiff.training import train as train_prior

    over = train_prior(
        folder,
        output,
        hours=hours,
        steps=steps,
        size=size,
        resume=resume,
        force=force,
        seed=seed,
        device=device,
        minutes=minutes,
        report=_tell,
    )
    if not over:
        say(flat(f"{output}: stopped; --resume continues from the checkpoint beside it"))
        raise typer.Exit(INTERRUPTED)
    say(flat(f"{output}: done; its loss is in {output.with_suffix('.csv')}"))


def _tell(row: Row) -> None:
    psnr = "" if row.psnr is None else f", held-out PSNR {row.psnr:.2f} dB"
    minutes, left = 60 * row.hours, 60 * row.left
    say(f"step {row.step}, {minutes:.1f} min: loss {row.loss:.4f}{psnr}; {left:.1f} min left")

"""`reddiff degrade`: simulate a measurement of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, KernelText, MaskText, Scale, Seed, TaskName, some_path
from reddiff.cli.terminal import say


def degrade(
    source: Annotated[Path, typer.Argument(parser=some_path, metavar="IN", help="The picture.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="PATH", help="The degraded picture."
        ),
    ],
    task: TaskName = None,
    mask: MaskText = None,
    scale: Scale = None,
    kernel: KernelText = None,
    noise: Annotated[float, typer.Option(help="Its standard deviation, pixels in [0, 1].")] = 0.0,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Degrade a picture. Writes it, its mask or kernel, and a record."""
    from reddiff.images import jobs

    if task is None:
        raise typer.BadParameter("needs --task")
    interruptions.raise_from_now_on()
    record = jobs.simulate(
        source,
        output,
        task=task,
        mask=mask,
        scale=scale,
        kernel=kernel,
        noise=noise,
        seed=seed,
        force=force,
    )
    extra = [record[name] for name in ("mask", "kernel") if name in record]
    say(", ".join([str(output), *extra]))
    for note in record["notes"]:
        say(f"  {note}")

"""`reddiff replay`: run a record again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli import interruptions
from reddiff.cli.options import Force, Record, some_path
from reddiff.cli.terminal import flat, say


def replay(
    record: Record,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="PATH",
            help="Write to this file instead of the output in the record.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME",
            help="Required if the record runs code from a file. Read the file first.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Run a record again, and verify that inputs, weights and pixels are the same."""
    from reddiff.images import replays

    interruptions.raise_from_now_on()
    made = replays.replay(record, output=output, task=task, force=force)
    say(flat(f"{made['job']['output']}: the same pixels, {made['pixels']}"))

"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def some_path(text: str) -> Path:
    """A path that is not empty: `Path("")` would be the folder one stands in."""
    if not text or "\0" in text:
        raise typer.BadParameter("expected the name of a file or folder, got an empty one")
    return Path(text)


TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="See `reddiff tasks`: inpaint, sr, deblur, jpeg:10, ...; or FILE.py:NAME of your own.",
    ),
]
MaskText = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="inpaint: a picture, white where kept; or random:0.7, box:96, brush:10-20, ...",
    ),
]
Fit = Annotated[bool, typer.Option("--fit-mask", help="Resize a mask of another size.")]
Scale = Annotated[int | None, typer.Option("--scale", help="sr: how many times larger.")]
KernelText = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        help="deblur: a .png, .npy or .npz; or gaussian:1.6, motion:15,30, disk:3, levin:1, ...",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option("--noise", help="Its standard deviation, pixels in [0, 1]; or estimated."),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="What black and white are in the file: for floats, and for 12 bits in 16 (0,4095).",
    ),
]
Page = Annotated[
    int | None,
    typer.Option("--page", min=1, help="Which page of a TIFF, or frame of an animation."),
]
Seed = Annotated[int, typer.Option("--seed", help="Random seed.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files.")]

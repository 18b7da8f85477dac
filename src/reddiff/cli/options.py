"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Seed = Annotated[int, typer.Option("--seed", help="Of all randomness.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files.")]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def pictures_in(sources: list[str]) -> list[Path]:
    """The files that names, folders and patterns stand for, sorted within each.

    Raises:
        InvalidArgument: If a folder or pattern holds none.
    """
    import glob

    from reddiff.errors import InvalidArgument

    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        elif not path.exists() and any(c in source for c in "*?["):
            files = sorted(Path(p) for p in glob.iglob(source, recursive=True) if Path(p).is_file())  # noqa: PTH207
        else:
            files = [path]
        if not files:
            raise InvalidArgument("IN", expected=f"pictures in {source}", got="none")
        found += files
    return found

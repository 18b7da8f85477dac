"""`reddiff large`: restore one picture that may be larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import Force, some_path, with_settings
from reddiff.images.settings import Settings
from reddiff.large.channels import Channels


@with_settings(Settings)
def large(
    source: Annotated[
        Path,
        typer.Argument(
            parser=some_path, metavar="IN", help="The degraded picture: a .tif, .zarr or .npy."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="OUT",
            help="The restored picture, of the same format.",
        ),
    ],
    settings: Settings,
    window: Annotated[
        int, typer.Option(metavar="SIZE", help="Side of the windows, in pixels of IN.")
    ] = 1024,
    overlap: Annotated[
        int,
        typer.Option(metavar="N", help="How far windows overlap at least, in pixels of IN."),
    ] = 64,
    nodata: Annotated[
        float | None,
        typer.Option(help="The value of missing pixels, beside NaN. Default: what the file says."),
    ] = None,
    channels: Annotated[
        Channels,
        typer.Option(
            help="Restore three channels as one color picture, or each apart; auto: as color if "
            "the file says RGB, or has the shape (h, w, 3)."
        ),
    ] = Channels.AUTO,
    force: Force = False,
) -> None:
    """Restore one picture in windows, with the memory that one window needs.

    For denoise, inpaint, sr and deblur. Type the same command again to go on after an interruption.
    """
    from reddiff.cli.large_display import LargeDisplay
    from reddiff.large.plan import Large
    from reddiff.large.restoration import restore_large

    request = Large(
        source=source,
        output=output,
        settings=settings,
        window=window,
        overlap=overlap,
        nodata=nodata,
        channels=channels,
        force=force,
    )
    display = LargeDisplay()
    try:
        result = restore_large(request, watcher=display)
    finally:
        display.close()
    display.end(output, result)

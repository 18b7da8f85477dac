"""`reddiff run`: restore large sets of pictures in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import Batch, Ext, KeepDiverged, Recursive, some_path, with_settings
from reddiff.engine.modes import Engine, Mode, Output
from reddiff.images.settings import Settings


def _status(folder: Path | None) -> None:
    """Print the state of a run, and exit."""
    if folder is None:
        return
    from reddiff.cli.run_display import status_text
    from reddiff.cli.terminal import say
    from reddiff.engine.status import run_status

    say(status_text(run_status(folder)))
    raise typer.Exit


@with_settings(Settings)
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="The degraded pictures: a folder, a list (.txt), .tar or .parquet files, a "
            "pattern, or a store such as s3://bucket/*.png.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=some_path, metavar="DST", help="The folder of the results."
        ),
    ],
    settings: Settings,
    recursive: Recursive = False,
    ext: Ext = None,
    output_format: Annotated[
        Output,
        typer.Option(
            help="files: pictures with records; webdataset: tar files; parquet: Parquet files."
        ),
    ] = Output.FILES,
    shard_size: Annotated[
        int, typer.Option(metavar="N", help="Pictures per shard. A shard is finished as a whole.")
    ] = 1000,
    mode: Annotated[
        Mode,
        typer.Option(
            help="incremental: restore what is missing; overwrite: remove the results of the "
            "earlier run and start again."
        ),
    ] = Mode.INCREMENTAL,
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Move the earlier run to DST/previous-N and start again."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat the shards that have failed pictures.")
    ] = False,
    distributor: Annotated[
        Engine,
        typer.Option(help="local: processes of this machine; ray: actors of a Ray cluster."),
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of processes; 0 to use only this one. Default: one per core, or one with "
            "a GPU.",
        ),
    ] = None,
    batch: Batch = "auto",
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of each process.")] = 1,
    keep_diverged: KeepDiverged = False,
    status: Annotated[
        Path | None,
        typer.Option(
            "--status",
            parser=some_path,
            metavar="DST",
            is_eager=True,
            callback=_status,
            help="Print the state of a run, and exit.",
        ),
    ] = None,
) -> None:
    """Restore a large set of pictures in shards, with several processes.

    After an interruption, type the same command again to resume. The random numbers of a picture
    depend only on --seed and its content, so the results do not depend on shards, processes or
    their order.
    """
    from reddiff.cli.run_display import Display
    from reddiff.engine.command import Request, execute

    request = Request(
        source=source,
        output=output,
        settings=settings,
        keep_diverged=keep_diverged,
        recursive=recursive,
        ext=ext or [],
        output_format=output_format,
        shard_size=shard_size,
        mode=mode,
        new_run=new_run,
        retry_failed=retry_failed,
        distributor=distributor,
        workers=workers,
        batch=batch,
        threads=threads,
    )
    display = Display()
    try:
        totals = execute(request, display)
    finally:
        display.close()
    code = display.end(totals, output)
    if code:
        raise typer.Exit(code)

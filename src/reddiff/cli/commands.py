"""The commands, and the options that they share."""

from __future__ import annotations

from typing import Annotated

import typer

from reddiff.cli.bench import bench
from reddiff.cli.calibrate import calibrate
from reddiff.cli.convert import convert
from reddiff.cli.degrade import degrade
from reddiff.cli.demo import demo
from reddiff.cli.errors import Group, debugging
from reddiff.cli.large import large
from reddiff.cli.listing import check, priors, show, solvers, tasks
from reddiff.cli.probe import probe
from reddiff.cli.replay import replay
from reddiff.cli.report import report
from reddiff.cli.restore import restore
from reddiff.cli.run import run
from reddiff.cli.sample import sample
from reddiff.cli.train import train

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 success; 1 probe found a mistake, an expectation of bench failed, or a bug "
        "in reddiff (with a traceback); 2 invalid command line; "
        "3 invalid input, or all inputs failed; 4 a file cannot be read or written; 5 some inputs "
        "failed; 6 the run diverged and has no result; 130 interrupted (129 by SIGHUP, 143 by "
        "SIGTERM)."
    ),
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"reddiff {version('reddiff')}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
) -> None:
    """Solve inverse problems with diffusion priors."""
    debugging.set(debug)


BENCHES = (calibrate, bench, report)
PRIORS = (probe, train, convert)
LISTS = (tasks, priors, solvers, show)
for command in (
    restore,
    run,
    large,
    replay,
    degrade,
    sample,
    *PRIORS,
    *BENCHES,
    check,
    *LISTS,
    demo,
):
    app.command()(command)

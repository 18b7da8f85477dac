"""`reddiff priors`, `reddiff solvers` and `reddiff show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def priors() -> None:
    """List the priors."""
    from rich.console import Console
    from rich.table import Table

    from reddiff.catalogue import PRIORS
    from reddiff.priors import weights_hash

    table = Table("name", "what it is", "levels", "parameters", "weights")
    for name, entry in PRIORS.items():
        prior = entry.make()
        count = sum(p.numel() for p in prior.parameters())
        levels = f"{prior.sigma_min:.3g} to {prior.sigma_max:.3g}"
        table.add_row(name, entry.summary, levels, f"{count / 1e6:.1f} M", weights_hash(prior))
    Console().print(table)


def solvers() -> None:
    """List the solvers."""
    from rich.console import Console
    from rich.table import Table

    from reddiff.catalogue import SOLVERS

    table = Table("name", "what it is", "steps", "evaluations")
    for name, entry in SOLVERS.items():
        table.add_row(name, entry.summary, str(entry.steps), str(entry.steps * entry.evaluations))
    Console().print(table)


def show(
    record: Annotated[Path, typer.Argument(help="A record that `reddiff restore` wrote.")],
    full: Annotated[bool, typer.Option("--full", help="All of it, as JSON.")] = False,
) -> None:
    """Show a record."""
    from reddiff.cli.restore import summary
    from reddiff.jobs import read_record

    found = read_record(record)
    typer.echo(json.dumps(found, indent=1) if full else summary(found))

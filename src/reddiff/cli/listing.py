"""`reddiff priors`, `solvers`, `tasks`, `check` and `show`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from reddiff.cli.errors import INVALID_INPUT
from reddiff.cli.options import Record
from reddiff.cli.terminal import say

MOST_ENTRIES = 1 << 26
ENTRY_BYTES = 100  # of memory per entry of x, a lower bound


def priors() -> None:
    """List the priors in the package."""
    from rich.console import Console
    from rich.table import Table

    from reddiff.priors import weights_hash
    from reddiff.priors.named import PRIORS

    table = Table("name", "description", "levels", "parameters", "weights")
    for name, entry in PRIORS.items():
        prior = entry.make()
        count = sum(p.numel() for p in prior.parameters())
        levels = f"{prior.sigma_min:.3g} to {prior.sigma_max:.3g}"
        table.add_row(name, entry.summary, levels, f"{count / 1e6:.1f} M", weights_hash(prior))
    Console().print(table)


def solvers() -> None:
    """List the solvers, with their default steps and network evaluations."""
    from rich.console import Console
    from rich.table import Table

    from reddiff.solvers.catalogue import METHODS

    table = Table("name", "description", "steps", "network evaluations")
    for name, method in METHODS.items():
        forward, backward = (method.steps * n for n in method.cost)
        total = f"{forward} + {backward} backward" if backward else str(forward)
        table.add_row(name, method.summary, str(method.steps), total)
    Console().print(table)


def tasks() -> None:
    """List the tasks, masks and kernels."""
    from rich.console import Console
    from rich.table import Table

    from reddiff.images.io.inputs import WORDS as KERNELS
    from reddiff.images.masks import WORDS as MASKS
    from reddiff.images.tasks import TASKS

    table = Table("name", "degraded picture", "after a colon", "needs")
    for name, entry in TASKS.items():
        table.add_row(name, entry.summary, entry.word, f"--{entry.needs}" if entry.needs else "")
    table.add_row("FILE.py:NAME", "output of your own operator, on pixels in [0, 1]")
    Console().print(table)
    masks, kernels = ([word.form for word in table.values()] for table in (MASKS, KERNELS))
    kept = " or a picture, white where pixels are kept"
    Console().print("--mask:", "  ".join(masks), kept, highlight=False)
    Console().print("--kernel:", "  ".join(kernels), " or a file", highlight=False)


def check(
    operator: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME", help="A Python file, and an operator or function in it."
        ),
    ],
    shape: Annotated[str, typer.Option(help="Shape of one input, such as 3,64,64.")],
) -> None:
    """Test your own operator: linearity, adjoint, gradient, independence of lanes, ..."""
    import math
    import re

    from reddiff import check as try_operator
    from reddiff.errors import require
    from reddiff.images.memory import require_memory
    from reddiff.images.tasks.custom import blamed, load_operator

    good = re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9}){0,7}", shape) is not None
    require(good, "--shape", expected="integers separated by commas, e.g. 3,64,64", got=shape)
    x_shape = tuple(map(int, shape.split(",")))
    entries = math.prod(x_shape)
    expected = f"a shape of 1 to {MOST_ENTRIES} entries"
    require(1 <= entries <= MOST_ENTRIES, "--shape", expected=expected, got=shape)
    require_memory(ENTRY_BYTES * entries, f"inputs of shape {shape}")
    with blamed(operator):
        report = try_operator(load_operator(operator, x_shape), x_shape=x_shape)
    say(str(report))
    if not report:
        raise typer.Exit(INVALID_INPUT)


def show(
    record: Record,
    full: Annotated[bool, typer.Option("--full", help="Print the whole record as JSON.")] = False,
) -> None:
    """Print the summary of a record."""
    from reddiff.cli.batch import summary
    from reddiff.images.records import read_record

    found = read_record(record)
    say(json.dumps(found, indent=1) if full else summary(found))

"""The tables that `reddiff bench` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from reddiff.cli.terminal import flat, say

if TYPE_CHECKING:
    from rich.console import Console

    from reddiff.bench.context import Context
    from reddiff.bench.planning import Job
    from reddiff.bench.store import Results

EXPECTATION_FAILED = 1
WIDTH = 160
HEADLINES = ("psnr", "lpips", "exact_rmse")


def _console() -> Console:
    """A console. It is wide if the output is not a terminal, so that tables are not folded."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else WIDTH)


def conclude(context: Context, results: Results) -> None:
    """Print the table and the verdict; exit with 1 if an expectation fails."""
    from reddiff.bench.report.grids import make_grids
    from reddiff.bench.report.texts import markdown
    from reddiff.bench.summary import summarize
    from reddiff.bench.verdict import judge

    rows = list(results.rows())
    summary = summarize(rows, solvers=list(context.spec.solvers))
    shown = [m for m in HEADLINES if m in summary.metrics]
    if shown:
        say(markdown(make_grids(summary, shown)))
    bad = [row for row in rows if row["status"] != "ok"]
    for status in dict.fromkeys(row["status"] for row in bad):
        some = [row for row in bad if row["status"] == status]
        where = ", ".join(dict.fromkeys(f"{r['solver']} on {r['task']}" for r in some))
        say(flat(f"{len(some)} {status}: {where}"), error=True)
    verdicts = judge(context.spec, rows)
    for verdict in verdicts:
        if verdict.holds is not None:
            value = "" if verdict.value is None else f": {verdict.value:.4g}"
            say(f"{'ok    ' if verdict.holds else 'FAILED'} {verdict.text}{value}")
    if any(verdict.holds is False for verdict in verdicts):
        raise typer.Exit(EXPECTATION_FAILED)


def show_cost(context: Context, todo: list[Job], rows: list[Any]) -> None:
    """Print the cost of what is left to do, by solver."""
    from rich.table import Table

    from reddiff.bench.estimates import Estimates
    from reddiff.bench.planning import Cost, costs
    from reddiff.run.progress_bar import duration

    found = costs(context, todo)
    estimates = Estimates(found)
    estimates.learn_rows(rows)
    if not any(estimates.units.values()):
        estimates.time(context)
    table = Table("solver", "images", "evaluations", "backward passes", "time on one worker")
    total = 0.0
    for label in dict.fromkeys(job.solver for job in todo):
        jobs = [job for job in todo if job.solver == label]
        each = [(len(j.images), found[j.cell, j.solver]) for j in jobs]
        left_out = sum(n for n, cost in each if isinstance(cost, str))
        evaluations = sum(n * c.evaluations for n, c in each if isinstance(c, Cost))
        vjps = sum(n * c.vjps for n, c in each if isinstance(c, Cost))
        seconds = sum(estimates.expected(job) or 0.0 for job in jobs)
        total += seconds
        images = f"{sum(n for n, _ in each)}" + f", {left_out} unsupported" * (left_out > 0)
        table.add_row(label, images, f"{evaluations:,}", f"{vjps:,}", duration(seconds))
    _console().print(table)
    say(f"{duration(total)} on one worker, by {estimates.basis}")

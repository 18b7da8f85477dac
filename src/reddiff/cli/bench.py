"""`reddiff bench`: run a benchmark and store the results in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reddiff.cli import interruptions
from reddiff.cli.bench_tables import conclude, show_cost
from reddiff.cli.options import Only, some_path
from reddiff.cli.terminal import counted, flat, say

if TYPE_CHECKING:
    from reddiff.bench.context import Context
    from reddiff.bench.planning import Job
    from reddiff.bench.store import Results


def bench(
    spec: Annotated[
        str,
        typer.Argument(metavar="SPEC", help="A .yaml file, or quick, paper, ablations, exact, ..."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="FILE",
            help="The results file; an interrupted run resumes. Default: NAME.sqlite.",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Files, folders or patterns to use instead of the images of the spec."),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=SOURCE", help="The source of a prior of the spec."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="Side of the images. Default: that of the spec.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only the first images, this many.")
    ] = None,
    only: Only = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process. Default: cores / workers.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images that are solved together. Default: that of the spec."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the evaluations and the expected time only.")
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Rename an existing results file, and start a new one.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Repeat what failed.")] = False,
    accept_version: Annotated[
        bool,
        typer.Option("--accept-version", help="Add to results of another version of reddiff."),
    ] = False,
) -> None:
    """Compare solvers on priors, tasks, noise levels and images; write one results file.

    All solvers get the same measurements. Results that are already in the file are not repeated.
    """
    _require_packages()
    from reddiff.bench.context import Context
    from reddiff.bench.loading import load_spec
    from reddiff.bench.locking import move_aside
    from reddiff.bench.planning import costs, plan
    from reddiff.bench.running import check_claim, claim
    from reddiff.bench.store import Results

    loaded = load_spec(spec, prior or [], files=images, size=size, batch=batch)
    path = Path(f"{loaded.name}.sqlite") if output is None else output
    context = Context(loaded, limit, device)
    interruptions.raise_from_now_on()
    if dry_run:
        done: Any = {}
        rows: list[Any] = []
        if path.exists() and not new:
            old = Results.read(path)
            check_claim(old, context, accept=True)
            done, rows = old.done(), list(old.rows())
            old.close()
        todo, _ = plan(context, done, only, retry)
        show_cost(context, todo, rows)
        return
    context.weights()
    found = costs(context, plan(context, {}, only)[0])  # invalid settings fail before a file exists
    if new and (aside := move_aside(path)):
        say(flat(f"{path}: renamed to {aside}"), error=True)
    results = Results.open(path)
    try:
        claim(results, context, accept=accept_version)
        todo, there = plan(context, results.done(), only, retry)
        kept = sum(len(job.images) for job in there)
        if kept:
            say(flat(f"{path} already has {counted(kept, 'result')}"), error=True)
        _run(context, results, todo, found, workers, threads or _threads(workers))
        conclude(context, results)
    finally:
        results.close()


def _threads(workers: int) -> int:
    import torch

    return max(1, torch.get_num_threads() // workers)  # by default the cores, or OMP_NUM_THREADS


def _require_packages() -> None:
    """Raise an error if the packages of the extra `bench` are missing."""
    from importlib.util import find_spec

    from reddiff.errors import InvalidArgument

    missing = [name for name in ("pydantic", "yaml") if find_spec(name) is None]
    if missing:
        expected = "pydantic and PyYAML (pip install 'reddiff[bench]')"
        raise InvalidArgument("bench", expected=expected, got=f"no {missing[0]}")


def _run(
    context: Context,
    results: Results,
    todo: list[Job],
    found: Any,
    workers: int,
    threads: int,
) -> None:
    import time

    from rich.console import Console

    from reddiff.bench.estimates import Estimates
    from reddiff.bench.live import LiveTable
    from reddiff.bench.running import run
    from reddiff.run.progress_bar import duration

    estimates = Estimates(found)
    estimates.learn_rows(results.rows())
    start = time.perf_counter()
    with LiveTable(Console(stderr=True), todo, estimates) as table:
        took = run(results, context, todo, workers=workers, threads=threads, tell=table)
    whole = time.perf_counter() - start
    if todo:
        done = counted(sum(len(job.images) for job in todo), "result")
        solvers = f"{duration(took)} of them in solvers" if workers == 1 else f"{workers} workers"
        say(f"{done} in {duration(whole)} ({solvers})", error=True)

"""`reddiff report`: results of benchmarks as a page or as tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import Force, Only, some_path
from reddiff.cli.terminal import flat, printable, say


class RowsOf(StrEnum):
    """The meaning of the rows of tables."""

    solver = "solver"
    task = "task"


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            parser=some_path,
            metavar="RESULTS...",
            help="Results files of `reddiff bench`. Several files are compared with one another.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="FILE",
            help="The report, such as report.html. Default: print tables.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="html, md, latex or csv. Default: from the suffix of FILE, or md.",
        ),
    ] = None,
    only: Only = None,
    oracle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRID[:METRIC]",
            help="Add the best setting of a grid for each prior, task and noise level, chosen with "
            "the truth. May be repeated.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="For md, latex, csv: psnr,lpips for two tables, psnr/lpips for one with both."
        ),
    ] = None,
    rows: Annotated[
        RowsOf,
        typer.Option(help="For md and latex: the rows of tables; the columns are the other."),
    ] = RowsOf.solver,
    intervals: Annotated[bool, typer.Option(help="For md and latex: print 95 % intervals.")] = True,
    pictures: Annotated[
        int, typer.Option(min=0, help="For html: images shown for each task and noise level.")
    ] = 3,
    baseline: Annotated[
        str | None,
        typer.Option(help="For html: the solver to compare with. Default: the best of each task."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FILE",
            help="The true classes for the metric top1, in lines of image,class.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="For html: the heading.")] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="DOCUMENT:NAME",
            help="Replace the table between <!-- table NAME --> and <!-- end NAME --> of DOCUMENT.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Make a self-contained web page or tables from results of `reddiff bench`.

    Means have 95 % bootstrap intervals over images. The best and the second best are marked.
    """
    from reddiff.bench.report.labels import read_labels, with_labels
    from reddiff.bench.report.oracle import with_oracle
    from reddiff.bench.report.reading import load_results
    from reddiff.bench.report.writing import (
        fill,
        kind_of,
        part_of,
        report_text,
        single_table,
        summary_of,
    )
    from reddiff.errors import InvalidArgument
    from reddiff.files import check_target, write_whole

    kind = "md" if into is not None else kind_of(output, form)
    document, _, name = (into or "").rpartition(":")
    if into is not None and not (document and name and output is None):
        expected = "DOCUMENT:NAME, without --output"
        raise InvalidArgument("into", expected=expected, got=into)
    if output is not None:
        check_target(output, force=force)
    loaded = load_results(results)
    for grid in oracle or []:
        loaded = with_oracle(loaded, grid)
    if only is not None:
        loaded = part_of(loaded, only)
    if labels is not None:
        loaded = with_labels(loaded, read_labels(labels))
    summary = summary_of(loaded)
    if into is not None:
        fill(Path(document), name, single_table(summary, metrics, rows.value, intervals=intervals))
        return
    text = report_text(
        loaded,
        summary,
        kind,
        title=title,
        metrics=metrics,
        rows=rows.value,
        intervals=intervals,
        pictures=pictures,
        baseline=baseline,
    )
    if output is None:
        typer.echo(printable(text), nl=False)
        return
    write_whole(output, text.encode(), force=force)
    say(flat(f"{output}: {len(text.encode()) / 1e6:.1f} MB"))

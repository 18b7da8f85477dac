"""`reddiff report`: results of benchmarks as a page or as tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reddiff.cli.options import Force, some_path
from reddiff.cli.terminal import flat, printable, say


class RowsOf(StrEnum):
    """What the rows of tables are."""

    solver = "solver"
    task = "task"


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            parser=some_path,
            metavar="RESULTS...",
            help="Files of `reddiff bench`; several are compared with one another.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=some_path,
            metavar="FILE",
            help="The report, such as report.html. Without it, tables are printed.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="html, md, latex or csv. Default: by FILE, or md."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="KEY=VALUE,...", help="A part, such as solver=default,task=sr4."),
    ] = None,
    oracle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRID[:METRIC]",
            help="Add the best setting of a grid in each cell, chosen with the truth.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Of md and latex: psnr,lpips for two tables, psnr/lpips for one with both."
        ),
    ] = None,
    rows: Annotated[
        RowsOf, typer.Option(help="Rows of tables in md and latex; columns are the other.")
    ] = RowsOf.solver,
    intervals: Annotated[
        bool, typer.Option(help="Whether tables in md and latex have 95 % intervals.")
    ] = True,
    pictures: Annotated[
        int, typer.Option(min=0, help="Images that the page shows of each task and noise level.")
    ] = 3,
    baseline: Annotated[
        str | None,
        typer.Option(help="The solver that the page compares with. Default: the best."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FILE",
            help="Lines of image,class: the metric top1 compares with these classes.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The heading of the page.")] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="DOCUMENT:NAME",
            help="Put one table between <!-- table NAME --> and <!-- end NAME --> of a document.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Turn results into one self-contained page, or into tables.

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

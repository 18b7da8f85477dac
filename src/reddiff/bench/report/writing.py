"""Write a report of results in one of the formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from reddiff.bench.choosing import KEYS, chosen
from reddiff.bench.feature_sets import with_feature_sets
from reddiff.bench.report.grids import Grid, Rows, make_grids
from reddiff.bench.report.oracle import oracle_lines
from reddiff.bench.report.page import html_page
from reddiff.bench.report.reading import Loaded
from reddiff.bench.report.texts import latex, markdown, markdown_table, table_csv
from reddiff.bench.summary import Cell, Summary, summarize
from reddiff.errors import InvalidArgument, PictureError, require, require_name
from reddiff.files import read_regular, write_whole
from reddiff.metrics.efficientnet import EfficientNetLite0

FORMATS = {"html": ".html", "md": ".md", "latex": ".tex", "csv": ".csv"}
MOST_BYTES = 16_000_000  # of a document into which a table is written


def part_of(loaded: Loaded, only: str) -> Loaded:
    """A part of results.

    Arguments:
        loaded: The results.
        only: The selection, as for `chosen`.

    Raises:
        InvalidArgument: If a key or value is not among the results, or the selection is empty.
    """
    known = {key: dict.fromkeys(_word(row[key]) for row in loaded.rows) for key in KEYS}
    wanted = chosen(only, known, "the results")
    rows = [row for row in loaded.rows if all(_word(row[k]) in some for k, some in wanted.items())]
    require(bool(rows), "only", expected="a part of the results", got=only)
    return replace(loaded, rows=rows)


def summary_of(loaded: Loaded) -> Summary:
    """The summary of results, with distances between sets of features if there are any."""
    summary = summarize(loaded.rows, solvers=loaded.solvers, unranked=loaded.oracles)
    kept = {(Cell(r["prior"], r["task"], r["noise"]), r["image"]) for r in loaded.rows}
    features = {
        (cell, solver): {k: v for k, v in vectors.items() if (cell, k) in kept}
        for (cell, solver), vectors in loaded.features(EfficientNetLite0.name).items()
    }
    return with_feature_sets(summary, features)


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def report_text(
    loaded: Loaded,
    summary: Summary,
    kind: str,
    *,
    title: str | None = None,
    metrics: str | None = None,
    rows: Rows = "solver",
    intervals: bool = True,
    pictures: int = 3,
    baseline: str | None = None,
) -> str:
    """A report in one of `FORMATS`.

    Arguments:
        loaded, summary: The results.
        kind: html, md, latex or csv.
        title: The heading of the page; by default the name of the spec.
        metrics: `psnr,lpips` for two tables, `psnr/lpips` for one table with both in each cell. By
            default, a table for each metric that has better values. CSV has the metrics named, by
            default all; the page always has all.
        rows: The rows of tables in Markdown and LaTeX, solvers or tasks.
        intervals: Whether tables in Markdown and LaTeX have intervals.
        pictures: The number of images that the page shows for each task and noise level.
        baseline: The solver that the page compares with; by default the best one.

    Raises:
        InvalidArgument: If a metric or the baseline is not among the results.
    """
    if kind == "csv":
        return table_csv(summary, _named(summary, metrics))
    if kind == "html":
        if baseline is not None:
            require_name(baseline, summary.solvers, "baseline", "a solver of the results")
        names = dict.fromkeys(str(s.spec.get("name", s.path.stem)) for s in loaded.sources)
        heading = ", ".join(names) if title is None else title
        return html_page(loaded, summary, title=heading, pictures=pictures, baseline=baseline)
    write: Callable[..., str] = {"md": markdown, "latex": latex}[kind]
    text = write(_tables(summary, metrics, rows), intervals=intervals)
    notes = [line if kind == "md" else f"% {line}" for line in oracle_lines(loaded)]
    return "\n".join([text, *notes, ""]) if notes else text


def _tables(summary: Summary, metrics: str | None, rows: Rows) -> list[Grid]:
    groups = _groups(summary, metrics)
    return [grid for group in groups for grid in make_grids(summary, group, rows)]


def _groups(summary: Summary, metrics: str | None) -> list[tuple[str, ...]]:
    if metrics is None:
        ranked = dict.fromkeys(key[2] for key, e in summary.entries.items() if e.rank is not None)
        return [(name,) for name in summary.metrics if name in ranked]
    _named(summary, metrics)
    return [tuple(group.split("/")) for group in metrics.split(",")]


def _named(summary: Summary, metrics: str | None) -> list[str] | None:
    """The metrics that the text names, or `InvalidArgument` if one is not among the results."""
    names = None if metrics is None else metrics.replace("/", ",").split(",")
    for name in names or []:
        require_name(name, summary.metrics, "metrics", "a metric of the results")
    return names


def fill(path: Path, name: str, table: str) -> None:
    """Write a table into a document, between `<!-- table NAME -->` and `<!-- end NAME -->`.

    Raises:
        InvalidArgument: If the document does not have the two lines once each, in this order.
        PictureError: If it cannot be read or written.
    """
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PictureError(path, expected="text in UTF-8", got=error) from error
    start, end = f"<!-- table {name} -->", f"<!-- end {name} -->"
    good = text.count(start) == text.count(end) == 1 and text.index(start) < text.index(end)
    if not good:
        expected = f"a document with one {start} and one {end} below it"
        raise InvalidArgument("into", expected=expected, got=path)
    before, after = text[: text.index(start)], text[text.index(end) :]
    line = "\r\n" if "\r\n" in text else "\n"
    filled = f"{start}\n\n{table}\n".replace("\n", line)
    write_whole(path, f"{before}{filled}{after}".encode(), force=True)


def single_table(
    summary: Summary, metrics: str | None, rows: Rows, *, intervals: bool = False
) -> str:
    """The one table in Markdown of some results, without its caption.

    Raises:
        InvalidArgument: If there are several.
    """
    tables = _tables(summary, metrics, rows)
    expected = "one table: choose a prior and noise level by --only, and metrics such as psnr/lpips"
    require(len(tables) == 1, "into", expected=expected, got=f"{len(tables)} tables")
    return markdown_table(tables[0], intervals=intervals)


def kind_of(output: Path | None, given: str | None) -> str:
    """The format: the given one, or else that of the file's suffix, or else Markdown.

    Raises:
        InvalidArgument: If there is no such format, or there is no file for a page.
    """
    if given is not None:
        require_name(given, FORMATS, "format", "a format")
        kind = given
    elif output is None:
        kind = "md"
    else:
        endings: Sequence[str] = tuple(FORMATS.values())
        good = output.suffix in endings
        expected = f"a name that ends with {', '.join(endings)}, or --format"
        require(good, "output", expected=expected, got=output)
        kind = next(k for k, ending in FORMATS.items() if ending == output.suffix)
    require(kind != "html" or output is not None, "output", expected="-o FILE.html", got="none")
    return kind

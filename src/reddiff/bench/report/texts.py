"""Tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from reddiff.bench.measures import measure
from reddiff.bench.ranking import Entry
from reddiff.bench.report.grids import Grid
from reddiff.bench.summary import Summary

FEWER = "†"
NOTE = "over fewer images than the others, and not compared with them"
Mark = Callable[[str, int | None], str]
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "†": r"$^\dagger$",
}


def markdown(tables: Sequence[Grid], *, intervals: bool = False) -> str:
    """Tables in Markdown: the best is bold, the second best in italics."""
    return "\n".join(
        f"{caption(grid, 'bold', 'in italics')}\n\n{markdown_table(grid, intervals=intervals)}"
        for grid in tables
    )


def markdown_table(grid: Grid, *, intervals: bool = False) -> str:
    """One table in Markdown, without a caption."""

    def mark(text: str, rank: int | None) -> str:
        return f"**{text}**" if rank == 1 else f"*{text}*" if rank == 2 else text

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"

    text = line([grid.corner, *grid.columns]) + "|---" * (len(grid.columns) + 1) + "|\n"
    for name, cells in grid.lines:
        text += line([name, *(_cell(grid, cell, mark, intervals) for cell in cells)])
    return text


def latex(tables: Sequence[Grid], *, intervals: bool = False) -> str:
    """Tables in LaTeX, for the package booktabs: the best is bold, the second best underlined."""

    def mark(text: str, rank: int | None) -> str:
        name = {1: "textbf", 2: "underline"}.get(rank or 0)
        return rf"\{name}{{{escaped(text)}}}" if name else escaped(text)

    parts = []
    for grid in tables:
        lines = [
            rf"% {caption(grid, 'bold', 'underlined')}",
            rf"\begin{{tabular}}{{l{'c' * len(grid.columns)}}}",
            r"\toprule",
            " & ".join(map(escaped, [grid.corner, *grid.columns])) + r" \\",
            r"\midrule",
        ]
        for name, cells in grid.lines:
            each = [escaped(name), *(_cell(grid, cell, mark, intervals) for cell in cells)]
            lines.append(" & ".join(each) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""]))
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text with the special characters of LaTeX escaped."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def caption(grid: Grid, best: str, second: str) -> str:
    """A caption for a table, in a sentence."""
    text = f"{grid.title}: means over {grid.images} images, the best {best}, the second {second}."
    if any(not entry.compared for entry in grid.entries):
        text += f" {FEWER}: {NOTE}."
    return " ".join(text.split())


def _cell(grid: Grid, cell: Sequence[Entry | None], mark: Mark, intervals: bool) -> str:
    texts = []
    for name, entry in zip(grid.metrics, cell, strict=True):
        if entry is None:
            texts.append("-")
            continue
        texts.append(mark(measure(name).text(entry.mean.mean), entry.rank))
        if intervals and (limits := span(name, entry)):
            texts[-1] += f" [{limits}]"
        texts[-1] += FEWER * (not entry.compared)
    return " / ".join(texts)


def span(metric: str, entry: Entry) -> str:
    """The interval of an entry, or nothing."""
    low, high = entry.mean.low, entry.mean.high
    if low is None or high is None:
        return ""
    return f"{measure(metric).text(low)}, {measure(metric).text(high)}"


FIELDS = (
    *("prior", "task", "noise", "solver", "metric", "images", "mean", "low", "high", "rank"),
    *("compared", "to_best", "to_best_low", "to_best_high", "not_ok"),
)


def table_csv(summary: Summary, metrics: Collection[str] | None = None) -> str:
    """Entries as lines of CSV, in the units of the results file.

    Arguments:
        summary: The results.
        metrics: The metrics to write; all by default.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    kept = summary.metrics if metrics is None else metrics
    writer.writerows(
        _line(summary, key, entry) for key, entry in summary.entries.items() if key[2] in kept
    )
    return out.getvalue()


def _line(summary: Summary, key: tuple[Any, str, str], entry: Entry) -> Mapping[str, Any]:
    cell, solver, metric = key
    gap = entry.gap
    return {
        **cell._asdict(),
        "solver": _harmless(solver),
        "task": _harmless(cell.task),
        "prior": _harmless(cell.prior),
        "metric": metric,
        "images": len(entry.images),
        "mean": entry.mean.mean,
        "low": entry.mean.low,
        "high": entry.mean.high,
        "rank": entry.rank,
        "compared": int(entry.compared),
        "to_best": None if gap is None else gap.mean,
        "to_best_low": None if gap is None else gap.low,
        "to_best_high": None if gap is None else gap.high,
        "not_ok": sum(summary.failures.get((cell, solver), {}).values()),
    }


def _harmless(text: str) -> str:
    """A name that a spreadsheet does not interpret as a formula."""
    return f"'{text}" if re.match(r"[=+\-@\t\r]", text) else text

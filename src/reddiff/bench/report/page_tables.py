"""The tables of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from reddiff.bench.intervals import Interval
from reddiff.bench.measures import Measure, measure
from reddiff.bench.ranking import Entry
from reddiff.bench.report.cards import card, scrolled
from reddiff.bench.report.grids import Grid, make_grids
from reddiff.bench.report.texts import span
from reddiff.bench.summary import Summary


def result_tables(summary: Summary, published: Sequence[Mapping[str, Any]]) -> str:
    """A table for each metric, prior and noise level."""
    parts = []
    for metric in summary.metrics:
        for grid in make_grids(summary, (metric,)):
            data = {"metric": metric, "prior": grid.prior, "noise": f"{grid.noise:g}"}
            parts.append(card(_table(grid, metric, published), _where(grid), "table", **data))
    return "".join(parts)


def _where(grid: Grid) -> str:
    title = measure(grid.metrics[0]).title
    return f"{title} · prior {grid.prior} · noise {grid.noise:g} · {grid.images} images"


def _table(grid: Grid, metric: str, published: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in grid.columns)
    lines = []
    for name, cells in grid.lines:
        values = "".join(_value(metric, cell[0]) for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
    body = f"<tbody>{''.join(lines)}</tbody>" + _published(grid, metric, published)
    top = f'<thead><tr><th scope="col">solver</th>{head}</tr></thead>'
    return scrolled(f"<table>{top}{body}</table>", _where(grid))


def _value(metric: str, entry: Entry | None) -> str:
    if entry is None:
        return '<td class="none">–</td>'  # noqa: RUF001
    by = measure(metric)
    text = by.text(entry.mean.mean)
    kind = {1: "best", 2: "second"}.get(entry.rank or 0, "")
    said = {1: "Best. ", 2: "Second best. "}.get(entry.rank or 0, "")
    said += f"{len(entry.images)} images."
    if entry.gap is not None:
        said += f" To the best: {difference_text(by, entry.gap)}."
    sign = ""
    if not entry.compared:
        sign, kind = "<sup>†</sup>", "apart"
        said += " Over fewer images than the others, and not compared with them."
    elif entry.tied:
        sign = "<sup>≈</sup>"
    limits = f"<small>{span(metric, entry).replace(', ', ' … ')}</small>"
    limits = limits if entry.mean.known else ""
    strong = {"best": "strong", "second": "em"}.get(kind, "span")
    return f'<td class="{kind}" title="{said}"><{strong}>{text}</{strong}>{sign}{limits}</td>'


def difference_text(by: Measure, gap: Interval) -> str:
    """A difference with its interval."""
    text = by.text(gap.mean, sign=True)
    if gap.low is None or gap.high is None:
        return text
    return f"{text} [{by.text(gap.low, sign=True)}, {by.text(gap.high, sign=True)}]"


def _published(grid: Grid, metric: str, published: Sequence[Mapping[str, Any]]) -> str:
    here = [p for p in published if p["metric"] == metric and p["task"] in grid.columns]
    if not here:
        return ""
    lines = []
    for method in dict.fromkeys(p["method"] for p in here):
        cells = ""
        for task in grid.columns:
            each = [p for p in here if (p["method"], p["task"]) == (method, task)]
            cells += "<td>"
            for p in each:
                value = measure(metric).text(float(p["value"]))
                cells += f'<span title="{escape(str(p["source"]))}">{value}</span> '
            cells += "</td>"
        lines.append(f'<tr><th scope="row">{escape(method)}</th>{cells}</tr>')
    wide = f'<tr><th colspan="{len(grid.columns) + 1}" scope="rowgroup">Published</th></tr>'
    sources = "; ".join(dict.fromkeys(str(p["source"]) for p in here))
    note = f'<tr><td class="note" colspan="{len(grid.columns) + 1}">{escape(sources)}</td></tr>'
    return f'<tbody class="published">{wide}{"".join(lines)}{note}</tbody>'

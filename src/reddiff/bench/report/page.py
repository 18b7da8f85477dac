"""The page: one file that needs no other, and asks the network for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from reddiff.bench.measures import measure
from reddiff.bench.report import sections
from reddiff.bench.report.reading import Loaded
from reddiff.bench.report.strips import picture_strips
from reddiff.bench.summary import Cell, Summary

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
COSTS = {"evaluations": "evaluations", "seconds": "seconds", "peak_bytes": "memory"}


def html_page(
    loaded: Loaded,
    summary: Summary,
    *,
    title: str,
    pictures: int = 3,
    baseline: str | None = None,
) -> str:
    """The report as HTML.

    Arguments:
        loaded: The results.
        summary: Their means and intervals.
        title: The heading.
        pictures: How many images of each task and noise level to show.
        baseline: The solver that others are compared with; by default the best of each task.
    """
    images: dict[Cell, set[str]] = {cell: set() for cell in summary.cells}
    for row in loaded.rows:
        images.get(Cell(row["prior"], row["task"], row["noise"]), set()).add(row["image"])
    to = "the best of its task" if baseline is None else baseline
    parts = [
        _section("Results", sections.tables(summary, loaded.published), _reading(summary)),
        _section(
            "Differences",
            sections.differences(summary, baseline),
            f"Each solver minus {to}, image by image, with the 95 % interval of the mean "
            "difference. Where the interval crosses the line, the difference may be chance.",
        ),
        _section(
            "Pictures",
            picture_strips(summary, images, loaded.strip, pictures),
            "PSNR / LPIPS below each. Point at a picture to enlarge it and its neighbors; click to "
            "open it, and go on with the arrow keys. Images are chosen by a hash of their names.",
        ),
        _section(
            "Perception and distortion",
            sections.tradeoff(summary),
            "Means with 95 % intervals. A solver to the right is nearer to the truth; one below "
            "looks more like it.",
        ),
        _section("Quality and cost", sections.costs(summary), "Means against what an image costs."),
        _section(
            "Calibration",
            sections.calibration(summary),
            "Of calibrated draws, 90 % intervals hold 90 % of the pixels of the truth, and the "
            "error is as large as the spread.",
        ),
        _section("Not solved", _failures(loaded), ""),
        _section("How this was measured", _about(loaded, summary), ""),
    ]
    home = files("reddiff") / "bench" / "report"
    style, script = ((home / name).read_text() for name in ("page.css", "page.js"))
    body = f"{_head(loaded, summary, title)}<main>{''.join(parts)}</main>{VIEWER}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


VIEWER = (
    '<dialog id="viewer" aria-label="Picture"><form method="dialog">'
    '<button type="button" data-step="-1" aria-label="Previous picture">←</button>'
    '<output id="name"></output>'
    '<button type="button" data-step="1" aria-label="Next picture">→</button>'
    '<button aria-label="Close">✕</button></form><img id="large" alt=""></dialog>'
)


def _head(loaded: Loaded, summary: Summary, title: str) -> str:
    count = len({(r["prior"], r["image"]) for r in loaded.rows})
    cells, solvers = len(summary.cells), len(summary.solvers)
    noises = {f"{c.noise:g}": None for c in summary.cells}
    metrics = {m: measure(m).label for m in summary.metrics}
    costs = {m: label for m, label in COSTS.items() if m in summary.metrics}
    selections = [
        _select("metric", "Metric", metrics),
        _select("prior", "Prior", {c.prior: c.prior for c in summary.cells}),
        _select("noise", "Noise", dict.fromkeys(noises) | {n: n for n in noises}),
        _select("cost", "Cost", costs),
    ]
    theme = '<button type="button" id="theme" aria-label="Light or dark">◐</button>'
    text = f"{count} images, {cells} tasks and noise levels, {solvers} solvers"
    return (
        f"<header><h1>{escape(title)}</h1><p>{text}.</p></header>"
        f'<nav aria-label="What is shown">{"".join(selections)}{theme}'
        f"{sections.legend(summary)}</nav>"
    )


def _select(key: str, label: str, options: Mapping[str, str | None]) -> str:
    """A selection, left out where there is nothing to select."""
    if len(options) < 2:
        return ""
    items = "".join(
        f'<option value="{escape(value, quote=True)}">{escape(text or value)}</option>'
        for value, text in options.items()
    )
    return f'<label>{label} <select data-key="{key}">{items}</select></label>'


def _section(title: str, content: str, note: str) -> str:
    if not content:
        return ""
    name = title.lower().replace(" ", "-")
    text = f'<p class="note">{note}</p>' if note else ""
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{text}'
        f'<div class="cards">{content}</div></section>'
    )


def _reading(summary: Summary) -> str:
    text = (
        "Means over images with 95 % bootstrap intervals. <strong>Best</strong>, <em>second "
        "best</em>; ≈ marks what may be as good as the best: the interval of the paired "
        "difference holds 0. "
    )
    if any(not entry.compared for entry in summary.entries.values()):
        text += "† marks means over fewer images than the others, which are not compared. "
    return text


def _failures(loaded: Loaded) -> str:
    """What has no result, with the first reason given for each."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in loaded.rows:
        if row["status"] != "ok":
            key = (row["solver"], row["prior"], row["task"], f"{row['noise']:g}", row["status"])
            entry = found.setdefault(key, [0, row["error"] or ""])
            entry[0] += 1
    if not found:
        return ""
    head = ("solver", "prior", "task", "noise", "status", "images", "the first says")
    return _plain_table(head, [[*key, *entry] for key, entry in found.items()])


def _about(loaded: Loaded, summary: Summary) -> str:
    """Definitions, settings, versions and machines."""
    metrics = [[measure(m).title, measure(m).summary] for m in summary.metrics]
    parts = [sections.card(_plain_table(("metric", "what it is"), metrics), "Metrics", "table")]
    for source in loaded.sources:
        facts = [
            [key, _flat(source.meta[key])]
            for key in ("created", "versions", "machine", "weights", "spec_hash")
            if key in source.meta
        ]
        spec = source.spec
        facts += [[k, _flat(spec[k])] for k in ("summary", "seed", "images") if spec.get(k)]
        name = f"{spec.get('name', '')} ({source.path.name})"
        parts.append(sections.card(_plain_table(("fact", "value"), facts), name, "table"))
        settings = [[kind[:-1], name, _flat(entry)] for kind, name, entry in _entries(spec)]
        table = _plain_table(("kind", "name", "settings"), settings)
        parts.append(sections.card(table, f"Settings of {spec.get('name', '')}", "table"))
    return "".join(parts)


def _entries(spec: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (kind, name, entry)
        for kind in ("priors", "tasks", "solvers")
        for name, entry in spec.get(kind, {}).items()
    ]


def _flat(value: Any) -> str:
    """A value in words: a mapping as `key value, ...`, without what is empty."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if v not in (None, {}, [], ())}
        return ", ".join(f"{k} {_flat(v)}" for k, v in kept.items())
    return value if isinstance(value, str) else json.dumps(value)


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for first, *others in rows:
        rest = "".join(f"<td>{escape(str(v))}</td>" for v in others)
        lines.append(f'<tr><th scope="row">{escape(str(first))}</th>{rest}</tr>')
    body = f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll" tabindex="0"><table class="plain">{body}</table></div>'

"""The web page: a single file that makes no network requests."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from reddiff.bench.measures import measure
from reddiff.bench.report import charts
from reddiff.bench.report.about import failures, how_measured
from reddiff.bench.report.page_tables import result_tables
from reddiff.bench.report.reading import Loaded
from reddiff.bench.report.strips import picture_strips, written_below
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
        _section("Results", result_tables(summary, loaded.published), _reading(summary)),
        _section(
            "Differences",
            charts.differences(summary, baseline),
            f"Each solver minus {escape(to)}, paired by image, with the 95 % interval of the mean "
            "difference. If the interval crosses the line, the difference may be due to chance. "
            "The degraded picture is omitted.",
        ),
        _section(
            "Pictures",
            picture_strips(summary, images, loaded.strip, pictures),
            f"{written_below(summary)}Point at a picture to enlarge it and its neighbors; "
            "click to open it, and use the arrow keys. Images are chosen by a hash of their names.",
        ),
        _section(
            "Perception and distortion",
            charts.tradeoff(summary),
            "Means with 95 % intervals. Further right means smaller distortion, further down means "
            "better perceptual quality.",
        ),
        _section(
            "Quality and cost",
            charts.costs(summary),
            "Means against the cost of an image. If a solver needs backward passes, the network "
            "call that is subtracted from its memory includes one.",
        ),
        _section(
            "Calibration",
            charts.calibration(summary),
            "For calibrated draws, 90 % intervals contain 90 % of the pixels of the truth, and the "
            "error is as large as the spread.",
        ),
        _section("Not solved", failures(loaded), ""),
        _section("How this was measured", how_measured(loaded, summary), ""),
    ]
    home = files("reddiff") / "bench" / "report"
    style, script = ((home / name).read_text("utf-8") for name in ("page.css", "page.js"))
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
    images = len({(row["prior"], row["image"]) for row in loaded.rows})
    priors, tasks, noises = (
        dict.fromkeys(names)
        for names in zip(*((c.prior, c.task, f"{c.noise:g}") for c in summary.cells), strict=True)
    )
    selections = [
        _select("metric", "Metric", {m: measure(m).label for m in summary.metrics}),
        _select("prior", "Prior", {name: name for name in priors}),
        _select("noise", "Noise", {level: level for level in noises}),
        _select("cost", "Cost", {m: label for m, label in COSTS.items() if m in summary.metrics}),
    ]
    counts = {"image": images, "task": len(tasks), "noise level": len(noises)}
    counts |= {"prior": len(priors), "solver": len(summary.solvers)}
    text = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    theme = '<button type="button" id="theme" aria-label="Light or dark">◐</button>'
    return (
        f"<header><h1>{escape(title)}</h1><p>{text}.</p></header>"
        f'<nav aria-label="What is shown">{"".join(selections)}{theme}'
        f"{charts.legend(summary)}</nav>"
    )


def _select(key: str, label: str, options: Mapping[str, str]) -> str:
    """A selection, omitted if there is nothing to select."""
    if len(options) < 2:
        return ""
    items = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>'
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
        "best</em>; ≈ marks solvers that may be as good as the best: the interval of the paired "
        "difference contains 0. "
    )
    if not any(entry.mean.known for entry in summary.entries.values()):
        text += "Fewer than 5 images have no intervals. "
    if any(not entry.compared for entry in summary.entries.values()):
        text += "† marks means over fewer images, which are not compared with the others. "
    return text

"""The figures of the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from reddiff.bench.intervals import Interval
from reddiff.bench.measures import Measure, measure
from reddiff.bench.report.cards import card, data_of
from reddiff.bench.report.figures import Axis, Point, dot_plot, mark, scatter
from reddiff.bench.report.page_tables import difference_text
from reddiff.bench.summary import Cell, Summary

COST_AXES = {
    "evaluations": Axis("evaluations + backward passes", log=True),
    "seconds": Axis("seconds per image", log=True),
    "peak_bytes": Axis("memory beyond one network call (MB)"),
}


def legend(summary: Summary) -> str:
    """The legend: the mark of every solver."""
    items = "".join(
        f'<button type="button" class="key" data-solver="{i}" aria-pressed="false">'
        f'<svg viewBox="-8 -8 16 16" aria-hidden="true">{mark(i)}</svg>{escape(name)}</button>'
        for i, name in enumerate(summary.solvers)
    )
    return f'<div class="legend" role="group" aria-label="Highlight a solver">{items}</div>'


def differences(summary: Summary, baseline: str | None) -> str:
    """Paired differences of every solver from the best one, or from a baseline."""
    parts = []
    for metric, cell in _ranked(summary):
        by, points = measure(metric), []
        for i, solver in enumerate(summary.solvers):
            entry = summary.get(cell, solver, metric)
            if entry is None or not entry.compared:
                continue
            if solver != baseline and summary.get(cell, solver, "evaluations") is None:
                continue  # the degraded picture, which would hide the differences of the others
            gap, more = _gap(summary, cell, metric, solver, baseline)
            if gap is not None:
                text = f"{solver}: {difference_text(by, gap)}{more}"
                points.append(Point(solver, i, _scaled(gap, by), Interval(0), text))
        if len(points) < 2:
            continue
        to = "the best" if baseline is None else baseline
        axis = Axis(f"{by.label} minus that of {to}{f' ({by.unit})' if by.unit else ''}", show=0)
        title = f"{cell.task}, noise {cell.noise:g}: difference in {by.label} to {to}"
        parts.append(card(dot_plot(title, points, axis), cell.task, **data_of(cell, metric)))
    return "".join(parts)


def _gap(
    summary: Summary, cell: Cell, metric: str, solver: str, baseline: str | None
) -> tuple[Interval | None, str]:
    if baseline is None:
        entry = summary.get(cell, solver, metric)
        gap = None if entry is None else entry.gap
        return (Interval(0), " (the best)") if gap is None else (gap, "")
    if solver == baseline:
        return Interval(0), ""
    found = summary.difference(cell, metric, solver, baseline)
    if found is None:
        return None, ""
    return found.mean, f", better on {found.wins} of {found.images} images"


def tradeoff(summary: Summary) -> str:
    """LPIPS against PSNR, for each prior, task and noise level."""
    if not {"psnr", "lpips"} <= set(summary.metrics):
        return ""
    x, y = Axis("PSNR (dB), better to the right"), Axis("LPIPS, better below")
    parts = []
    for cell in summary.cells:
        points = _points(summary, cell, "psnr", "lpips")
        if points:
            title = f"{cell.task}, noise {cell.noise:g}: LPIPS against PSNR"
            parts.append(card(scatter(title, points, x, y), cell.task, **data_of(cell)))
    return "".join(parts)


def costs(summary: Summary) -> str:
    """Every ranked metric against evaluations, seconds and memory."""
    parts = []
    for cost, axis in COST_AXES.items():
        if cost not in summary.metrics:
            continue
        for metric, cell in _ranked(summary):
            points = _points(summary, cell, cost, metric)
            points = [p for p in points if p.x.mean > 0 or not axis.log]
            if points:
                by = measure(metric)
                title = f"{cell.task}, noise {cell.noise:g}: {by.label} against {axis.title}"
                content = scatter(title, points, axis, Axis(by.title))
                parts.append(card(content, cell.task, cost=cost, **data_of(cell, metric)))
    return "".join(parts)


def calibration(summary: Summary) -> str:
    """The coverage of intervals, and the error against the spread, for solvers with draws."""
    parts = []
    for cell in summary.cells:
        shown = []
        for i, solver in enumerate(summary.solvers):
            entry = summary.get(cell, solver, "coverage_90")
            if entry is not None:
                by = measure("coverage_90")
                text = f"{solver}: {by.text(entry.mean.mean)} %"
                shown.append(Point(solver, i, _scaled(entry.mean, by), Interval(0), text))
        if shown:
            axis = Axis("pixels inside the 90 % interval (%)", show=90)
            title = f"{cell.task}, noise {cell.noise:g}: coverage of 90 % intervals"
            content = dot_plot(title, shown, axis)
            parts.append(card(content, f"{cell.task}: coverage", **data_of(cell)))
        points = list(_errors(summary, cell))
        if points:
            axes = Axis("spread of the draws"), Axis("RMS error of their mean")
            title = f"{cell.task}, noise {cell.noise:g}: error against spread, one mark an image"
            content = scatter(title, points, *axes, diagonal=True)
            parts.append(card(content, f"{cell.task}: error and spread", **data_of(cell)))
    return "".join(parts)


def _errors(summary: Summary, cell: Cell) -> Iterable[Point]:
    for i, solver in enumerate(summary.solvers):
        spread, psnr = (summary.get(cell, solver, m) for m in ("spread", "psnr"))
        if spread is None or psnr is None:
            continue
        for image, value in spread.values.items():
            if image in psnr.values:
                error = 10 ** (-psnr.values[image] / 20)
                text = f"{solver}, {image}: spread {value:.3f}, error {error:.3f}"
                yield Point(solver, i, Interval(value), Interval(error), text)


def _ranked(summary: Summary) -> list[tuple[str, Cell]]:
    """The metrics that have better values, with every cell."""
    names = [m for m in summary.metrics if measure(m).better != "none"]
    return [(metric, cell) for metric in names for cell in summary.cells]


def _points(summary: Summary, cell: Cell, x: str, y: str) -> list[Point]:
    points = []
    for i, solver in enumerate(summary.solvers):
        across, up = (_axis_value(summary, cell, solver, name) for name in (x, y))
        if across is not None and up is not None:
            by = measure(x), measure(y)
            pair = _scaled(across, by[0]), _scaled(up, by[1])
            texts = by[0].text(across.mean), by[1].text(up.mean)
            text = f"{solver}: {by[0].label} {texts[0]}, {by[1].label} {texts[1]}"
            points.append(Point(solver, i, pair[0], pair[1], text))
    return points


def _axis_value(summary: Summary, cell: Cell, solver: str, name: str) -> Interval | None:
    entry = summary.get(cell, solver, name)
    if entry is None:
        return None
    if name == "evaluations":  # a backward pass counts as one more
        passes = summary.get(cell, solver, "vjps")
        return Interval(entry.mean.mean + (0 if passes is None else passes.mean.mean))
    return Interval(entry.mean.mean) if name in COST_AXES else entry.mean


def _scaled(value: Interval, by: Measure) -> Interval:
    parts = (value.mean, value.low, value.high)
    mean, low, high = (None if v is None else v * by.scale for v in parts)
    return Interval(mean if mean is not None else 0.0, low, high)

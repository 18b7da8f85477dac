"""The best setting of a grid for each prior, task and noise level, chosen with the truth."""

from __future__ import annotations

import re
from dataclasses import replace

from reddiff.bench.choosing import of_grid
from reddiff.bench.measures import COSTS, MEASURES, measure
from reddiff.bench.report.reading import Loaded
from reddiff.bench.summary import Cell, summarize
from reddiff.errors import require, require_name
from reddiff.images.words import split_word

METRIC = "psnr"  # the default metric by which a setting is chosen
JUDGES = [name for name, by in MEASURES.items() if by.better != "none" and name not in COSTS]


def with_oracle(loaded: Loaded, text: str) -> Loaded:
    """Results with the best setting of a grid in each cell added as a solver.

    A setting that lacks a result for an image of the cell is not chosen, unless all settings do.

    Arguments:
        loaded: The results.
        text: `GRID`, or `GRID:METRIC` for a metric other than PSNR. The mean over images is used.

    Raises:
        InvalidArgument: If there is no such grid, or no such metric among its results.
    """
    grid, named = split_word(text)
    metric = named or METRIC
    require_name(metric, JUDGES, "oracle", "a metric")
    settings = of_grid(grid, loaded.solvers)
    grids = dict.fromkeys(re.split(r" \w+=", s)[0] for s in loaded.solvers if "=" in s)
    require(bool(grids), "oracle", expected="results of a grid", got="none")
    if not settings:
        require_name(grid, grids, "oracle", "a grid of the results")
    label = f"{grid} (oracle: {metric})"
    summary = summarize(loaded.rows, solvers=settings, metrics=(metric,))
    taken: dict[Cell, str] = {}
    for cell in summary.cells:
        entries = {s: e for s in settings if (e := summary.get(cell, s, metric)) is not None}
        most = max((len(e.values) for e in entries.values()), default=0)
        losses = {
            s: measure(metric).loss(e.mean.mean)
            for s, e in entries.items()
            if len(e.values) == most
        }
        if losses:
            taken[cell] = min(losses, key=lambda s: losses[s])
    require(bool(taken), "oracle", expected=f"results of {grid} with {metric}", got="none")
    rows = [
        row | {"solver": label}
        for row in loaded.rows
        if taken.get(Cell(row["prior"], row["task"], row["noise"])) == row["solver"]
    ]
    oracles = {**loaded.oracles, label: taken}
    return replace(loaded, rows=[*loaded.rows, *rows], oracles=oracles)


def oracle_lines(loaded: Loaded) -> list[str]:
    """The setting that each oracle chose in each cell, in sentences."""
    return [
        f"{label}, chosen with the truth: "
        + "; ".join(
            f"{setting} for {cell.task} at {cell.noise:g} ({cell.prior})"
            for cell, setting in taken.items()
        )
        + "."
        for label, taken in loaded.oracles.items()
    ]

"""The means of a results file as tables, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from reddiff.bench.spec import Spec

DIGITS = {"psnr": 2, "ssim": 3, "lpips": 3, "residual": 2, "spread": 3, "coverage_90": 2}

Titled = tuple[str, list[str], list[list[str]]]


def means(spec: Spec, rows: Sequence[Mapping[str, Any]]) -> Iterator[Titled]:
    """A title, a header and lines for each prior: a line per task, noise and solver."""
    for prior in spec.priors:
        mine = [row for row in rows if row["prior"] == prior and row["status"] == "ok"]
        if not mine:
            continue
        names = list(dict.fromkeys(k for row in mine for k in row["metrics"]))
        lines = []
        cells = dict.fromkeys((row["task"], row["noise"]) for row in mine)
        for task, noise in cells:
            for solver in spec.solvers:
                some = [
                    row
                    for row in mine
                    if (row["task"], row["noise"], row["solver"]) == (task, noise, solver)
                ]
                if some:
                    lines.append([task, f"{noise:g}", solver, *_line(some, names)])
        header = ["task", "noise", "solver", "images", *names, "evaluations", "s an image"]
        yield f"{spec.name}, prior {prior}: means", header, lines


def _line(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        values = [row["metrics"][name] for row in rows if name in row["metrics"]]
        cells.append(f"{fmean(values):.{DIGITS.get(name, 4)}f}" if values else "")
    evaluations, vjps = rows[0]["evaluations"], rows[0]["vjps"]
    passes = f"{evaluations} + {vjps}" if vjps else f"{evaluations}"
    return [str(len(rows)), *cells, passes, f"{fmean(row['seconds'] for row in rows):.2f}"]

"""Distances between the features of truths and of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from reddiff.bench.intervals import Interval, interval_of, resamples
from reddiff.bench.ranking import Entry, common_images, ranked
from reddiff.bench.summary import Cell, Summary, in_order
from reddiff.metrics.distances import frechet_distance, paired_kernel, weighted_mean

TRUTH = ""  # in the place of a solver
Vectors = Mapping[str, NDArray[np.float32]]  # image -> features


def with_feature_sets(summary: Summary, features: Mapping[tuple[Cell, str], Vectors]) -> Summary:
    """The summary with the metrics `frechet` and `kernel`, over the images of compared solvers.

    Arguments:
        summary: The summary, which defines the solvers and cells.
        features: The features of every cell and solver; the solver "" stands for the truth.
    """
    entries = dict(summary.entries)
    for cell in summary.cells:
        truth = features.get((cell, TRUTH), {})
        each = {s: v for s in summary.solvers if (v := features.get((cell, s), {}))}
        compared, common = common_images(each | {TRUTH: truth}, summary.images[cell])
        if TRUTH not in compared or len(common) < 2:
            continue
        solvers = [s for s in compared if s != TRUTH]
        rows = {s: _rows(features[cell, s], common) for s in (*solvers, TRUTH)}
        made = _distances(solvers, rows, tuple(common))
        entries |= {(cell, s, name): e for name, some in made.items() for s, e in some.items()}
    found = [name for name in ("frechet", "kernel") if any(key[2] == name for key in entries)]
    return replace(summary, entries=entries, metrics=in_order({*summary.metrics, *found}))


def _rows(vectors: Vectors, images: list[str]) -> torch.Tensor:
    return torch.from_numpy(np.stack([vectors[k] for k in images])).double()


def _distances(
    solvers: list[str], rows: Mapping[str, torch.Tensor], images: tuple[str, ...]
) -> dict[str, dict[str, Entry]]:
    truth, n = rows[TRUTH], len(images)
    counts = torch.from_numpy(resamples(n))
    kernels = {s: paired_kernel(rows[s], truth) for s in solvers}
    means = {s: float(weighted_mean(h, torch.ones(n))) for s, h in kernels.items()}
    draws = {s: weighted_mean(h, counts).numpy() for s, h in kernels.items()}

    def gap(solver: str, best: str) -> Interval:
        return interval_of(means[solver] - means[best], draws[solver] - draws[best], n)

    def bare_gap(solver: str, best: str) -> Interval:
        return Interval(frechet[solver].mean.mean - frechet[best].mean.mean)

    frechet = {
        s: Entry({}, Interval(float(frechet_distance(rows[s], truth))), images, True)
        for s in solvers
    }
    kernel = {s: Entry({}, interval_of(means[s], draws[s], n), images, True) for s in solvers}
    return {
        "frechet": ranked(frechet, "frechet", bare_gap),
        "kernel": ranked(kernel, "kernel", gap),
    }

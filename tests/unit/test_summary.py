"""Means, intervals, ranks and paired differences of benchmark results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from reddiff.bench.feature_sets import with_feature_sets
from reddiff.bench.intervals import interval, student
from reddiff.bench.measures import measure
from reddiff.bench.summary import Cell, summarize
from reddiff.metrics import frechet_distance, kernel_distance

CELL = Cell("photo", "sr4", 0.05)


def row(solver: str, image: str, status: str = "ok", **metrics: float) -> dict[str, Any]:
    return {
        "prior": CELL.prior,
        "task": CELL.task,
        "noise": CELL.noise,
        "image": image,
        "solver": solver,
        "status": status,
        "error": None if status == "ok" else "a reason",
        "metrics": metrics,
        "evaluations": 20,
        "vjps": 0,
        "seconds": 0.5,
        "peak_bytes": None,
        "batch": 8,
    }


def rows(**values: list[float]) -> list[dict[str, Any]]:
    """Rows of PSNR: solver -> a value for each image, None where it diverged."""
    return [
        row(solver, f"im{i}", "diverged") if v is None else row(solver, f"im{i}", psnr=v)
        for solver, each in values.items()
        for i, v in enumerate(each)
    ]


@pytest.mark.parametrize("freedom", [1, 2, 7, 99])
def test_student_quantiles_are_those_of_scipy(freedom):
    assert student(freedom, 0.975) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


@pytest.mark.parametrize("n", [8, 30])
def test_intervals_hold_the_mean_in_95_percent_of_cases(n, measure):
    generator = np.random.default_rng(n)
    held = [interval(list(generator.normal(3.0, 2.0, n))).holds(3.0) for _ in range(1000)]
    measure(f"95 % interval of {n} normal values holds the mean in {100 * np.mean(held):.1f} %")
    assert 0.92 < np.mean(held) < 0.975


def test_an_interval_is_the_same_every_time_and_that_of_a_bootstrap():
    values = np.random.default_rng(0).normal(size=50)
    found = interval(list(values))
    assert found == interval(list(values))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=1, n_resamples=9999)
    low, high = theirs.confidence_interval
    width = high - low
    assert abs(found.low - low) < 0.06 * width
    assert abs(found.high - high) < 0.06 * width


def test_few_images_equal_values_and_infinity_have_no_interval():
    assert not interval([3.0, 4.0, 3.5, 3.2]).known
    assert not interval([0.0] * 20).known  # of a share of 0, say
    found = interval([3.0, 3.1, 3.2, 2.9, math.inf])
    assert found.mean == math.inf
    assert not found.known


def test_the_best_and_the_second_best_are_on_the_same_images():
    found = summarize(rows(a=[20, 21, 22], b=[24, 25, 26], c=[23, 29, None]))
    entries = {s: found.get(CELL, s, "psnr") for s in "abc"}
    assert entries["a"].images == ("im0", "im1")
    assert [entries[s].mean.mean for s in "abc"] == [20.5, 24.5, 26.0]
    assert [entries[s].rank for s in "abc"] == [3, 2, 1]
    assert entries["c"].gap is None
    assert entries["b"].gap.mean == -1.5
    assert found.failures == {(CELL, "c"): {"diverged": 1}}


def test_a_solver_with_few_images_does_not_shrink_those_of_the_others():
    found = summarize(rows(a=[20, 21, 22, 23], b=[24, 25, 26, 27], c=[40, None, None, None]))
    assert found.get(CELL, "a", "psnr").mean.mean == 21.5
    few = found.get(CELL, "c", "psnr")
    assert (few.compared, few.rank, few.images, few.mean.mean) == (False, None, ("im0",), 40)
    assert found.get(CELL, "b", "psnr").rank == 1


def test_solvers_without_an_image_in_common_are_not_ranked():
    found = summarize(rows(a=[20, 21, None, None], b=[None, None, 24, 25]))
    entries = [found.get(CELL, s, "psnr") for s in "ab"]
    assert [(e.rank, e.compared, e.mean.mean) for e in entries] == [
        (None, False, 20.5),
        (None, False, 24.5),
    ]


def test_the_order_of_rows_does_not_matter():
    some = rows(a=[20, 21.5, 22, 19], b=[24, 21, 26, 18])
    back = summarize(some[::-1], solvers=["a", "b"])
    assert summarize(some).entries == back.entries
    assert back.solvers == ("a", "b")


def test_a_paired_difference_is_narrower_than_the_intervals_of_means():
    generator = np.random.default_rng(0)
    hard = generator.normal(25, 5, 20)
    found = summarize(rows(a=list(hard), b=list(hard + generator.normal(0.5, 0.2, 20))))
    one, other = (found.get(CELL, s, "psnr").mean for s in "ab")
    assert one.high > other.low  # the intervals overlap
    gap = found.difference(CELL, "psnr", "b", "a")
    assert gap.mean.low > 0.3
    assert (gap.images, gap.wins) == (20, 20)
    assert not found.get(CELL, "a", "psnr").tied
    assert found.get(CELL, "a", "psnr").gap.mean == pytest.approx(-gap.mean.mean)


def test_differences_that_may_be_chance_are_ties():
    found = summarize(rows(a=[20, 30, 25, 21, 28], b=[21, 29, 26, 20, 29]))
    assert found.get(CELL, "a", "psnr").tied
    assert not found.get(CELL, "b", "psnr").tied


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [("lpips", (0.1, 0.2), 0), ("residual", (0.2, 1.1), 1), ("coverage_90", (0.98, 0.86), 1)],
)
def test_better_is_what_the_measure_says(metric, values, best):
    found = summarize([row("ab"[i], "im0", **{metric: v}) for i, v in enumerate(values)])
    assert found.get(CELL, "ab"[best], metric).rank == 1
    assert found.get(CELL, "ab"[1 - best], metric).rank == 2


def test_what_has_no_better_has_no_rank():
    found = summarize([row("a", "im0", spread=0.1), row("b", "im0", spread=0.2)])
    assert found.get(CELL, "a", "spread").rank is None
    assert found.get(CELL, "a", "seconds").rank is None
    assert found.metrics == ("spread", "evaluations", "vjps", "seconds")


def test_measures_are_written_with_their_units():
    assert measure("psnr").title == "PSNR (dB) ↑"
    assert measure("coverage_90").title == "90 % coverage (%) → 90"
    assert measure("peak_bytes").text(12_340_000) == "12.3"
    assert measure("psnr").text(-0.5, sign=True) == "-0.50"
    assert measure("new_metric").title == "new_metric"


def test_distances_of_feature_sets_are_those_of_the_images_in_common(measure):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(40, 6, generator=generator)
    near, far = truth + 0.1 * torch.randn(40, 6, generator=generator), truth + 2
    names = [f"im{i}" for i in range(40)]
    features = {
        (CELL, s): dict(zip(names, v.numpy(), strict=True))
        for s, v in (("", truth), ("near", near), ("far", far))
    }
    del features[CELL, "far"]["im3"]
    plain = summarize(rows(near=[30.0] * 40, far=[20.0] * 40))
    found = with_feature_sets(plain, features)
    assert found.metrics == ("psnr", "frechet", "kernel", "evaluations", "vjps", "seconds")
    kept = [i for i in range(40) if i != 3]
    frechet, kernel = (found.get(CELL, "far", m) for m in ("frechet", "kernel"))
    assert len(kernel.images) == 39
    u, v = far[kept], truth[kept]
    assert frechet.mean.mean == pytest.approx(float(frechet_distance(u, v)))
    assert kernel.mean.mean == pytest.approx(float(kernel_distance(u, v, paired=True)))
    assert not frechet.mean.known
    near_mean = found.get(CELL, "near", "frechet").mean.mean
    assert frechet.gap.mean == pytest.approx(frechet.mean.mean - near_mean)
    assert not frechet.tied
    assert kernel.mean.low < kernel.mean.mean < kernel.mean.high
    assert [found.get(CELL, s, "kernel").rank for s in ("near", "far")] == [1, 2]
    assert kernel.gap.low > 0


def test_without_features_of_the_truth_there_are_no_distances():
    plain = summarize(rows(a=[30.0] * 3))
    features = {(CELL, "a"): {f"im{i}": np.ones(4, np.float32) for i in range(3)}}
    assert with_feature_sets(plain, features).metrics == plain.metrics

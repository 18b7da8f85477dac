"""`to_arviz`, and the diagnostics of chains, beside the real ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats

from reddiff import Gaussian, Problem, sample_posterior, to_arviz
from reddiff.hooks import Hook, Progress
from reddiff.operators import Identity
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff
from reddiff.uncertainty import ess_bulk, ess_tail, rhat


class Mean(Hook):
    def __call__(self, progress: Progress) -> dict[str, torch.Tensor]:
        return {"mean": progress.x.flatten(1).mean(1)}


def test_a_result_becomes_a_tree() -> None:
    y = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    problem, prior = Problem(y, Identity(), Gaussian(0.5)), GaussianRandomField(-2.2, std=0.5)
    solver = NoiseAwareREDDiff.default(3, realism=1.0)
    result = sample_posterior(problem, prior, 5, solver=solver, ids=[7, 3], hooks=[Mean()])
    tree = to_arviz(result, problem)
    x = tree["posterior"]["x"]
    assert x.sel(lane=3).shape == (1, 5, 1, 4, 4)
    np.testing.assert_array_equal(x.sel(lane=3, draw=2)[0], result.samples[1, 2])
    assert tree["history"]["mean"].sizes == {"chain": 5, "draw": 3, "lane": 2}
    np.testing.assert_array_equal(tree["observed_data"]["y"], y)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95])
def test_diagnostics_are_the_same(phi: float) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 500))
    x = np.zeros_like(noise)
    for t in range(500):
        x[:, t] = phi * x[:, t - 1] + noise[:, t]
    axes = {"chain_axis": 0, "draw_axis": 1}
    v = torch.from_numpy(x)
    assert float(rhat(v)) == pytest.approx(float(array_stats.rhat(x, **axes)), rel=1e-9)
    bulk = array_stats.ess(x, method="bulk", **axes)
    assert float(ess_bulk(v)) == pytest.approx(float(bulk), rel=0.1)
    tail = array_stats.ess(x, method="tail", prob=(0.05, 0.95), **axes)
    assert float(ess_tail(v)) == pytest.approx(float(tail), rel=0.1)

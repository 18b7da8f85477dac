"""Metrics: the truth is best, more noise is worse, and lanes do not mix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zoo


@pytest.fixture(scope="module")
def truth() -> Tensor:
    rows = torch.linspace(0.2, 0.8, 64, dtype=torch.float32)
    waves = 0.1 * torch.sin(torch.arange(64) / 3.0)
    return (rows[:, None] + waves).expand(3, 3, 64, 64).clone()


def worse(case: zoo.MetricCase, one: Tensor, other: Tensor) -> bool:
    drop = other - one if case.larger_is_better else one - other
    return bool((drop > 0 if case.graded else drop >= 0).all())


@zoo.every("case", zoo.METRICS)
def test_the_truth_is_best_and_more_noise_is_worse(case: zoo.MetricCase, truth: Tensor) -> None:
    metric, noise = case.make(), zoo.randn(3, 3, 64, 64).float()
    values = [metric((truth + s * noise).clamp(0, 1), truth) for s in (0.0, 0.02, 0.1)]
    assert [v.shape for v in values] == [(3,)] * 3
    torch.testing.assert_close(values[0], torch.full((3,), case.best), atol=1e-5, rtol=0)
    assert worse(case, values[1], values[0])
    assert worse(case, values[2], values[1])


@zoo.every("case", zoo.METRICS)
def test_lanes_do_not_mix(case: zoo.MetricCase, truth: Tensor) -> None:
    metric = case.make()
    x = truth + torch.tensor([0.02, 0.1, 0.05])[:, None, None, None] * zoo.randn(3, 3, 64, 64)
    x = x.float().clamp(0, 1)
    alone = [metric(x[i : i + 1], truth[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(metric(x, truth), torch.cat(alone), atol=1e-5, rtol=1e-5)

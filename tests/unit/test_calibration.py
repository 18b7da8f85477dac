"""Metrics of draws, on draws with known answers."""

from __future__ import annotations

import pytest
import torch

import zoo
from reddiff import InvalidArgument
from reddiff.metrics import coverage, moment_errors, ranks, sliced_wasserstein

pytestmark = pytest.mark.usefixtures("untyped")


def draws(count: int, cov: torch.Tensor, seed: int) -> torch.Tensor:
    return zoo.randn(1, count, len(cov), seed=seed) @ torch.linalg.cholesky(cov).mT


def test_moment_errors_of_exact_draws_vanish_and_of_wrong_ones_are_the_distance() -> None:
    cov = zoo.spd(5, seed=1)
    mean = torch.zeros(1, 5, dtype=zoo.F64)
    x = torch.cat([draws(4000, cov, seed) for seed in range(40)])
    off = [m.mean() for m in moment_errors(x, mean.expand(40, 5), cov.expand(40, 5, 5))]
    assert max(off) < 0.015
    shift = mean + 0.3 * cov.trace().sqrt() / 5**0.5
    m, c = moment_errors(1.2 * x[:1] + shift, mean, cov[None])
    assert m.item() == pytest.approx(0.3, abs=0.03)
    assert c.item() == pytest.approx(0.44, abs=0.06)  # 1.2^2 - 1


def test_moment_errors_take_off_what_few_draws_are_off_by_chance() -> None:
    cov, lanes = zoo.spd(5, seed=1), 3000
    x = draws(20 * lanes, cov, 0).view(lanes, 20, 5)
    m, c = moment_errors(x, torch.zeros(lanes, 5, dtype=zoo.F64), cov.expand(lanes, 5, 5))
    chance = x.mean(1).square().sum(1).mean() / cov.trace()
    assert m.square().mean() < 0.6 * chance  # cut at 0 lane by lane: half of it stays
    d = (x - x.mean(1, keepdim=True)).mT @ (x - x.mean(1, keepdim=True)) / 19 - cov
    assert c.square().mean() < 0.5 * d.square().sum((1, 2)).mean() / cov.square().sum()


@pytest.mark.slow
def test_sliced_wasserstein_of_a_shift_and_of_a_scale() -> None:
    u = zoo.randn(4000, 3)
    assert sliced_wasserstein(u, u[torch.randperm(4000)]) < 1e-12
    shift = torch.tensor([0.0, 3.0, 0.0], dtype=zoo.F64)
    # E (theta . shift)^2 = |shift|^2 / 3
    assert sliced_wasserstein(u, u + shift).item() == pytest.approx(3**0.5, rel=0.05)
    assert sliced_wasserstein(u, 2 * u).item() == pytest.approx(1, rel=0.03)
    assert sliced_wasserstein(u, zoo.randn(4000, 3, seed=1)) < 0.06


def test_ranks_are_uniform_and_intervals_cover_what_they_say_for_exact_draws() -> None:
    x, samples = zoo.randn(4000, 2), zoo.randn(4000, 39, 2, seed=1)
    r = ranks(samples, x)
    assert r.min() == 0
    assert r.max() == 39
    assert torch.bincount(r.flatten(), minlength=40).min() > 140  # 200 expected
    for level in (0.5, 0.9):
        share = coverage(samples, x, level)
        assert share.shape == (4000,)
        assert share.mean().item() == pytest.approx(level, abs=0.02)
    assert coverage(0.5 * samples, x, 0.9).mean() < 0.65  # too sure
    assert coverage(2 * samples, x, 0.5).mean() > 0.75


def test_refusals() -> None:
    x = zoo.randn(2, 3)
    with pytest.raises(InvalidArgument, match="samples: expected at least 2 draws"):
        moment_errors(x[:, None], x, torch.eye(3, dtype=zoo.F64).expand(2, 3, 3))
    with pytest.raises(InvalidArgument, match=r"S = 20 for level 0\.9"):
        coverage(zoo.randn(2, 20, 3), x, 0.9)

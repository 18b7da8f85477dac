"""Rank statistics, coverage curves and TARP: exact draws pass, wrong ones are seen."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem
from reddiff.operators import Matrix
from reddiff.priors import GaussianMixture
from reddiff.uncertainty import coverage_curve, pit, rank_statistics, rank_test, sbc, tarp
from reddiff.uncertainty.distributions import binomial_cdf, chi_square_tail, clopper_pearson

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
SEEDS = [0, *[pytest.param(i, marks=pytest.mark.slow) for i in range(1, 6)]]


def gaussian_study(scale: float, seed: int, n: int = 200, S: int = 39, size: int = 256):
    """Problems whose truth is white, and draws from the posterior of a prior of another scale."""
    A = zoo.randn(32, size, seed=1) / size**0.5
    x = zoo.randn(n, size, seed=100 + seed)
    problem = Problem.simulate(x, Matrix(A), Gaussian(0.3), seed=seed)
    cov = scale * torch.eye(size, dtype=F64)
    gain = cov @ A.mT @ torch.linalg.inv(A @ cov @ A.mT + 0.09 * torch.eye(32, dtype=F64))
    root = torch.linalg.cholesky(cov - gain @ A @ cov)
    noise = zoo.randn(n, S, size, seed=200 + seed)
    return x, problem, (problem.y @ gain.mT)[:, None] + noise @ root.mT


def mixture(*weights: float) -> GaussianMixture:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=F64)[: len(weights)]
    cov = 0.05 * torch.eye(2, dtype=F64).repeat(len(weights), 1, 1)
    return GaussianMixture(torch.tensor(weights, dtype=F64), means, cov)


def mixture_study(used: GaussianMixture, seed: int, n: int = 200, S: int = 39):
    true = mixture(0.7, 0.3)
    x = true.sample(torch.empty(n, 2, dtype=F64), Keys(seed, zoo.ids(n)).at(0))
    problem = Problem.simulate(x, Matrix(zoo.randn(1, 2, seed=3)), Gaussian(2.0), seed=seed)
    return x, problem, used.posterior(problem).sample(S, seed=seed)


def p_value(x, problem, samples, seed) -> float:
    """Of five tests together."""
    quantities = {
        "mean": lambda v: v.mean(1),
        "square": lambda v: v.square().mean(1),
        "first": lambda v: v[:, 0],
        "likelihood": problem.nll,
    }
    found = sbc(samples, x, quantities, seed=seed)
    return min(1.0, 1.25 * found.p, 5 * tarp(samples, x, seed=seed).p)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_draws_pass(seed):
    assert p_value(*gaussian_study(1.0, seed), seed) > 0.01
    assert p_value(*mixture_study(mixture(0.7, 0.3), seed), seed) > 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_a_covariance_off_by_five_per_cent_is_seen(seed):
    assert p_value(*gaussian_study(1.05, seed), seed) < 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_a_missed_mode_is_seen(seed):
    assert p_value(*mixture_study(mixture(1.0), seed), seed) < 0.02


def test_draws_from_the_prior_are_seen_by_quantities_of_y_only():
    x, problem, _ = gaussian_study(1.0, 0)
    prior = zoo.randn(200, 49, 256, seed=9)
    assert sbc(prior, x).p > 0.01
    assert tarp(prior, x).p > 0.01
    assert sbc(prior, x, {"likelihood": problem.nll}).p < 0.01
    assert tarp(prior, x, references=problem.initial_estimate()).p < 0.01


def test_the_p_values_of_uniform_ranks_are_uniform():
    generator = torch.Generator().manual_seed(4)
    ranks = torch.randint(0, 20, (200, 60), generator=generator)
    tests = [rank_test(row, 19) for row in ranks]
    for p in ([t.p for t in tests], [t.chi_square_p for t in tests]):
        share = (torch.tensor(p) <= 0.1).double().mean()
        assert 0.015 < share < 0.185  # four deviations about 0.1
    outside = torch.stack([((t.ecdf < t.low) | (t.ecdf > t.high)).any() for t in tests])
    assert outside.double().mean() < 0.1


def test_skewed_ranks_leave_the_band():
    test = rank_test(torch.arange(200) % 10, 19)
    assert test.p < 0.002
    assert test.chi_square_p < 1e-6
    assert test.mean == pytest.approx(4.5 / 19)
    assert (test.ecdf > test.high).any()
    assert "points outside the 95 % band" in str(test)


def test_equal_values_share_their_ranks_at_random():
    generator = torch.Generator().manual_seed(5)
    values = torch.randint(0, 2, (2000, 10), generator=generator).double()
    ranks = rank_statistics(values[:, 1:], values[:, 0])
    assert rank_test(ranks, 9).p > 0.01
    assert rank_test((values[:, 1:] < values[:, :1]).sum(1), 9).p < 0.01
    spread = pit(values[:, 1:], values[:, 0])
    assert stats.kstest(spread.numpy(), "uniform").pvalue > 0.001


def test_coverage_curve_of_uniform_and_of_narrow_draws():
    x, samples = zoo.randn(500), zoo.randn(500, 19, seed=1)
    right = coverage_curve(rank_statistics(samples, x), 19)
    assert right.levels.tolist() == pytest.approx([i / 10 for i in range(1, 10)])
    assert ((right.low <= right.levels) & (right.levels <= right.high)).double().mean() > 0.7
    narrow = coverage_curve(rank_statistics(0.7 * samples, x), 19)
    assert (narrow.high < narrow.levels)[4:].all()
    inside = (x > samples.amin(1)) & (x < samples.amax(1))
    assert right.shares[-1] == pytest.approx(float(inside.double().mean()))


def test_laws_are_those_of_scipy():
    p = torch.tensor([0.0, 0.3, 1.0], dtype=F64)
    expected = stats.binom.cdf(range(41), 40, p[:, None].numpy())
    torch.testing.assert_close(binomial_cdf(40, p), torch.from_numpy(expected))
    hits = torch.tensor([0, 1, 20, 40])
    low, high = clopper_pearson(hits, 40, 0.9)
    for k, a, b in zip(hits.tolist(), low.tolist(), high.tolist(), strict=True):
        ends = stats.binomtest(k, 40).proportion_ci(0.9, "exact")
        assert (a, b) == pytest.approx((ends.low, ends.high), abs=1e-9)
    tail = chi_square_tail(torch.tensor([3.0]), torch.tensor([5]))
    assert tail.item() == pytest.approx(stats.chi2.sf(3.0, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_test(torch.tensor([3]), 2), "ranks: expected integers from 0 to 2"),
        (lambda: rank_test(torch.zeros(0, dtype=torch.int64), 2), "ranks: expected at least one"),
        (lambda: sbc(torch.zeros(2, 3, 4), torch.zeros(2, 5)), "samples: expected draws"),
        (
            lambda: sbc(torch.zeros(2, 3, 4), torch.zeros(2, 4), {"f": lambda x: x}),
            r"quantities\['f'\]: expected a number for each of 2 lanes",
        ),
        (
            lambda: sbc(torch.ones(2, 3, 4), torch.ones(2, 4), {"f": lambda x: x[:, 0] / 0 * 0}),
            r"quantities\['f'\]: expected a number for each of 2 lanes, got nan for 2",
        ),
        (
            lambda: rank_statistics(torch.ones(1, 3), torch.tensor([torch.nan])),
            "samples and truth: expected values with a rank, got nan",
        ),
        (lambda: sbc(torch.full((2, 3, 4), torch.nan), torch.zeros(2, 4)), r"samples: .* finite"),
        (
            lambda: tarp(torch.zeros(2, 3, 4), torch.zeros(2, 4), references=torch.zeros(1, 4)),
            "references: expected shape",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(InvalidArgument, match=message):
        call()

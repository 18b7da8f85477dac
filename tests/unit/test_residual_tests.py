"""Tests of residuals: their false alarms, and what they see."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, UnknownGaussian, Unsupported
from reddiff.operators import CircularBlur, Identity, Mask
from reddiff.priors import ErrorSpectrum, GaussianRandomField, photo_prior
from reddiff.uncertainty import measured_share, prior_std, residual_tests
from reddiff.uncertainty.residual_statistics import STATISTICS, autocorrelation, sign_changes

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
SEEDS = [0, *[pytest.param(i, marks=pytest.mark.slow) for i in range(1, 6)]]
FIELD = GaussianRandomField(-3.0, std=0.5)


def blur(width: float) -> CircularBlur:
    t = torch.arange(-4, 5, dtype=F64)
    kernel = torch.exp(-(t[:, None] ** 2 + t**2) / (2 * width**2))
    return CircularBlur(kernel / kernel.sum())


HOLES = Mask(zoo.coin(16, 16, p=0.7))


def study(true, used, sigma, given, *, n=24, seed=0, draws=1, lanes=1, replicates=199):
    """p-values of y with one A and sigma at exact draws of the posterior of others."""
    x = FIELD.sample(torch.empty(lanes, 1, n, n, dtype=F64), Keys(seed, tuple(range(lanes))).at(0))
    y = Problem.simulate(x, true, Gaussian(sigma), seed=seed).y
    problem = Problem(y, used, Gaussian(given))
    samples = FIELD.posterior(problem).sample(draws, seed=seed)
    return residual_tests(problem, samples, draws=draws, replicates=replicates, seed=seed)


@pytest.mark.parametrize(
    ("operator", "sigma"), [(Identity(), 0.2), (HOLES, 0.2), (blur(1.0), 0.05)]
)
@pytest.mark.parametrize("draws", [1, 4])
def test_false_alarms_are_as_rare_as_they_should_be(operator, sigma, draws):
    found = study(operator, operator, sigma, sigma, n=16, lanes=40, draws=draws)
    for p in found.p.values():
        assert (p <= 0.1).double().mean() <= 0.1 + 4 * (0.09 / 40) ** 0.5
    assert (found.overall <= 0.01).sum() <= 3
    if draws == 1:
        assert (found.p["chi-square"] <= 0.5).double().mean() > 0.25  # not merely never


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_noise_level_is_seen(seed):
    found = study(blur(1.0), blur(1.0), 0.06, 0.05, seed=seed, replicates=999)
    assert found.overall < 0.01
    found = study(blur(1.0), blur(1.0), 0.05 / 1.2, 0.05, n=40, seed=seed, replicates=999)
    assert found.overall < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_operator_is_seen(seed):
    found = study(blur(1.0), blur(1.5), 0.02, 0.02, seed=seed, draws=2, replicates=999)
    assert found.overall < 0.02
    assert found.p["whiteness"] < 0.01
    assert "whiteness: p 0.00" in str(found)


def test_the_statistics_are_those_of_the_books():
    z, seen = zoo.randn(3, 400), torch.ones(3, 400, dtype=torch.bool)
    for row, q in zip(z, autocorrelation(z, seen), strict=True):
        r = [float((row[k:] * row[:-k]).sum() / row.square().sum()) for k in range(1, 6)]
        box = sum(400**2 * v**2 / (400 - k) for k, v in enumerate(r, 1))
        assert float(q) == pytest.approx(box)
    signs = z[0] > 0
    assert sign_changes(z, seen)[0] == int((signs[1:] ^ signs[:-1]).sum())
    many = zoo.randn(2000, 24, 24, seed=5)
    everywhere = torch.ones(2000, 24, 24, dtype=torch.bool)
    q = autocorrelation(many, everywhere)
    assert q.mean() == pytest.approx(10, rel=0.08)  # lags: chi-square of ten degrees of freedom
    assert stats.kstest(q.numpy(), stats.chi2(10).cdf).statistic < 0.06


def test_entries_that_are_not_measured_do_not_count():
    z, seen = zoo.randn(2, 1, 9, 9), zoo.coin(2, 1, 9, 9, p=0.6) > 0
    z = torch.where(seen, z, 0)
    for statistic, _ in STATISTICS.values():
        alone = torch.cat([statistic(z[i : i + 1], seen[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(statistic(z, seen), alone)
    line = z[0][seen[0]]
    whole = torch.ones(1, len(line), dtype=torch.bool)
    assert sign_changes(z, seen)[0] == sign_changes(line[None], whole)[0]
    assert torch.isnan(autocorrelation(z, torch.zeros_like(seen))).all()


def test_other_noise_is_replicated_at_every_draw():
    x = 5 + FIELD.sample(torch.empty(2, 1, 8, 8, dtype=F64), Keys(0, (0, 1)).at(0))
    problem = Problem.simulate(x, Identity(), Poisson(30.0))
    right = residual_tests(problem, x[:, None].expand(-1, 2, -1, -1, -1), draws=2, replicates=99)
    assert right.overall.min() > 0.01
    wrong = Problem(problem.y, Identity(), Poisson(12.0))
    found = residual_tests(wrong, x[:, None], replicates=99)
    assert (found.p["chi-square"] <= 0.05).all()


def test_bad_arguments_are_named():
    y = torch.zeros(1, 1, 4, 4, dtype=F64)
    problem, x = Problem(y, Identity(), Gaussian(0.1)), y[:, None]
    with pytest.raises(InvalidArgument, match="samples: expected draws of x"):
        residual_tests(problem, x[..., 1:])
    with pytest.raises(InvalidArgument, match="samples: expected at least 2 draws"):
        residual_tests(problem, x, draws=2)
    with pytest.raises(InvalidArgument, match="samples: expected finite"):
        residual_tests(problem, x + torch.nan)
    for noise in (Gaussian(0.0), UnknownGaussian()):
        with pytest.raises(Unsupported, match="known level above 0"):
            residual_tests(Problem(y, Identity(), noise), x)


def test_the_share_is_that_of_the_variance():
    problem = Problem(torch.zeros(64, 1, 8, 8, dtype=F64), HOLES_8, Gaussian(0.1))
    eye = torch.eye(64, dtype=F64).view(64, 1, 8, 8)
    covariance = FIELD.posterior(problem).covariance(eye)
    variance = (covariance * eye).sum((1, 2, 3)).view(1, 1, 8, 8)
    share = measured_share(variance.sqrt(), 0.5)
    assert share[0, 0][HOLES_8.mask == 1].min() > 0.9
    assert share.min() > 0
    assert share[0, 0][HOLES_8.mask == 0].max() < share[0, 0][HOLES_8.mask == 1].min()
    draws = FIELD.posterior(problem.select(torch.tensor([0]))).sample(400)
    prior = FIELD.sample(torch.empty(400, 1, 8, 8, dtype=F64), Keys(0, tuple(range(400))).at(0))
    torch.testing.assert_close(measured_share(draws.std(1), prior.std(0)), share, atol=0.25, rtol=0)
    with pytest.raises(InvalidArgument, match="prior_std: expected values above 0"):
        measured_share(variance, 0.0)
    with pytest.raises(InvalidArgument, match=r"prior_std: expected .* fits"):
        measured_share(variance, torch.ones(3))


def test_the_spread_of_a_prior_follows_from_its_error():
    s, variance = torch.tensor([0.1, 1.0, 10.0], dtype=F64), torch.tensor([0.5, 0.25, 0.1])
    power = variance[:, None] * s**2 / (variance[:, None] + s**2)  # of white channels
    white = power.mT[..., None].expand(-1, -1, 2).double()
    axes = torch.linalg.qr(zoo.randn(3, 3))[0]
    prior, frequencies = photo_prior(), torch.tensor([0.1, 0.5], dtype=F64)
    like = torch.zeros(3, 8, 10, dtype=F64)
    prior.errors, prior.sigma_max = ErrorSpectrum(s, frequencies, axes, white), 10.0
    wanted = (axes.square() @ variance.double()).sqrt()
    torch.testing.assert_close(prior_std(prior, like).flatten(), wanted)
    prior.errors = None
    assert prior_std(prior, like) is None


HOLES_8 = Mask(zoo.coin(8, 8, p=0.5, seed=2))

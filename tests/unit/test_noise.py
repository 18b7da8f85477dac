from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Unsupported

SEEN = torch.tensor([[True, True, False], [True, True, True]])
PER_LANE = torch.tensor([0.2, 1.5], dtype=torch.float64)


def values(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rates(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def autograd(noise, y, a, measured):
    a = a.clone().requires_grad_()
    (grad,) = torch.autograd.grad(noise.nll(y, a, measured).sum(), a)
    return grad


@pytest.mark.parametrize("sigma", [0.3, 2.0, PER_LANE, torch.tensor(0.7)], ids=repr)
def test_gaussian_nll_is_that_of_torch(sigma):
    y, a = values(0, 2, 3), values(1, 2, 3)
    scale = torch.as_tensor(sigma).double().reshape(-1, 1).expand(2, 1)
    each = -torch.distributions.Normal(a, scale).log_prob(y)
    torch.testing.assert_close(Gaussian(sigma).nll(y, a, SEEN), (each * SEEN).sum(1))


@pytest.mark.parametrize("gain", [0.5, 7.0])
def test_poisson_nll_is_that_of_scipy(gain):
    counts, mean = np.array([[0, 3, 1], [12, 40, 2]]), np.array([[0.3, 2.5, 9], [10.0, 50, 2]])
    expected = -stats.poisson.logpmf(counts, mean)
    y, a = torch.tensor(counts / gain), torch.tensor(mean / gain)
    got = Poisson(gain).nll(y, a, SEEN)
    np.testing.assert_allclose(got, (expected * SEEN.numpy()).sum(1), rtol=1e-10)


@pytest.mark.parametrize("noise", [Gaussian(0.4), Gaussian(PER_LANE), Poisson(3.0)], ids=repr)
def test_grad_is_the_derivative_of_nll_and_zero_where_nothing_is_measured(noise):
    y, a = values(0, 2, 3).abs(), values(1, 2, 3).abs() + 0.1
    grad = noise.grad(y, a, SEEN)
    torch.testing.assert_close(grad, autograd(noise, y, a, SEEN))
    assert grad[0, 2] == 0


def test_unmeasured_entries_count_for_nothing_even_if_nan():
    y, a = values(0, 2, 3), values(1, 2, 3)
    y[0, 2] = torch.nan
    noise = Gaussian(0.5)
    assert torch.isfinite(noise.nll(y, a, SEEN)).all()
    assert torch.isfinite(noise.grad(y, a, SEEN)).all()


def test_below_its_floor_poisson_goes_on_along_the_tangent_towards_the_domain():
    noise = Poisson(2.0, floor=0.1)
    y = rates(0.5, 0.5, 0.5, 0.0, 0.0)
    a = rates(0.1, -0.3, -1.0, -0.3, -1.0)
    everything = torch.ones_like(y, dtype=torch.bool)
    nll, grad = noise.nll_each(y, a), noise.grad(y, a, everything)
    slope = 2 * (1 - 0.5 / 0.1)
    torch.testing.assert_close(grad, rates(slope, slope, slope, 0, 0))
    torch.testing.assert_close(nll[:, 1:3], nll[:, :1] + slope * (a[:, 1:3] - 0.1))
    assert nll[0, 3] == nll[0, 4]
    torch.testing.assert_close(grad[:, 1:], autograd(noise, y, a, everything)[:, 1:])


@pytest.mark.parametrize("noise", [Gaussian(0.4), Gaussian(PER_LANE), Poisson(3.0)], ids=repr)
def test_std_is_that_of_samples_and_curvature_is_fisher_information(noise):
    a = torch.tensor([[0.5], [3.0]], dtype=torch.float64).expand(2, 40_000)
    std = noise.std(a)
    assert std.shape == a.shape
    draws = noise.sample(a, Keys(0, (0, 1)).at(0))
    torch.testing.assert_close(draws.std(1), std[:, 0], rtol=0.02, atol=0)
    torch.testing.assert_close(noise.curvature(draws, a), 1 / std**2)
    fisher = noise.grad_each(draws, a).var(1)
    torch.testing.assert_close(fisher, 1 / std[:, 0] ** 2, rtol=0.04, atol=0)


@pytest.mark.parametrize("noise", [Gaussian(0.4), Gaussian(PER_LANE), Poisson(3.0)], ids=repr)
def test_a_step_by_slope_over_curvature_leads_to_y(noise):
    """Also from rates below zero, where Poisson goes on along its tangent."""
    y, a = values(0, 2, 3).abs() + 0.1, values(1, 2, 3)
    step = -noise.grad_each(y, a) / noise.curvature(y, a)
    torch.testing.assert_close(a + step, y, rtol=1e-5, atol=0)


def test_poisson_curvature_and_std_are_finite_whatever_the_rate():
    noise = Poisson(2.0, floor=0.1)
    y, a = rates(0.0, 0.0, 0.0, 0.05, 0.1, 0.5), rates(-3.0, 0.0, 0.05, -0.5, 0.1, 0.1)
    torch.testing.assert_close(noise.curvature(y, a), 2 / rates(3.0, 0.1, 0.1, 0.5, 0.1, 0.1))
    torch.testing.assert_close(noise.std(a) ** 2, rates(0.1, 0.1, 0.1, 0.1, 0.1, 0.1) / 2)
    assert (Gaussian(0.0).std(a) == 0).all()
    with pytest.raises(Unsupported, match="sigma=0"):
        Gaussian(0.0).curvature(y, a)


def test_gaussian_sample_has_the_right_scale_per_lane():
    a = torch.full((2, 40_000), 3.0, dtype=torch.float64)
    draws = Gaussian(PER_LANE).sample(a, Keys(0, (0, 1)).at(0))
    for row, sigma in zip(draws, PER_LANE, strict=True):
        assert stats.kstest(row.numpy(), "norm", args=(3.0, float(sigma))).pvalue > 1e-3


def test_the_noiseless_limit_samples_but_has_no_density():
    noise, y = Gaussian(0.0), values(0, 2, 3)
    assert torch.equal(noise.sample(y, Keys(0, (0, 1)).at(0)), y)
    for function in (noise.nll, noise.grad):
        with pytest.raises(Unsupported, match=r"expected sigma > 0"):
            function(y, y, SEEN)
    with pytest.raises(Unsupported, match=r"sigma=0"):
        Gaussian(torch.tensor([0.1, 0.0])).nll(y, y, SEEN)


def poisson_draws(rate: float, n: int, gain: float = 1.0) -> np.ndarray:
    a = torch.full((4, n // 4), rate / gain, dtype=torch.float64)
    y = Poisson(gain).sample(a, Keys(0, (0, 1, 2, 3)).at(0))
    return (gain * y).flatten().numpy()


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.8, 6.0, 63.9, 64.1, 500.0])
def test_poisson_sample_has_the_mean_and_the_variance_of_its_law(rate):
    n = 20_000
    counts = poisson_draws(rate, n, gain=2.5)
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert abs(counts.mean() - rate) <= 5 * math.sqrt(rate / n)
    spread = math.sqrt((rate + 2 * rate**2) / n)  # of the sample variance
    assert abs(counts.var() - rate) <= 5 * spread


@pytest.mark.parametrize("rate", [0.3, 4.0, 30.0, 150.0])
def test_poisson_sample_passes_a_chi_square_test(rate):
    n = 20_000
    counts = poisson_draws(rate, n).astype(int)
    law = stats.poisson(rate)
    inner = np.arange(law.ppf(10 / n), law.isf(10 / n) + 1)
    edges = np.concatenate([[-1], inner, [np.inf]])
    expected = n * np.diff(law.cdf(edges))
    observed = np.histogram(counts, bins=np.concatenate([[-0.5], inner + 0.5, [1e9]]))[0]
    kept = expected > 5
    observed, expected = observed[kept], expected[kept]
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, kept.sum() - 1) > 1e-3


def test_poisson_counts_do_not_depend_on_the_neighbors():
    """A bright lane needs more uniform draws than a dark one; the dark one must not see it."""
    dark, bright = torch.full((1, 50), 5.0), torch.full((1, 50), 1000.0)
    noise = Poisson(1.0)
    together = noise.sample(torch.cat([dark, bright]), Keys(0, (3, 4)).at(0))
    assert torch.equal(together[:1], noise.sample(dark, Keys(0, (3,)).at(0)))
    assert torch.equal(together[1:], noise.sample(bright, Keys(0, (4,)).at(0)))


def test_poisson_samples_keep_the_dtype():
    assert Poisson(2.0).sample(torch.ones(1, 3), Keys(0, (0,)).at(0)).dtype == torch.float32


def test_select_picks_what_is_per_lane():
    index = torch.tensor([1, 0, 1])
    assert torch.equal(Gaussian(PER_LANE).select(index).sigma, PER_LANE[index])
    for noise in (Gaussian(0.3), Gaussian(torch.tensor(0.3)), Poisson(2.0)):
        assert noise.select(index) is noise


@pytest.mark.parametrize(
    ("noise", "y", "message"),
    [
        (Gaussian(torch.ones(3)), torch.ones(2, 4), "sigma: expected one value per lane of y, 2"),
        (Poisson(1.0), -torch.ones(2, 4), "y: expected values of 0 or more under Poisson, got -1"),
    ],
)
def test_check_refuses_a_y_that_cannot_come_from_the_noise(noise, y, message):
    with pytest.raises(InvalidArgument, match=message):
        noise.check(y)


def test_poisson_refuses_negative_rates():
    with pytest.raises(InvalidArgument, match="a: expected rates of 0 or more, got -1"):
        Poisson(1.0).sample(-torch.ones(1, 2), Keys(0, (0,)).at(0))

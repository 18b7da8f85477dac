"""Random walks: the denoiser and the Gibbs posterior against each other and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported
from reddiff.operators import Identity, Matrix
from reddiff.priors import (
    BernoulliLaplaceIncrements,
    GaussianIncrements,
    LaplaceIncrements,
    RandomWalk,
    StudentIncrements,
)
from reddiff.priors.walk_posterior import WalkPosterior
from reddiff.uncertainty import sbc

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
STD = 0.2
LAWS = {
    "gaussian": GaussianIncrements(STD),
    "laplace": LaplaceIncrements(STD),
    "student": StudentIncrements(STD, freedom=4),
    "bernoulli-laplace": BernoulliLaplaceIncrements(STD, rate=0.3),
}
N = 6


def measured(law, lanes: int, sigma: float, operator=None, seed: int = 0, n: int = N):
    prior = RandomWalk(law, n)
    like = torch.empty(lanes, 1, 1, n, dtype=F64)
    x = prior.sample(like, Keys(seed, zoo.ids(lanes)).at(0))
    return prior, x, Problem.simulate(x, operator or Identity(), Gaussian(sigma), seed=seed)


def covariance(n: int) -> torch.Tensor:
    low = torch.ones(n, n, dtype=F64).tril()
    return STD**2 * low @ low.mT


def wide() -> Matrix:
    return Matrix(zoo.randn(4, N, seed=5), shape=(1, 1, N))


@pytest.mark.parametrize("sigma", [0.06, 0.3, 2.0])
def test_gaussian_walks_are_denoised_by_the_wiener_filter(sigma):
    prior, _, problem = measured(LAWS["gaussian"], 5, sigma)
    c = covariance(N)
    gain = c @ torch.linalg.inv(c + sigma**2 * torch.eye(N, dtype=F64))
    expected = problem.y.flatten(1) @ gain.mT
    assert (prior(problem.y, sigma).flatten(1) - expected).abs().max() < 3e-3  # the grid ends
    _, pullback = prior.vjp(problem.y, sigma)
    v = zoo.randn(5, 1, 1, N, seed=8)
    torch.testing.assert_close(pullback(v).flatten(1), v.flatten(1) @ gain, atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", LAWS)
def test_increments_have_their_density_and_variance(name):
    law = LAWS[name]
    prior = RandomWalk(law, 20_000, spacing=50 * STD)  # its grid is not used
    x = prior.sample(torch.empty(1, 1, 1, 20_000, dtype=F64), Keys(0, (0,)).at(0))
    u = x.flatten().diff()
    u = torch.where(u.abs() > 1e-12, u, 0)  # of sums
    assert float(u.std()) == pytest.approx(STD, rel=0.08)
    jumps = u[u != 0]
    assert len(jumps) / len(u) == pytest.approx(law.rate, abs=0.015)
    grid = torch.linspace(-20 * STD, 20 * STD, 40_001, dtype=F64)
    mass = law.density(grid) * (grid[1] - grid[0])
    assert float(mass.sum()) == pytest.approx(1, abs=2e-3)
    below = torch.cumsum(mass, 0)
    found = stats.kstest(jumps.numpy(), lambda v: _at(grid, below, v))
    assert found.statistic < 2 / math.sqrt(len(jumps))


def _at(grid, below, values):
    index = torch.searchsorted(grid, torch.as_tensor(values)).clamp(max=len(grid) - 1)
    return below[index].numpy()


@pytest.mark.parametrize("name", LAWS)
def test_variances_given_an_increment_leave_the_law_as_it_is(name):
    """A Gibbs step from (u, w) to (u, w') to (u', w') keeps the law of u."""
    law, rng = LAWS[name], Keys(1, (0,)).at(0)
    like = torch.empty(1, 20_000, dtype=F64)
    u = law.variance(like, rng).sqrt() * rng.randn_like(like)
    again = law.variance_given(u, rng).sqrt() * rng.randn_like(like)
    assert stats.ks_2samp(u[0].numpy(), again[0].numpy()).pvalue > 1e-3


SLOW = [name if name == "laplace" else pytest.param(name, marks=pytest.mark.slow) for name in LAWS]


@pytest.mark.parametrize("name", SLOW)
def test_the_denoiser_is_the_mean_of_the_gibbs_posterior(name):
    prior, _, problem = measured(LAWS[name], 4, 0.15)
    mean = WalkPosterior(LAWS[name], problem, sweeps=600, burn_in=30).mean
    assert (mean - prior(problem.y, 0.15)).square().mean().sqrt() < 0.016


def test_the_gibbs_posterior_of_a_gaussian_walk_is_the_closed_form():
    _, _, problem = measured(LAWS["gaussian"], 3, 0.3, wide())
    a, c = zoo.randn(4, N, seed=5), covariance(N)
    gain = c @ a.mT @ torch.linalg.inv(a @ c @ a.mT + 0.09 * torch.eye(4, dtype=F64))
    posterior = WalkPosterior(LAWS["gaussian"], problem, sweeps=2, burn_in=3)
    torch.testing.assert_close(posterior.mean.flatten(1), problem.y @ gain.mT)
    draws = posterior.sample(3000)[0].flatten(1)
    torch.testing.assert_close(draws.T.cov(), c - gain @ a @ c, atol=0.02, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_gibbs_draws_are_calibrated(name):
    _, x, problem = measured(LAWS[name], 100, 0.3, wide())
    samples = WalkPosterior(LAWS[name], problem, burn_in=60).sample(19)
    quantities = {
        "mean": lambda v: v.flatten(1).mean(1),
        "variation": lambda v: v.flatten(1).diff(dim=1).abs().sum(1),
        "likelihood": problem.nll,
    }
    assert sbc(samples, x, quantities).p > 0.01


def test_bad_arguments_are_named():
    with pytest.raises(InvalidArgument, match="freedom: expected an integer of at least 3"):
        StudentIncrements(0.1, freedom=2)
    with pytest.raises(InvalidArgument, match="rate: expected between 0 and 1"):
        BernoulliLaplaceIncrements(0.1, rate=1.0)
    with pytest.raises(InvalidArgument, match="std: expected a positive"):
        LaplaceIncrements(0.0)
    prior, x, _ = measured(LAWS["laplace"], 2, 0.1)
    with pytest.raises(Unsupported, match="Gaussian noise"):
        prior.posterior(Problem(x.abs(), Identity(), Poisson(10.0)))
    with pytest.raises(InvalidArgument, match="problem: expected x of shape"):
        prior.posterior(Problem(x[..., 1:], Identity(), Gaussian(0.1)))

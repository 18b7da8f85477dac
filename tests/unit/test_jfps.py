"""JFPS: exact on Gaussian priors of the covariance that it assumes, and its spreads."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Problem, Unsupported, solve
from reddiff.noise import Poisson
from reddiff.operators import BlockMean, Mask
from reddiff.priors import Covariance, GaussianPrior
from reddiff.schedules import karras
from reddiff.solvers import JFPS
from reddiff.solvers.steps.spread import PowerLaw, Spread, White

pytestmark = pytest.mark.usefixtures("untyped")

LEVELS = torch.tensor([0.03, 0.4, 1.7, 20.0], dtype=zoo.F64)


@dataclass(frozen=True)
class Of(Spread):
    """The covariance of a Gaussian prior."""

    prior: GaussianPrior

    def eigen(self, like: Tensor) -> Covariance:
        return self.prior.eigen(like)


def test_the_guided_mean_is_exact_for_the_right_covariance():
    """E[x | x + s n, y] as the posterior of both measurements, by dense algebra."""
    problem, prior = zoo.solver_problem()
    x_t = zoo.randn(4, 6, seed=3)
    a, eye = problem.operator.a, torch.eye(6, dtype=zoo.F64)
    cov = prior.q @ torch.diag(prior.c) @ prior.q.mT
    var, s2 = (problem.noise.sigma**2)[:, None, None], (LEVELS**2)[:, None, None]
    precision = torch.linalg.inv(cov) + a.mT @ a / var + eye / s2
    right = torch.linalg.inv(cov) @ prior.mean + x_t / s2[..., 0]
    right = right + (a.mT @ (problem.y / var[..., 0])[..., None])[..., 0]
    wanted = torch.linalg.solve(precision, right)
    got = JFPS(karras(5), Of(prior)).guided(problem, prior(x_t, LEVELS), LEVELS)
    assert_same(got, wanted, tol=2e-4)  # that of the conjugate gradients
    other = JFPS(karras(5), White(3.0)).guided(problem, prior(x_t, LEVELS), LEVELS)
    assert (other - wanted).abs().max() > 0.01


def test_draws_have_the_posterior_of_a_gaussian_prior():
    problem, prior = zoo.solver_problem(1)
    exact = prior.posterior(problem)
    draws = solve(problem, prior, JFPS(karras(100), Of(prior)), runs=2000).samples[0]
    spread = exact.sample(2000)[0].std(0)
    assert ((draws.mean(0) - exact.mean[0]).abs() < 0.1 * spread).all()
    assert ((draws.std(0) / spread - 1).abs() < 0.1).all()


@pytest.mark.parametrize("spread", [White(0.7), PowerLaw(0.7), PowerLaw(0.7, -1.0)])
@pytest.mark.parametrize("shape", [(3, 8, 6), (1, 5, 7), (6,)])
def test_a_spread_is_a_covariance_of_its_variance(spread: Spread, shape: tuple[int, ...]):
    n = torch.Size(shape).numel()
    eye = torch.eye(n, dtype=zoo.F64).view(n, *shape)
    cov = spread.eigen(eye)(eye).flatten(1)
    torch.testing.assert_close(cov, cov.mT)
    assert torch.linalg.eigvalsh(cov).min() > 0
    assert cov.trace() / n == pytest.approx(0.7**2)
    root = spread.eigen(eye).root(eye).flatten(1)
    torch.testing.assert_close(root @ root, cov)


def test_pictures_are_smooth():
    """A power law predicts a missing pixel from those around it, white noise does not."""
    x = torch.linspace(-1, 1, 8, dtype=zoo.F64).expand(1, 1, 8, 8).clone()
    mask = torch.ones(8, 8, dtype=zoo.F64)
    mask[3, 3] = 0
    problem = Problem(mask * x, Mask(mask), Gaussian(0.01))
    s = torch.tensor([5.0], dtype=zoo.F64)
    found = [
        float(JFPS(karras(5), spread).guided(problem, 0 * x, s)[0, 0, 3, 3] - x[0, 0, 3, 3])
        for spread in (PowerLaw(), White())
    ]
    assert abs(found[0]) < 0.05
    assert found[1] == pytest.approx(-float(x[0, 0, 3, 3]))


def test_what_is_refused():
    problem, prior = zoo.solver_problem()
    counts = Problem(problem.y.abs(), problem.operator, Poisson(10.0))
    with pytest.raises(Unsupported, match="JFPS: expected noise of type Gaussian"):
        solve(counts, prior, JFPS.default(3))
    for wrong in ({"iterations": 0}, {"eta": 1.5}):
        with pytest.raises(InvalidArgument, match=next(iter(wrong))):
            JFPS(karras(3), **wrong)
    for kind in (White, PowerLaw):
        with pytest.raises(InvalidArgument, match="std: expected a positive finite number, got 0"):
            kind(0.0)


def test_without_noise_it_explains_y():
    y = BlockMean(2)(zoo.randn(2, 1, 4, 4))
    problem = Problem(y, BlockMean(2), Gaussian(0.0))
    prior = GaussianPrior(torch.zeros(1, 4, 4, dtype=zoo.F64), 0.3 * torch.eye(16, dtype=zoo.F64))
    x = solve(problem, prior, JFPS.default(20)).x
    assert problem.residual(x).abs().max() < 1e-2

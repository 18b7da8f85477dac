"""Piecewise constant operators and the smooth surrogates that the default solver uses."""

from __future__ import annotations

import pytest
import torch
from skimage import data
from torch.nn.functional import avg_pool2d

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, Problem, UnknownGaussian, solve
from reddiff.noise import Laplace
from reddiff.operators import (
    JPEG,
    BlockMean,
    CircularBlur,
    Mask,
    Matrix,
    Operator,
    Quantise,
    gaussian_psf,
)
from reddiff.priors import FFDNetPrior, GaussianRandomField
from reddiff.random import Keys
from reddiff.solvers import NoiseAwareREDDiff

PRIOR = GaussianRandomField(-2.6, std=0.3, channels=3)


def pictures(lanes: int = 3, side: int = 32) -> torch.Tensor:
    like = torch.empty(lanes, 3, side, side, dtype=zoo.F64)
    return PRIOR.sample(like, Keys(5, tuple(range(lanes))).at(0)).clamp(-1, 1)


def photo() -> torch.Tensor:
    """(1, 3, 128, 128), in [-1, 1]."""
    pixels = torch.from_numpy(data.astronaut()[:256, 128:384].copy()).double().permute(2, 0, 1)
    return avg_pool2d(pixels, 2)[None] / 127.5 - 1


def rms(x: torch.Tensor) -> torch.Tensor:
    return x.square().flatten(1).mean(1).sqrt()


@pytest.mark.parametrize(
    ("operator", "factor"),
    [(Quantise(4), 1.3), (Quantise(16), 1.1), (JPEG(10), 1.5), (JPEG(30), 1.5), (JPEG(50), 2.0)],
    ids=["4 levels", "16 levels", "jpeg 10", "jpeg 30", "jpeg 50"],
)
def test_it_is_as_near_as_it_says(operator, factor):
    x = photo()
    near = operator.surrogate()
    assert near is not None
    apart = rms(near[0](x) - operator(x))
    said = float(near[1])
    assert (apart < factor * said).all()
    assert (apart > said / factor).all()


def test_a_multiple_has_the_multiple():
    near, twice = Quantise(4).surrogate(), (-2 * Quantise(4)).surrogate()
    assert near is not None
    assert twice is not None
    assert float(twice[1]) == 2 * float(near[1])


def test_smooth_operators_have_none():
    for operator in (BlockMean(2), CircularBlur(gaussian_psf(1.0)), zoo.SoftClip()):
        assert operator.surrogate() is None
        problem = Problem(torch.zeros(2, 3, 16, 16, dtype=zoo.F64), operator, Gaussian(0.1))
        if not isinstance(operator, BlockMean):
            assert problem.smoothed() is problem


def test_their_distance_is_noise_beside_that_of_y():
    levels = torch.tensor([4, 8, 16])
    operator: Operator = Quantise(levels, per_lane=True)
    sigma = torch.tensor([0.1, 0.2, 0.3], dtype=zoo.F64)
    problem = Problem.simulate(pictures(), operator, Gaussian(sigma)).smoothed()
    assert_same(problem.noise.sigma, (sigma**2 + (2 / (levels.double() - 1)) ** 2 / 12).sqrt())
    few = problem.select(torch.tensor([2]))
    assert_same(few.noise.sigma, problem.noise.sigma[2:])
    assert_same(few.operator(pictures()[2:]), pictures()[2:])


def test_through_a_composition_and_other_noise():
    mask = Mask(zoo.coin(1, 16, 16, p=0.5)[0])
    x = pictures(2, 32)
    chain = Quantise(8) @ mask @ BlockMean(2)
    near = chain.surrogate()
    assert near is not None
    assert_same(near[0](x), (mask @ BlockMean(2))(x))
    unknown = Problem(chain(x), chain, UnknownGaussian()).smoothed()
    assert isinstance(unknown.noise, UnknownGaussian)
    assert unknown.operator.surrogate() is None
    other = Problem(chain(x), chain, Laplace(0.1))
    assert other.smoothed() is other


def test_the_default_gets_nearer_than_y():
    x = pictures()
    problem = Problem.simulate(x, Quantise(6), Gaussian(0.05))
    result = solve(problem, PRIOR, NoiseAwareREDDiff.default(20, realism=0.0))
    assert (rms(result.x - x) < 0.8 * rms(problem.initial_estimate() - x)).all()
    assert not any("tolerance" in warning for warning in result.warnings)


def test_the_default_repairs_a_jpeg_with_noise():
    x, prior = photo().float(), FFDNetPrior()
    problem = Problem.simulate(x, JPEG(10), Gaussian(0.05))
    result = solve(problem, prior, NoiseAwareREDDiff.for_prior(prior, 15))
    assert rms(result.x - x) < 0.9 * rms(problem.initial_estimate() - x)


def test_noise_that_is_given_is_believed():
    """However small next to ||A||: a sum of a hundred entries is not a picture of 8 bits."""
    rows = torch.cat([torch.ones(1, 64), torch.eye(64)]).double()
    operator = Matrix(20 * rows, shape=(1, 8, 8))
    prior = GaussianRandomField(-1.0, std=0.5)
    x = prior.sample(torch.empty(4, 1, 8, 8, dtype=zoo.F64), Keys(6, (0, 1, 2, 3)).at(0))
    problem = Problem.simulate(x, operator, Gaussian(0.05))
    mean = prior.posterior(problem).mean
    found = solve(problem, prior, NoiseAwareREDDiff.default(50, realism=0.0)).x
    assert (rms(found - mean) < 0.1 * rms(mean - x)).all()

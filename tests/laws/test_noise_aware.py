"""Exact, for noise-aware RED-diff: against closed-form answers on Gaussian random fields."""

from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, Keys, Problem, solve
from reddiff.lanes import norm
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Mask, gaussian_psf
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

SIDE = 32
PRIOR = GaussianRandomField(exponent=-2.2, std=0.5)


def fields(count: int = 3) -> torch.Tensor:
    like = torch.empty(count, 1, SIDE, SIDE, dtype=torch.float64)
    return PRIOR.sample(like, Keys(0, tuple(range(count))).at(0))


def mask(p: float) -> Mask:
    u = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Mask((u < p).double())


@pytest.mark.parametrize("sigma", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_denoising_is_one_evaluation_of_the_denoiser(sigma, realism):
    problem = Problem.simulate(fields(), Mask(torch.ones(1, dtype=torch.float64)), Gaussian(sigma))
    result = solve(problem, PRIOR, NoiseAwareREDDiff.default(sigma, 10, realism=realism))
    torch.testing.assert_close(result.x, PRIOR(problem.y, sigma), atol=1e-9, rtol=0)


# The largest relative error of the posterior mean over the three noise levels, measured: asserted
# with a margin of a tenth, so that a change for the worse is seen.
CELLS: dict[str, tuple[LinearOperator, float]] = {
    "mask": (mask(0.3), 0.25),
    "sr": (BlockMean(4), 0.09),
    "blur": (CircularBlur(gaussian_psf(1.5)), 0.12),
    "masked blur": (mask(0.7) @ CircularBlur(gaussian_psf(1.5)), 0.12),
}


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("name", CELLS)
def test_without_noise_of_its_own_it_is_near_the_posterior_mean(name, sigma):
    operator, bound = CELLS[name]
    problem = Problem.simulate(fields(), operator, Gaussian(sigma))
    exact = PRIOR.posterior(problem).mean
    result = solve(problem, PRIOR, NoiseAwareREDDiff.default(sigma, 50, realism=0.0))
    error = norm(result.x - exact) / norm(exact)
    assert error.max() < bound
    start = norm(problem.guess() - exact) / norm(exact)
    assert (error < start).all()

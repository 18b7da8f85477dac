"""Ten steps of the default: short runs are never worse than the picture they start from."""

from __future__ import annotations

import pytest
import torch
from tests import scripts

from reddiff import Gaussian, Problem, UnknownGaussian, solve
from reddiff.metrics import psnr
from reddiff.operators import CircularBlur, gaussian_psf, motion_psf
from reddiff.priors import photo_prior
from reddiff.solvers import NoiseAwareREDDiff

common = scripts.benchmark("common")

SIDE, SEEDS = 32, 4
KERNELS = {"gaussian": gaussian_psf(1.6), "motion": motion_psf(9, 30)}


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_deblurring_in_ten_steps_gains(kernel: str, *, known: bool) -> None:
    """The middle of three photos, each with four draws of noise, and as many of the solver."""
    cut = slice(128 - SIDE // 2, 128 + SIDE // 2)
    x = torch.stack([common.photo(name)[:, cut, cut] for name in common.PHOTOS])
    x = (2 * x - 1).repeat_interleave(SEEDS, 0)
    operator = CircularBlur(KERNELS[kernel].float())
    problem = Problem.simulate(x, operator, Gaussian(0.02 if known else 0.06))
    measured = problem if known else Problem(problem.y, operator, UnknownGaussian())
    prior = photo_prior()
    result = solve(measured, prior, NoiseAwareREDDiff.for_prior(prior, 10), check=False)
    before, after = (psnr(v.clamp(-1, 1) / 2, x / 2) for v in (problem.y, result.x))
    assert (after > before + 1).all()  # dB
    assert (result.residual_ratio < 1.2).all()

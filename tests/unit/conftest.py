"""What several unit tests use."""

from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, Problem
from reddiff.operators import Mask
from reddiff.priors import GaussianRandomField


@pytest.fixture
def prior() -> GaussianRandomField:
    return GaussianRandomField(channels=2)


@pytest.fixture
def problem() -> Problem:
    """Three lanes of inpainting, 2 x 6 x 6 pixels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=generator)
    mask = (torch.rand(6, 6, generator=generator) < 0.6).double()
    return Problem.simulate(x, Mask(mask), Gaussian(0.1), seed=7)

"""Warnings name data in other units and broken entries, instead of the noise level."""

from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, Problem, solve
from reddiff.operators import BlockMean, CircularBlur, Identity, Mask, Operator, gaussian_psf
from reddiff.priors import FFDNetPrior, GaussianRandomField, GrayPrior, TiledPrior, photo_prior
from reddiff.run.diagnostics import warn
from reddiff.run.goodness_of_fit import fit
from reddiff.solvers import NoiseAwareREDDiff

FIELD = GaussianRandomField(-2.0)
FIELD.values = (-1.0, 1.0)
X = 0.3 * torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SOLVER = NoiseAwareREDDiff.default(3, sigma_min=0.05, sigma_max=1.0)


def texts(y: torch.Tensor, operator: Operator, sigma: float = 0.1) -> list[str]:
    run = solve(Problem(y, operator, Gaussian(sigma)), FIELD, SOLVER)
    return [finding.text for finding in run.findings]


def test_values_out_of_range_are_counted():
    y = X.clone()
    y[0, 0, 3, 4:6] = torch.tensor([57.0, 1.9], dtype=torch.float64)
    (text,) = [t for t in texts(y, Identity()) if "range" in t]
    assert text.startswith("2 of 256 entries of y lie outside the range of the prior, -1 to 1,")
    assert "1.9 to 57" in text
    assert "Mask" in text
    kept = torch.ones(16, 16, dtype=torch.float64)
    kept[3, 4:6] = 0
    assert not any("range" in t for t in texts(y, Mask(kept)))
    assert not any("noise level may be" in t for t in texts(y, Identity()))


@pytest.mark.parametrize(
    "operator",
    [Identity(), CircularBlur(gaussian_psf(0.8)), BlockMean(2)],
    ids=lambda o: type(o).__name__,
)
def test_data_in_other_units_is_named(operator):
    y = operator(127.5 * (X + 1))  # levels of 8 bits
    (text,) = [t for t in texts(y, operator) if "range of the prior" in t]
    assert "from_pixels" in text
    assert not any("range of the prior" in t for t in texts(operator(X), operator))


def test_noise_may_carry_y_out_of_range():
    y = X + torch.randn(X.shape, dtype=X.dtype, generator=torch.Generator().manual_seed(1))
    assert y.abs().max() > 2
    assert not any("range of the prior" in t for t in texts(y, Identity(), 1.0))


def test_a_few_broken_entries_are_not_the_noise_level():
    """In the range of the prior too, and whatever the operator."""
    x = torch.zeros_like(X)
    noise = 0.02 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    y = x + noise
    y[0, 0, 5, 5] = 0.95
    broken = Problem(y, CircularBlur(gaussian_psf(1.0)), Gaussian(0.02))
    (numbers,) = fit(broken, x).rows()
    assert numbers["missed"] == 1
    ((text, levels),) = warn(numbers, 0.0)
    assert text.startswith("1 of 256 entries of y are more than 8 noise levels from A(x)")
    assert not levels
    (numbers,) = fit(Problem(y + 10 * noise, broken.operator, Gaussian(0.02)), x).rows()
    ((text, _),) = warn(numbers, 0.0)  # all of y is noisier than that
    assert text.startswith("the noise level may be too low")


def test_priors_that_know_their_range():
    for prior in (photo_prior(), FFDNetPrior()):
        assert prior.values == (-1.0, 1.0)
        assert GrayPrior(prior).values == (-1.0, 1.0)
        assert TiledPrior(prior).values == (-1.0, 1.0)
    assert GaussianRandomField(-2.0).values is None

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD

from reddiff import InvalidArgument, sample
from reddiff.priors import FFDNetPrior, GaussianPrior, GaussianRandomField, Prior
from reddiff.sampling import SAMPLERS, sampler
from reddiff.schedules import vp
from reddiff.solvers import REDDiff
from reddiff.solvers.inits import noise
from reddiff.solvers.variants import Variant

pytestmark = pytest.mark.usefixtures("untyped")

F64 = torch.float64
ROOT = torch.tensor([[1.0, 0, 0], [0.6, 0.5, 0], [-0.3, 0.2, 0.4]], dtype=F64)
COV = ROOT @ ROOT.mT
MEAN = torch.tensor([0.5, -0.3, 0.1], dtype=F64)
PRIOR = GaussianPrior(MEAN, COV)


def gaps(x: torch.Tensor) -> tuple[float, float]:
    """Of the mean, over the root of the trace of the covariance, and of the covariance."""
    mean = (x.mean(0) - MEAN).norm() / COV.trace().sqrt()
    return float(mean), float((torch.cov(x.mT) - COV).norm() / COV.norm())


@pytest.mark.parametrize(("name", "steps"), [("heun", 30), ("ddim", 200), ("ddpm", 100)])
def test_draws_have_the_mean_and_covariance_of_the_prior(name, steps):
    mean, cov = gaps(sample(PRIOR, (3,), 3000, solver=sampler(name, PRIOR, steps), seed=1))
    assert mean < 3.5 / math.sqrt(3000)
    assert cov < 0.07
    assert cov > 0.001  # they are draws


def test_fields():
    field = GaussianRandomField(-1.5, channels=2, mean=0.1)
    x = sample(field, (2, 8, 8), 3000, solver=sampler("heun", field, 40), seed=1)
    power = torch.fft.fft2(x - 0.1, norm="ortho").abs().square().mean((0, 1))
    wanted = torch.fft.fft2(
        field.covariance(torch.eye(64, dtype=F64)[:1].view(1, 1, 8, 8).expand(1, 2, 8, 8))
    ).real[0, 0]
    ratio = power / wanted
    assert (ratio - 1).abs().max() < 0.15
    assert (ratio - 1).abs().mean() < 0.05


def test_a_draw_is_its_own():
    few, many = (sample(PRIOR, (3,), n, seed=4) for n in (2, 5))
    torch.testing.assert_close(few, many[:2])
    assert not torch.equal(few, sample(PRIOR, (3,), 2, seed=5))
    assert len(many[:, 0].unique()) == 5


def test_dtype_and_levels_are_those_of_the_prior():
    prior = FFDNetPrior()
    x = sample(prior, (3, 8, 10), 1, solver=sampler("heun", prior, 3))
    assert x.dtype == torch.float32
    for name in SAMPLERS:
        levels = sampler(name, prior, 3).schedule.levels[:-1]
        assert prior.sigma_min - 1e-9 <= levels.min() <= levels.max() <= prior.sigma_max + 1e-9
    assert [sampler(name, PRIOR).steps for name in SAMPLERS] == [18, 100, 1000]
    assert sampler("ddpm", prior).steps == 214  # all there are


def test_other_solvers_see_a_y_without_entries():
    """Score distillation goes to the mode, whatever the weight of data that are not there."""
    solver = REDDiff(vp(300), partial(SGD, lr=0.05), weight=1.0, start=noise)
    x = sample(PRIOR, (3,), 2, solver=solver)
    assert torch.equal(
        x, sample(PRIOR, (3,), 2, solver=replace(solver, variant=Variant(data_weight=9.0)))
    )
    torch.testing.assert_close(x, MEAN.expand(2, 3), rtol=0, atol=0.25)


class Broken(Prior):
    """NaN for the second lane."""

    trusted = True

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        out[1] = torch.nan
        return out


def test_a_draw_that_diverged_is_nan():
    x = sample(Broken((3,)), (3,), 3)
    assert torch.isnan(x[1]).all()
    assert torch.isfinite(x[[0, 2]]).all()


@pytest.mark.parametrize(
    ("shape", "count", "message"),
    [
        ((4,), 2, r"shape: expected a shape that fits \(3,\), got \(4,\)"),
        ((3, 3), 2, r"shape: expected a shape that fits \(3,\), got \(3, 3\)"),
        ((3,), 0, r"count: expected an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn(shape, count, message):
    with pytest.raises(InvalidArgument, match=message):
        sample(PRIOR, shape, count)


def test_no_such_sampler():
    with pytest.raises(InvalidArgument, match=r"solver: expected one of heun, ddim, ddpm, got dps"):
        sampler("dps", PRIOR)
    with pytest.raises(InvalidArgument, match=r"steps: expected at most 1000 levels, got 1001"):
        sampler("ddim", PRIOR, 1001)
    with pytest.raises(
        InvalidArgument, match=r"shape: expected a shape that fits .*, got \(3, 0, 4\)"
    ):
        sample(FFDNetPrior(), (3, 0, 4), 1)

from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, InvalidArgument, Problem
from reddiff.images.presets import preset
from reddiff.operators import BlockMean, CircularBlur, Identity, Matrix, gaussian_psf
from reddiff.snapshot import describe
from reddiff.solvers import DPS, DiffPIR, REDDiff
from reddiff.solvers.base import StepCost
from reddiff.solvers.catalogue import LEAST_NOISE, METHODS, method
from zoo.priors import within

PRIOR = within(0.002, 80.0)


def problem(sigma: float | torch.Tensor, lanes: int = 1) -> Problem:
    return Problem(torch.zeros(lanes, 4), Identity(), Gaussian(sigma))


def test_names_of_earlier_versions_are_accepted():
    assert method("paper") is METHODS["red-diff"]
    with pytest.raises(InvalidArgument, match="solver: expected one of"):
        method("papers")


def test_what_a_step_costs():
    assert METHODS["dps"].cost == StepCost(1, 1)
    assert METHODS["rsd"].cost == (4, 0)
    assert METHODS["sitcom"].cost == (31, 30)
    assert METHODS["noise-aware"].cost == (1, 0)


@pytest.mark.parametrize("name", ["red-diff", "paper"])
def test_settings_that_are_published_for_a_task(name):
    made = preset(name, "inpaint", PRIOR, problem(0.1), 5, None)
    assert isinstance(made, REDDiff)
    assert (made.weight, made.optimizer.keywords["lr"]) == (0.25, 0.25)
    assert preset(name, "denoise", PRIOR, problem(0.1), 5, None).weight == 1.0
    assert preset(name, "sr", PRIOR, problem(0.1), 5, None).optimizer.keywords["lr"] == 0.1
    dps = [preset("dps", task, PRIOR, problem(0.1), 5, None) for task in ("inpaint", "sr")]
    assert [s.zeta for s in dps if isinstance(s, DPS)] == [0.5, 0.3]
    diffpir = preset("diffpir", "deblur", PRIOR, problem(0.1), 5, None)
    assert isinstance(diffpir, DiffPIR)
    assert (diffpir.lam, diffpir.zeta) == (7.0 / 4, 0.3)  # as released


@pytest.mark.parametrize("name", ["pnp-hqs", "pnp-admm", "ddrm"])
def test_methods_that_end_at_the_noise_refuse_lanes_of_several_levels(name):
    def last(sigma: float | torch.Tensor, lanes: int = 1) -> float:
        made = METHODS[name].make(PRIOR, problem(sigma, lanes), 4)
        return float(made.schedule.levels[-2])

    assert last(0.1) == pytest.approx(0.1, rel=1e-5)
    assert last(torch.tensor([0.1, 0.1]), 2) == last(0.1)
    assert last(0.0) == pytest.approx(LEAST_NOISE)
    with pytest.raises(InvalidArgument, match=r"problem: expected lanes of one noise .* to 0\.2"):
        last(torch.tensor([0.1, 0.2]), 2)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_same_for_a_lane_alone_and_among_others(name):
    """Of levels, and of everything else that is no function."""
    y = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y[1] *= 1000
    several = Problem(y, CircularBlur(gaussian_psf(0.5)), Gaussian(torch.full((3,), 0.1)))
    one = several.select(torch.tensor([2]))
    made = [describe(METHODS[name].make(PRIOR, p, 4)) for p in (several, one)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("operator", "sigma"),
    [
        (BlockMean(4), 0.1),  # ||A|| is 1 / 4, and a flat x keeps its brightness
        (CircularBlur(gaussian_psf(0.5)), 0.1),
        (3.0 * BlockMean(4), 0.1 / 3),
        (Matrix(torch.tensor([[3.0, -3.0], [0.0, 1.0]])), 0.1 / 18**0.5),  # a flat x is not seen
    ],
)
def test_methods_that_end_at_the_noise_end_at_that_of_a_flat_picture(operator, sigma):
    y = torch.zeros(1, 2) if isinstance(operator, Matrix) else torch.zeros(1, 1, 8, 8)
    made = METHODS["pnp-hqs"].make(PRIOR, Problem(y, operator, Gaussian(0.1)), 4)
    assert float(made.schedule.levels[-2]) == pytest.approx(sigma, rel=2e-2)
    admm = METHODS["pnp-admm"].make(PRIOR, Problem(y, operator, Gaussian(0.1)), 4)
    norm = operator.norm(torch.zeros(1, *operator.x_shape(tuple(y.shape[1:]))))
    assert float(admm.schedule.levels[-2]) == pytest.approx(0.1 / float(norm), rel=1e-5)

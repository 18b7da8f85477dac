from __future__ import annotations

import pytest
import torch

from reddiff import InvalidArgument, Keys
from reddiff.random import STARTING
from reddiff.solvers.inits import Given, adjoint, noise, pinv, zeros

SHAPE = (3, 2, 6, 6)


def rng(ids=(0, 1, 2)):
    return Keys(0, ids).at(STARTING)


def test_pinv_and_adjoint_are_those_of_the_operator(problem):
    torch.testing.assert_close(pinv(problem, rng()), problem.operator.pinv(problem.y))
    torch.testing.assert_close(adjoint(problem, rng()), problem.operator.adjoint(problem.y))


def test_zeros(problem):
    assert torch.equal(zeros(problem, rng()), torch.zeros(SHAPE, dtype=torch.float64))


def test_noise_is_that_of_the_lane(problem):
    x = noise(problem, rng())
    alone = noise(problem.select(torch.tensor([2])), rng((2,)))
    assert x.shape == SHAPE
    assert torch.equal(x[2:], alone)


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE[1:])])
def test_a_given_start_has_one_x_per_lane_or_one_for_all(problem, shape):
    x = torch.arange(float(torch.Size(shape).numel())).view(shape)
    start = Given(x)(problem, rng())
    assert start.dtype == problem.y.dtype
    assert torch.equal(start, x.double().expand(SHAPE))


@pytest.mark.parametrize("shape", [(2, 2, 6, 6), (3, 2, 6, 5), (2, 6, 6), (3, 1, 6, 6)])
def test_a_given_start_of_another_shape_is_refused(problem, shape):
    with pytest.raises(InvalidArgument) as caught:
        Given(torch.zeros(shape))(problem, rng())
    assert str(caught.value) == f"x: expected shape {SHAPE}, got {shape}"


def test_a_given_start_must_be_finite(problem):
    with pytest.raises(InvalidArgument, match="x: expected finite values, got nan or inf"):
        Given(torch.full(SHAPE, torch.nan))(problem, rng())

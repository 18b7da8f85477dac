from __future__ import annotations

import pytest
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem
from reddiff.operators import BlockMean, Mask
from reddiff.random import STARTING
from reddiff.solvers.inits import Given, adjoint, noise, pinv, scaled_adjoint, zeros

SHAPE = (3, 2, 6, 6)


def rng(ids=(0, 1, 2)):
    return Keys(0, ids).at(STARTING)


def test_pinv_and_adjoint_are_those_of_the_operator(problem):
    torch.testing.assert_close(pinv(problem, rng()), problem.operator.pinv(problem.y))
    torch.testing.assert_close(adjoint(problem, rng()), problem.operator.adjoint(problem.y))


@pytest.mark.parametrize(
    ("operator", "scale"),
    [
        (BlockMean(2), 4.0),  # the interpolation by repetition, which is A^+ y
        (Mask(torch.eye(6).double()), 1.0),
        (0.01 * Mask(torch.eye(6).double()), 1e4),  # the units of y do not matter
    ],
)
def test_scaled_adjoint_has_the_brightness_of_x(operator, scale):
    y = operator(zoo.randn(*SHAPE))
    problem = Problem(y, operator, Gaussian(0.1))
    got = scaled_adjoint(problem, rng())
    torch.testing.assert_close(got, scale * operator.adjoint(y))
    torch.testing.assert_close(got, operator.pinv(y))


def test_scaled_adjoint_explains_y_best():
    """No other multiple of A^T y is closer, lane by lane; a nonlinear A has its own start."""
    problem, _ = zoo.solver_problem()
    x = scaled_adjoint(problem, rng(zoo.ids(4)))
    back = problem.adjoint()
    torch.testing.assert_close(x / x[:, :1], back / back[:, :1])
    explained = problem.misfit(x)
    for factor in (0.99, 1.01):
        assert (problem.misfit(factor * x) > explained).all()
    bent = Problem(problem.y, zoo.SoftClip(), Gaussian(0.1))
    assert torch.equal(scaled_adjoint(bent, rng(zoo.ids(4))), bent.initial_estimate())


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

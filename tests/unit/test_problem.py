from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import SGD

from reddiff import Gaussian, InvalidArgument, Poisson, Problem, solve
from reddiff.operators import BlockMean, CircularBlur, Mask, Matrix, Operator, gaussian_psf
from reddiff.priors import GaussianPrior
from reddiff.schedules import karras
from reddiff.solvers import REDDiff
from reddiff.solvers.inits import zeros
from reddiff.solvers.variants import Variant


class Square(Operator):
    """x -> x^2, a nonlinear operator without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**2

    def x_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        return y_shape


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def orthogonal(n: int) -> torch.Tensor:
    return torch.linalg.qr(normal(9, n, n))[0]


def derivative(function, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


IMAGE = normal(0, 2, 3, 6, 6)
MASK = (normal(1, 6, 6) > 0).double()
OPERATORS = {
    "mask": Mask(MASK),
    "mean": BlockMean(2),
    "blur": CircularBlur(gaussian_psf(0.7, 2)),
    "composed": BlockMean(2) @ CircularBlur(gaussian_psf(0.7, 2)),
    "square": Square(),
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("noise", [Gaussian(0.3), Poisson(5.0)], ids=["gaussian", "poisson"])
def test_gradients_are_those_of_autograd(operator, noise):
    problem = Problem.simulate(IMAGE.abs(), operator, noise)
    x = normal(2, 2, 3, 6, 6).abs() + 0.2
    torch.testing.assert_close(problem.misfit_grad(x), derivative(problem.misfit, x))
    torch.testing.assert_close(problem.grad(x), derivative(problem.nll, x))


def test_misfit_and_nll_are_sums_per_lane_over_what_is_measured():
    problem = Problem.simulate(IMAGE, OPERATORS["mask"], Gaussian(0.3))
    x = normal(2, 2, 3, 6, 6)
    r = (problem.y - x)[:, :, MASK.bool()].flatten(1)
    torch.testing.assert_close(problem.misfit(x), 0.5 * (r**2).sum(1))
    assert problem.count.tolist() == [3 * MASK.sum()] * 2
    constant = problem.count * torch.tensor(0.3 * (2 * torch.pi) ** 0.5).log()
    torch.testing.assert_close(problem.nll(x), problem.misfit(x) / 0.09 + constant)


def test_simulate_measures_and_adds_noise_of_the_id():
    operator = BlockMean(2)
    problem = Problem.simulate(IMAGE, operator, Gaussian(0.2), seed=3, ids=(8, 5))
    again = Problem.simulate(IMAGE[1:], operator, Gaussian(0.2), seed=3, ids=(5,))
    assert torch.equal(problem.y[1:], again.y)
    assert 0.1 < (problem.y - operator(IMAGE)).std() < 0.3
    assert torch.equal(Problem.simulate(IMAGE, operator, Gaussian(0.0)).y, operator(IMAGE))
    assert problem.x_shape == (3, 6, 6)
    assert len(problem) == 2


def test_what_is_not_measured_may_be_anything_and_the_callers_y_is_left_alone():
    y = torch.where(MASK.bool(), IMAGE, torch.nan)
    given = y.clone()
    problem = Problem(y, Mask(MASK), Gaussian(0.1))
    assert torch.equal(problem.y, torch.where(MASK.bool(), IMAGE, 0))
    torch.testing.assert_close(y, given, rtol=0, atol=0, equal_nan=True)
    assert problem.y.data_ptr() != y.data_ptr()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_measured_must_be_finite(value):
    y = IMAGE.clone()
    y[1, :, MASK.bool()] = value
    with pytest.raises(
        InvalidArgument, match=r"y: expected finite values, got nan or inf in lanes"
    ):
        Problem(y, Mask(MASK), Gaussian(0.1))


def test_residual_ratio_is_about_1_at_the_truth():
    sigma = torch.tensor([0.1, 0.4], dtype=torch.float64)
    x = normal(3, 2, 1, 64, 64)
    problem = Problem.simulate(x, BlockMean(2), Gaussian(sigma))
    torch.testing.assert_close(problem.residual_ratio(x), torch.ones(2).double(), atol=0.05, rtol=0)
    zero = Problem.simulate(x, BlockMean(2), Gaussian(0.0))
    assert torch.isinf(zero.residual_ratio(x + 1)).all()
    counts = Problem.simulate(x.abs(), BlockMean(2), Poisson(4.0)).residual_ratio(x.abs())
    torch.testing.assert_close(counts, torch.ones(2).double(), atol=0.06, rtol=0)
    torch.testing.assert_close(
        problem.residual_ratio(x),
        problem.standardised(BlockMean(2)(x)).flatten(1).square().mean(1).sqrt(),
    )


def test_select_picks_lanes_of_everything():
    mask = (normal(1, 2, 6, 6) > 0).double()
    sigma = torch.tensor([0.1, 0.4])
    problem = Problem.simulate(IMAGE, Mask(mask, per_lane=True), Gaussian(sigma))
    x, index = normal(2, 2, 3, 6, 6), torch.tensor([1, 0, 1])
    torch.testing.assert_close(problem.select(index).nll(x[index]), problem.nll(x)[index])


def test_adjoint_of_a_nonlinear_operator_is_its_pullback_at_zero():
    problem = Problem.simulate(IMAGE, Square(), Gaussian(0.1))
    assert torch.equal(problem.adjoint(), torch.zeros_like(IMAGE))
    assert torch.equal(problem.initial_estimate(), torch.zeros_like(IMAGE))
    linear = Problem.simulate(IMAGE, BlockMean(2), Gaussian(0.1))
    torch.testing.assert_close(linear.adjoint(), BlockMean(2).adjoint(linear.y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_composition_takes_the_dtype_of_y_as_its_parts_do(dtype):
    blur = CircularBlur(gaussian_psf(0.7, 1).to(dtype))
    for operator in (BlockMean(2) @ blur, blur @ BlockMean(2)):
        x = IMAGE.to(dtype)
        assert Problem.simulate(x, operator, Gaussian(0.1)).y.dtype == dtype


def test_a_latent_problem_has_the_pixel_problems_likelihood():
    q = orthogonal(108)
    pixels = Problem.simulate(IMAGE.flatten(1), Matrix(normal(3, 50, 108)), Gaussian(0.3))
    latent = pixels.pullback(Matrix(q, shape=(3, 6, 6)))
    z = normal(4, 2, 3, 6, 6)
    x = z.flatten(1) @ q.mT
    assert latent.x_shape == (3, 6, 6)
    torch.testing.assert_close(latent.nll(z), pixels.nll(x))
    torch.testing.assert_close(latent.grad(z).flatten(1), pixels.grad(x) @ q)


@pytest.mark.parametrize("start", [None, zeros], ids=["pinv", "zeros"])
def test_a_latent_problem_has_the_pixel_problems_answer_in_rotated_coordinates(start):
    n = 10
    q, root = orthogonal(n), normal(5, n, n)
    mean, cov = normal(6, n), root @ root.mT / n
    pixels = Problem.simulate(normal(7, 2, n), Matrix(normal(8, 4, n)), Gaussian(0.1))
    latent = pixels.pullback(Matrix(q))
    options = {} if start is None else {"start": start}
    solver = REDDiff(karras(30), partial(SGD, lr=0.05), variant=Variant(noise_scale=0.0), **options)
    x = solve(pixels, GaussianPrior(mean, cov), solver).x
    z = solve(latent, GaussianPrior(q.mT @ mean, q.mT @ cov @ q), solver).x
    torch.testing.assert_close(z @ q.mT, x, rtol=1e-9, atol=1e-9)

"""Stacked measurements, operators side by side in a batch, and several noise levels."""

from __future__ import annotations

import pytest
import torch

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Problem, solve
from reddiff.noise import DiagonalGaussian, Poisson, Stacked
from reddiff.operators import (
    BlockMean,
    ChannelMix,
    Diagonal,
    LinearOperator,
    Mask,
    Matrix,
    SpectralOperator,
    grayscale,
    side_by_side,
    stack,
)
from reddiff.priors import GaussianRandomField
from reddiff.random import Keys
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

X = (3, 4, 6)
PRIOR = GaussianRandomField(channels=3)


def three(lanes: int = 2) -> tuple[torch.Tensor, list[Problem]]:
    """A small, a gray and a masked picture of the same x."""
    x = PRIOR.sample(torch.empty(lanes, *X, dtype=zoo.F64), Keys(3, tuple(range(lanes))).at(0))
    operators = [BlockMean(2), grayscale(zoo.F64), Mask(zoo.coin(1, 4, 6, p=0.5)[0])]
    levels = (0.05, 0.2, 0.01)
    made = [
        Problem.simulate(x, a, Gaussian(s), seed=i)
        for i, (a, s) in enumerate(zip(operators, levels, strict=True))
    ]
    return x, made


def test_a_stack_measures_what_its_parts_measure():
    x, parts = three()
    problem = Problem.stack(parts)
    assert_same(problem.operator(x), torch.cat([p.operator(x).flatten(1) for p in parts], 1))
    assert problem.x_shape == X
    assert_same(problem.nll(x), sum(p.nll(x) for p in parts))
    assert_same(problem.grad(x), sum(p.grad(x) for p in parts))
    assert_same(problem.count, sum(p.count for p in parts))
    few = problem.select(torch.tensor([1]))
    assert_same(few.nll(x[1:]), problem.nll(x)[1:])


def test_parts_that_are_not_gaussian_keep_their_own_likelihood():
    x, parts = three()
    bright = Mask(torch.ones(1, dtype=zoo.F64))
    light = Problem.simulate(x.abs(), bright, Poisson(50.0))
    problem = Problem.stack([parts[0], light])
    assert isinstance(problem.noise, Stacked)
    assert problem.whitened() is problem
    assert_same(problem.nll(x.abs()), parts[0].nll(x.abs()) + light.nll(x.abs()))


def test_equal_levels_stay_one_level():
    _, parts = three()
    both = Problem.stack([parts[0], Problem(parts[1].y, parts[1].operator, Gaussian(0.05))])
    assert isinstance(both.noise, Gaussian)
    assert both.noise.sigma == 0.05


def test_whitening_changes_the_likelihood_by_a_constant():
    x, parts = three()
    problem = Problem.stack(parts)
    white = problem.whitened()
    assert isinstance(white.noise, Gaussian)
    other = x + 0.1
    assert_same(white.nll(x) - white.nll(other), problem.nll(x) - problem.nll(other))
    assert_same(white.residual_ratio(x), problem.residual_ratio(x))


@pytest.mark.parametrize("per_lane", [False, True])
@pytest.mark.parametrize("mask_per_lane", [False, True])
def test_a_mask_with_a_level_for_every_entry_keeps_its_spectral_form(per_lane, mask_per_lane):
    x, _ = three()
    sigma = 0.02 + zoo.randn(2 if per_lane else 1, *X).abs()
    bits = zoo.coin(2, 4, 6, p=0.5)
    mask = Mask(bits, per_lane=True) if mask_per_lane else Mask(bits[0])
    problem = Problem.simulate(x, mask, DiagonalGaussian(sigma))
    white = problem.whitened()
    assert isinstance(white.operator, Diagonal)
    assert_same(white.operator(x), mask(x) / sigma)
    assert torch.equal(white.measured, problem.measured)
    few = white.select(torch.tensor([1, 0]))
    assert_same(few.y, white.y.flip(0))


def test_a_level_per_channel_is_enough():
    x, _ = three()
    sigma = torch.tensor([0.1, 0.2, 0.3], dtype=zoo.F64).view(1, 3, 1, 1)
    problem = Problem.simulate(x, Mask(zoo.coin(1, 4, 6, p=0.5)[0]), DiagonalGaussian(sigma))
    assert_same(problem.whitened().y, problem.y / sigma)


@pytest.mark.parametrize("noise", ["stack", "entries"])
def test_the_default_finds_the_posterior_mean_under_several_levels(noise):
    x, parts = three(4)
    if noise == "stack":
        problem = Problem.stack(parts)
    else:
        sigma = 0.02 + 0.5 * zoo.randn(1, *X).abs()
        problem = Problem.simulate(x, Mask(zoo.coin(1, 4, 6, p=0.7)[0]), DiagonalGaussian(sigma))
    posterior = PRIOR.posterior(problem.whitened())
    got = solve(problem, PRIOR, NoiseAwareREDDiff.default(50, realism=0.0))
    error = (got.x - posterior.mean).square().mean().sqrt()
    spread = (posterior.sample(200) - posterior.mean[:, None]).square().mean().sqrt()
    assert error < 0.25 * spread
    assert_same(got.residual_ratio[:, 0], problem.residual_ratio(posterior.mean), tol=0.1)


def test_side_by_side_has_an_operator_for_each_lane():
    x = zoo.randn(3, *X)
    signs = Mask((x[0] > 0).to(zoo.F64))
    parts = [Mask(zoo.coin(1, 4, 6, p=0.5)[0]), ChannelMix(torch.eye(3, dtype=zoo.F64)), signs]
    operator = side_by_side(parts)
    assert isinstance(operator, LinearOperator)
    assert operator.lanes == 3
    for i, part in enumerate(parts):
        assert_same(operator(x)[i : i + 1], part(x[i : i + 1]))
    with pytest.raises(InvalidArgument, match="3 lanes"):
        operator(x[:2])


def test_bad_input_is_named():
    _, parts = three()
    with pytest.raises(InvalidArgument, match=r"problems: expected at least one"):
        Problem.stack([])
    with pytest.raises(InvalidArgument, match=r"problems.*\[2, 1\]"):
        Problem.stack([parts[0], parts[1].select(torch.tensor([0]))])
    with pytest.raises(InvalidArgument, match=r"operators.*\(3, 4, 6\).*\(3, 2, 3\)"):
        stack([BlockMean(2), Mask(torch.ones(1))], [(3, 2, 3), (3, 2, 3)])
    masks = [Mask(zoo.coin(b, 4, 6, p=0.5), per_lane=True) for b in (2, 3)]
    with pytest.raises(InvalidArgument, match="lanes"):
        stack(masks, [X, X])
    with pytest.raises(InvalidArgument, match=r"y: expected shape \(b, 13\), got \(b, 5\)"):
        stack([Matrix(zoo.randn(4, 6)), Matrix(zoo.randn(9, 6))], [(4,), (9,)]).x_shape((5,))
    with pytest.raises(InvalidArgument, match="y_shapes"):
        stack([Matrix(zoo.randn(4, 6))], [(4,), (9,)])
    with pytest.raises(InvalidArgument, match="each for one lane"):
        side_by_side([Mask(zoo.coin(2, 4, 6, p=0.5), per_lane=True)])
    with pytest.raises(InvalidArgument, match="weights"):
        Diagonal(torch.zeros(3))
    with pytest.raises(InvalidArgument, match="weights"):
        Diagonal(torch.tensor([1.0, torch.inf]))
    with pytest.raises(InvalidArgument, match=r"weights.*\(4, 6\).*\(5,\)"):
        Diagonal(torch.ones(5)).x_shape((4, 6))
    assert isinstance(Diagonal(torch.ones(3)), SpectralOperator)

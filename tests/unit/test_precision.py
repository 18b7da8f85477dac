"""Operators given in float64 on data in float32 compute in float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Problem, solve
from reddiff.operators import (
    BlockMean,
    Blur,
    Boundary,
    CircularBlur,
    Mask,
    Matrix,
    MultiCoilMRI,
    Operator,
    VaryingBlur,
    birdcage_maps,
    gaussian_psf,
    make_blur,
    motion_psf,
    side_by_side,
)
from reddiff.operators.custom import operator
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

OPERATORS: dict[str, tuple[tuple[int, ...], Callable[[], Operator]]] = {
    "circular": ((1, 9, 9), lambda: CircularBlur(gaussian_psf(0.8))),
    "symmetric": ((1, 9, 9), lambda: make_blur(gaussian_psf(0.8))),
    "separable": ((1, 9, 9), lambda: make_blur(gaussian_psf(0.8), Boundary.ZERO)),
    "blur": ((1, 9, 9), lambda: Blur(motion_psf(3.0, 30.0))),
    "varying": ((1, 9, 9), lambda: VaryingBlur(gaussian_psf(0.6).expand(2, 2, -1, -1))),
    "composed": ((1, 8, 8), lambda: BlockMean(2) @ CircularBlur(gaussian_psf(0.7))),
    "mask": ((1, 5, 5), lambda: Mask(torch.ones(5, 5, dtype=zoo.F64))),
    "matrix": ((6,), lambda: Matrix(zoo.randn(4, 6))),
    "mri": ((2, 5, 4), lambda: MultiCoilMRI(torch.ones(5, 4), birdcage_maps(2, (5, 4)))),
    "lanes": ((1, 9, 9), lambda: side_by_side([CircularBlur(gaussian_psf(0.8))] * 2)),
    "own": ((3,), lambda: operator(lambda x, g: g * x, lanes=[zoo.randn(2, 3)], linear=True)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_parameters_follow_a_y_of_lower_precision(name: str) -> None:
    shape, make = OPERATORS[name]
    given, x = make(), zoo.randn(2, *shape)
    kept = {k: v.clone() for k, v in given.named_buffers()}
    low = Problem.simulate(x.float(), given, Gaussian(0.1))
    high = Problem.simulate(x, given, Gaussian(0.1))
    assert high.operator is given
    assert low.y.dtype == low.operator(x.float()).dtype == torch.float32
    torch.testing.assert_close(low.operator(x.float()).double(), given(x), rtol=1e-5, atol=1e-5)
    assert low.operator.lanes == given.lanes
    assert len(low.select(torch.tensor([1]))) == 1
    for key, value in given.named_buffers():  # the one given is as it was
        assert value.dtype == kept[key].dtype
        assert torch.equal(value, kept[key])


@pytest.mark.parametrize("name", ["symmetric", "blur", "matrix"])
def test_a_run_in_single_precision(name: str) -> None:
    """As the one in double, with an operator made in double for both."""
    shape, make = OPERATORS[name]
    prior = GaussianRandomField() if len(shape) == 3 else zoo.gaussian()
    y = Problem.simulate(0.5 * zoo.randn(2, *shape), make(), Gaussian(0.1)).y
    method = NoiseAwareREDDiff.default(4, realism=0.0)
    runs = [
        solve(Problem(v, make(), Gaussian(0.1)), prior.to(v.dtype), method).x
        for v in (y, y.float())
    ]
    assert runs[1].dtype == torch.float32
    torch.testing.assert_close(runs[1].double(), runs[0], rtol=0, atol=5e-3)


def test_modules_of_other_kinds_are_left_alone() -> None:
    """A function of a module refers to it: a copy of lower precision would not be called."""
    linear = torch.nn.Linear(3, 2, bias=False).double()
    linear.register_buffer("scale", torch.ones(1, dtype=zoo.F64))
    own = operator(linear, x_shape=(3,))
    with pytest.raises(InvalidArgument, match=r"y: expected dtype torch\.float64, as operator"):
        Problem(torch.ones(1, 2), own, Gaussian(0.1))

"""Clip, gamma and quantization against NumPy and scikit-image; inverses, slopes and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.exposure
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from reddiff import InvalidArgument
from reddiff.operators import Clip, Gamma, Quantise

X = 1.5 * zoo.randn(2, 3, 5, 4)
EXPONENTS = st.floats(0.2, 4.0)
TOES = st.floats(0.001, 0.5)


def line(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=zoo.F64)


@pytest.mark.parametrize(("gain", "low", "high"), [(2.0, -1.0, 1.0), (0.7, 0.0, 0.5)])
def test_clip_is_numpys(gain, low, high):
    got = Clip(gain, low, high)(X)
    np.testing.assert_array_equal(got, np.clip(gain * X.numpy(), low, high))


def test_clip_has_no_slope_where_y_is_lost_and_its_guess_explains_y():
    operator = Clip(2.0)
    a, pull = operator.vjp(X)
    lost = (2 * X).abs() > 1
    assert lost.any()
    assert torch.equal(pull(torch.ones_like(X)), torch.where(lost, 0.0, 2.0))
    assert torch.equal(operator(operator.initial_estimate(a)), a)
    assert operator.initial_estimate(line(-7.0, 0.3, 9.0)).tolist() == [[-0.5, 0.15, 0.5]]


@pytest.mark.parametrize("gamma", [1 / 2.2, 1.0, 2.2])
def test_gamma_is_that_of_scikit_image_within_the_range(gamma):
    u = torch.linspace(0.01, 1, 50, dtype=zoo.F64)
    wanted = skimage.exposure.adjust_gamma(u.numpy(), gamma)
    np.testing.assert_allclose(Gamma(gamma, 0.0, 1.0)(u[None])[0], wanted)
    np.testing.assert_allclose(Gamma(gamma)(2 * u[None] - 1)[0], 2 * wanted - 1, atol=1e-14)


@given(gamma=EXPONENTS, toe=TOES, low=st.floats(-2, 0), size=st.floats(0.5, 3))
def test_gamma_grows_everywhere_and_guess_is_its_inverse_in_the_range(gamma, toe, low, size):
    operator = Gamma(gamma, low, low + size, toe=toe)
    ends = line(low, low + size)
    torch.testing.assert_close(operator(ends), ends)
    x = torch.linspace(low - size, low + 2 * size, 301, dtype=zoo.F64)[None]
    y = operator(x)
    assert (y.diff() > 0).all()
    torch.testing.assert_close(
        operator.initial_estimate(y), x.clamp(low, low + size), rtol=1e-6, atol=1e-6
    )


@given(gamma=EXPONENTS, toe=TOES)
def test_gamma_is_a_line_in_the_toe_and_a_tangent_above_white(gamma, toe):
    operator = Gamma(gamma, 0.0, 1.0, toe=toe)
    x = line(-3.0, 0.0, 0.999 * toe, 1.001, 7.0)
    slope = operator.vjp(x)[1](torch.ones_like(x))
    steep = toe ** (gamma - 1)
    torch.testing.assert_close(slope, line(steep, steep, steep, gamma, gamma))
    torch.testing.assert_close(operator(line(toe, 2.0)), line(toe**gamma, 1 + gamma))


@pytest.mark.parametrize("levels", [2, 3, 8, 256])
def test_quantise_is_rounding(levels):
    got = Quantise(levels)(X)
    grid = np.linspace(-1, 1, levels)
    nearest = grid[np.abs(X.numpy()[..., None] - grid).argmin(-1)]
    np.testing.assert_allclose(got, nearest, atol=1e-15)
    assert torch.equal(Quantise(levels)(got), got)
    assert len(got.unique()) <= levels


def test_256_levels_leave_pictures_of_8_bits_as_they_are():
    x = torch.arange(256, dtype=zoo.F64)[None] / 255
    torch.testing.assert_close(Quantise(256, 0.0, 1.0)(x), x, rtol=0, atol=1e-15)


def test_quantise_lets_slopes_through_also_twice_and_hides_no_divergence():
    operator, v = Quantise(4), zoo.randn(*X.shape, seed=1)
    near = operator.linearise(X)
    for moved in (near.push(v), near.pull(v), operator.vjp(X)[1](v)):
        assert torch.equal(moved, v)
    assert torch.isnan(operator(line(math.inf, math.nan))).all()


def test_parameters_per_lane_are_those_of_each_lane_alone():
    numbers = torch.tensor([3.0, 5.0])
    for make in (Clip, Gamma, Quantise):
        both = make(numbers if make is not Quantise else numbers.long(), per_lane=True)
        assert both.lanes == 2
        for i, number in enumerate((3, 5)):
            assert torch.equal(both(X)[i], make(number)(X)[i])
            assert torch.equal(both.initial_estimate(X)[i], make(number).initial_estimate(X)[i])


def test_the_dtype_is_that_of_x():
    for operator in (Clip(), Gamma(0.5), Quantise(5)):
        assert (
            operator(X.float()).dtype == operator.initial_estimate(X.float()).dtype == torch.float32
        )


BAD = {
    "gain": (lambda: Clip(0.0), r"contrast: expected positive finite values, got 0.0"),
    "gain lanes": (lambda: Clip(torch.ones(2)), r"contrast: expected one number, got shape \(2,\)"),
    "gain number": (
        lambda: Clip(2.0, per_lane=True),
        r"contrast: expected shape \(b,\), got shape \(\)",
    ),
    "range": (lambda: Clip(2.0, 1.0, 1.0), "high: expected a finite number above low = 1.0, got 1"),
    "range nan": (lambda: Quantise(2, math.nan), "high: expected .* above low = nan, got 1.0"),
    "gamma": (lambda: Gamma(math.nan), "gamma: expected positive finite values, got nan"),
    "toe": (lambda: Gamma(2.0, toe=1.0), "toe: expected a number between 0 and 1, got 1.0"),
    "levels 1": (lambda: Quantise(1), "levels: expected whole numbers of at least 2, got 1"),
    "levels half": (
        lambda: Quantise(torch.tensor([2.0, 2.5]), per_lane=True),
        r"levels: expected whole numbers of at least 2, got \[2.0, 2.5\]",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()

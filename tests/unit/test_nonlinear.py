"""The nonlinear blur against loops; its range, its seed, and how nonlinear it is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import zoo
from reddiff import InvalidArgument
from reddiff.operators import NonlinearBlur, gaussian_psf, motion_psf
from reddiff.operators.nonlinear import ANGLES
from reddiff.priors import GaussianRandomField
from reddiff.random import DRAWING, Keys

GOLDEN = [-0.8145319819, 0.3675554396, 0.5471403880]
ids = (0, 1, 2)
FIELD = 0.7 * GaussianRandomField(-2.2, channels=3).sample(
    torch.empty(3, 3, 32, 32, dtype=zoo.F64), Keys(1, ids).at(DRAWING)
)


def test_is_a_blend_of_motion_blurs_by_loops():
    """Against scipy, with the network written out in numpy."""
    operator = NonlinearBlur(5.0, seed=3)
    x = FIELD[:1, :, :9, :12]
    first, bias, second = (operator.get_buffer(n)[0].numpy() for n in ("first", "bias", "second"))
    mean = x[0].mean(0).numpy()
    smooth = scipy.ndimage.convolve(mean, gaussian_psf(5 / 3).numpy(), mode="nearest")
    framed = np.pad(smooth, 1, mode="edge")
    logits = np.empty((len(second), *mean.shape))
    for i, j in np.ndindex(mean.shape):
        hidden = np.tanh(first @ framed[i : i + 3, j : j + 3].ravel() + bias[:, 0])
        logits[:, i, j] = second @ hidden
    weights = np.exp(logits) / np.exp(logits).sum(0)
    kernels = [motion_psf(0.0, 0.0), *(motion_psf(5.0, angle) for angle in ANGLES)]
    wanted = np.zeros((3, *mean.shape))
    for channel in range(3):
        for weight, kernel in zip(weights, kernels, strict=True):
            plane = x[0, channel].numpy()
            wanted[channel] += weight * scipy.ndimage.convolve(
                plane, kernel.numpy(), mode="nearest"
            )
    np.testing.assert_allclose(operator.weights(x)[0], weights, atol=1e-12)
    np.testing.assert_allclose(operator(x)[0], wanted, atol=1e-12)


@given(
    c=st.integers(1, 4),
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    length=st.floats(0.1, 20),
    seed=st.integers(-9, 99),
)
def test_the_range_is_kept_and_flat_pictures_too_at_any_shape(c, h, w, length, seed):
    operator = NonlinearBlur(length, seed=seed)
    x = zoo.randn(2, c, h, w, seed=seed + 9)
    y = operator(x)
    assert operator.x_shape((c, h, w)) == (c, h, w)
    low, high = (v.flatten(2)[..., None] for v in (x, -x))
    assert (y >= low.amin(2, keepdim=True) - 1e-12).all()
    assert (-y >= high.amin(2, keepdim=True) - 1e-12).all()
    torch.testing.assert_close(operator.weights(x).sum(1), torch.ones(2, h, w, dtype=zoo.F64))
    flat = torch.linspace(-1, 1, c, dtype=zoo.F64).view(1, c, 1, 1).expand(1, c, h, w)
    torch.testing.assert_close(operator(flat), flat)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_blurs_and_how_depends_on_the_picture(seed, measure):
    """The kernel varies over a picture, and A(-x) is not -A(x), by a good part of the blur."""
    operator = NonlinearBlur(9.0, seed=seed)
    y = operator(FIELD)
    blur = (FIELD - y).norm()
    assert blur > 0.05 * FIELD.norm()
    bent = (operator(-FIELD) + y).norm()
    measure(
        f"nonlinear blur, seed {seed}: {float(bent / blur):.2f} of the blur turns with the sign"
    )
    assert bent > 0.08 * blur
    assert operator.weights(FIELD).std((2, 3)).mean() > 0.019


def test_it_has_two_derivatives():
    operator = NonlinearBlur(2.0)
    x = FIELD[:1, :2, :3, :4].clone().requires_grad_()
    assert gradcheck(operator, x)
    assert gradgradcheck(operator, x)


def test_a_seed_is_one_operator_for_ever():
    """Numbers taken down once: a change of the recipe is a change of everyone's problems."""
    x = torch.linspace(-1, 1, 20, dtype=zoo.F64).view(1, 1, 4, 5)
    y = NonlinearBlur(3.0, seed=7)(x)
    assert torch.equal(y, NonlinearBlur(3.0, seed=7)(x))
    got = torch.stack([y[0, 0, 0, 0], y[0, 0, 2, 3], y[0, 0, 3, 1]])
    torch.testing.assert_close(got, torch.tensor(GOLDEN, dtype=zoo.F64), rtol=0, atol=1e-9)
    assert not torch.allclose(y, NonlinearBlur(3.0, seed=8)(x), atol=1e-3)


def test_seeds_per_lane_are_those_of_each_lane_alone():
    both = NonlinearBlur(4.0, seed=torch.tensor([4, 9, 4]), per_lane=True)
    assert both.lanes == 3
    for i, seed in enumerate((4, 9, 4)):
        alone = NonlinearBlur(4.0, seed=seed)(FIELD)[i]
        torch.testing.assert_close(both(FIELD)[i], alone, rtol=0, atol=1e-13)
    assert not torch.allclose(both(FIELD)[1], NonlinearBlur(4.0, seed=4)(FIELD)[1], atol=1e-3)


BAD = {
    "length": (lambda: NonlinearBlur(0.0), "length: expected a positive number of pixels, got 0"),
    "length inf": (lambda: NonlinearBlur(float("inf")), "length: expected a positive .*, got inf"),
    "seed": (lambda: NonlinearBlur(seed=0.5), "seed: expected an integer, got 0.5"),
    "seed lanes": (lambda: NonlinearBlur(seed=torch.arange(2)), "seed: expected an integer, got t"),
    "seeds": (lambda: NonlinearBlur(per_lane=True), r"seed: expected integers \(b,\), got 0"),
    "seeds float": (
        lambda: NonlinearBlur(seed=torch.ones(2), per_lane=True),
        r"seed: expected integers \(b,\), got tensor",
    ),
    "seed size": (lambda: NonlinearBlur(seed=2**70), "seed: expected integers of 64 bits"),
    "y": (lambda: NonlinearBlur().x_shape((4, 4)), r"y: expected shape \(b, c, h, w\), got"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()

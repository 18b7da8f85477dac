"""Resizing against Pillow and torch, and its invariants."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

import zoo
from laws.test_operators import check_shape
from reddiff import Gaussian, InvalidArgument, Problem
from reddiff.operators import BlockMean, Filter, Resize, bicubic, box, lanczos, triangle
from reddiff.operators.resampling import resampling_matrix

FILTERS = {
    bicubic: Image.Resampling.BICUBIC,
    lanczos: Image.Resampling.LANCZOS,
    triangle: Image.Resampling.BILINEAR,
    box: Image.Resampling.BOX,
}
every_filter = pytest.mark.parametrize("window", FILTERS, ids=lambda f: f.name)


@every_filter
def test_agrees_with_pillow(window, measure):
    worst = 0.0
    sizes = ((1, 1), (1, 3), (2, 5), (9, 8), (16, 21))
    for factor, (h, w) in product((1, 2, 3, 4, 8), sizes):
        x = zoo.randn(1, 1, h * factor, w * factor, seed=h).float()
        picture = Image.fromarray(x[0, 0].numpy(), mode="F")
        wanted = np.asarray(picture.resize((w, h), FILTERS[window]))
        got = Resize(factor, window)(x)[0, 0].numpy()
        worst = max(worst, float(np.abs(got - wanted).max()))
    measure(f"Resize, {window.name}: {worst:.1e} from Pillow")
    assert worst < 1e-6


@pytest.mark.parametrize(("window", "mode"), [(bicubic, "bicubic"), (triangle, "bilinear")])
def test_agrees_with_torch(window, mode):
    x = zoo.randn(2, 3, 24, 36)
    for factor in (2, 3, 4):
        size = (24 // factor, 36 // factor)
        wanted = interpolate(x, size, mode=mode, antialias=True)
        torch.testing.assert_close(Resize(factor, window)(x), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_a_box_is_the_block_mean(factor):
    x = zoo.randn(2, 3, 2 * factor, 3 * factor)
    torch.testing.assert_close(Resize(factor, box)(x), BlockMean(factor)(x), rtol=0, atol=1e-14)


@every_filter
def test_a_flat_picture_stays_flat(window):
    for factor, side in ((2, 4), (3, 15), (4, 8)):
        flat = torch.full((1, 1, side * factor, factor), 0.7, dtype=zoo.F64)
        got = Resize(factor, window)(flat)
        torch.testing.assert_close(got, torch.full_like(got, 0.7), rtol=0, atol=1e-14)


@every_filter
def test_the_guess_does_not_blow_up_noise(window):
    """A^+ is as well conditioned as the filter: noise grows no more than by 2 along each axis."""
    for factor in (2, 3, 4, 8):
        for side in (1, 2, 3, 8, 31):
            s = torch.linalg.svdvals(resampling_matrix(side * factor, factor, window))
            assert s[0] / s[-1] < 2.01
    noise = zoo.randn(1, 1, 32, 32)
    rms = float(Resize(4, window).initial_estimate(noise).square().mean().sqrt())
    assert rms < 2.5


@given(
    c=st.integers(1, 3),
    h=st.integers(1, 4),
    w=st.integers(1, 4),
    factor=st.integers(1, 5),
    window=st.sampled_from(list(FILTERS)),
)
def test_any_shape(c, h, w, factor, window, device):
    check_shape(Resize(factor, window), (c, h * factor, w * factor), device)


def test_tables_made_in_inference_mode_serve_autograd():
    with torch.inference_mode():
        Resize(2)(torch.randn(1, 1, 22, 26))
    x = torch.randn(1, 1, 22, 26, requires_grad=True)
    Resize(2)(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("operator", [Resize(4), BlockMean(4)])
def test_a_factor_that_does_not_divide(operator):
    for shape in ((1, 1, 8, 10), (1, 1, 6, 8)):
        got = f"{shape[2]} x {shape[3]}"
        message = f"^x: expected sides divisible by the factor 4, got {got}$"
        with pytest.raises(InvalidArgument, match=message):
            operator(torch.zeros(shape))


@pytest.mark.parametrize("operator", [Resize, BlockMean])
@pytest.mark.parametrize("factor", [0, -2, 1.5, "2", True])
def test_bad_factors(operator, factor, untyped):
    with pytest.raises(InvalidArgument, match="factor: expected an integer of at least 1, got"):
        operator(factor)


def test_bad_filters(untyped):
    with pytest.raises(
        InvalidArgument, match="filter: expected a Filter, such as bicubic, got str"
    ):
        Resize(2, "bicubic")
    with pytest.raises(InvalidArgument, match="support: expected a positive number, got 0"):
        Filter("nothing", 0.0, torch.ones_like)


def test_a_y_of_another_rank():
    with pytest.raises(InvalidArgument, match=r"y: expected shape \(b, c, h, w\), got \(b, 4\)"):
        Problem(torch.zeros(2, 4), Resize(2), Gaussian(0.1))

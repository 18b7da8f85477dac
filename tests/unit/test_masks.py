"""Masks from words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.measure
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import convolve

import zoo
from laws.test_operators import check_shape
from reddiff import InvalidArgument
from reddiff.images.brush import brush_mask
from reddiff.images.masks import TEXTS, make_mask
from reddiff.operators import Bayer, BayerPattern


def test_random_drops_that_part_and_follows_the_seed():
    mask = make_mask("random:0.7", (200, 100), seed=3)
    assert mask.shape == (1, 200, 100)
    assert float(mask.mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(mask, make_mask("random:0.7", (200, 100), seed=3))
    assert not torch.equal(mask, make_mask("random:0.7", (200, 100), seed=4))


def test_box_is_central():
    mask = make_mask("box:10", (20, 30))
    assert torch.equal(mask, make_mask("box:0.5", (20, 30)))
    assert int((mask == 0).sum()) == 100
    assert not mask[0, 5:15, 10:20].any()


@pytest.mark.parametrize("name", TEXTS)
def test_text_covers_any_size(name):
    mask = make_mask(f"text:{name}", (300, 500))
    assert mask.shape == (1, 300, 500)
    assert 0.5 < float(mask.mean()) < 1
    assert torch.equal(mask[:, 256:, :256], mask[:, :44, :256])


@pytest.mark.parametrize(
    "spec",
    [
        *("random:2", "random:x", "random:1", "box:64", "box:0", "text:none", "box:nan"),
        *("random", "box:", "random:", "text"),
        *("brush:20-10", "brush:0-10", "brush:10", "brush:a-b", "brush:10-100", "brush:1-2-3"),
    ],
)
def test_bad_words(spec):
    with pytest.raises(InvalidArgument, match="mask"):
        make_mask(spec, (64, 64))


@given(
    h=st.integers(1, 90),
    w=st.integers(1, 90),
    low=st.floats(0.02, 0.9),
    width=st.floats(0.0, 0.1),
    seed=st.integers(-5, 99),
)
def test_a_brush_covers_what_it_is_told_to(h, w, low, width, seed):
    high = min(low + width, 0.95)
    if math.ceil(low * h * w) > math.floor(high * h * w):
        with pytest.raises(InvalidArgument, match="coverage: expected a range with a whole number"):
            brush_mask((h, w), (low, high), seed)
        return
    mask = brush_mask((h, w), (low, high), seed)
    assert mask.shape == (1, h, w)
    assert ((mask == 0) | (mask == 1)).all()
    assert low - 1e-6 <= float((mask == 0).double().mean()) <= high + 1e-6
    assert torch.equal(mask, brush_mask((h, w), (low, high), seed))


def test_brush_words_are_percents():
    assert torch.equal(
        make_mask("brush:20-30", (64, 48), seed=5), brush_mask((64, 48), (0.2, 0.3), 5)
    )
    assert not torch.equal(make_mask("brush:20-30", (64, 48)), brush_mask((64, 48), (0.2, 0.3), 5))


def test_the_coverage_varies_over_its_range():
    shares = [float((brush_mask((48, 48), (0.2, 0.6), s) == 0).double().mean()) for s in range(40)]
    assert min(shares) < 0.28
    assert max(shares) > 0.52


def test_a_brush_makes_strokes_not_dust():
    """A few connected parts, each of a stroke's size, at any size of picture."""
    for side, seed in ((64, 0), (128, 1), (256, 2), (256, 3)):
        removed = brush_mask((side, side), (0.2, 0.3), seed)[0] == 0
        labels = skimage.measure.label(removed.numpy())
        parts = np.bincount(labels.ravel())[1:]
        assert len(parts) <= 8
        assert parts.min() > 0.002 * side**2


@pytest.mark.parametrize("coverage", [(0.0, 0.5), (0.5, 1.0), (0.3, 0.2), (float("nan"), 0.5)])
def test_bad_coverage(coverage):
    with pytest.raises(InvalidArgument, match="coverage: expected 0 < low <= high < 1, got"):
        brush_mask((20, 20), coverage)


@pytest.mark.parametrize("pattern", BayerPattern)
def test_bayer_sees_the_colors_of_its_pattern(pattern):
    x = zoo.randn(2, 3, 5, 6)
    y = Bayer(pattern)(x)
    for i in range(5):
        for j in range(6):
            seen = "RGB".index(pattern.value[2 * (i % 2) + j % 2])
            for channel in range(3):
                wanted = x[:, channel, i, j] if channel == seen else torch.zeros(2, dtype=zoo.F64)
                assert torch.equal(y[:, channel, i, j], wanted)


def test_bayers_guess_is_bilinear_demosaicing():
    """Against scipy in the interior, and a flat or sloping picture is found again."""
    x = zoo.randn(2, 3, 8, 9)
    operator = Bayer()
    y = operator(x)
    green = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    other = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    got = operator.initial_estimate(y).numpy()
    for channel, kernel in enumerate((other, green, other)):
        for lane in range(2):
            wanted = convolve(y[lane, channel].numpy(), kernel)
            inner = (slice(1, -1), slice(1, -1))
            np.testing.assert_allclose(got[lane, channel][inner], wanted[inner], atol=1e-12)
    colors = torch.tensor([0.2, -0.7, 0.5], dtype=zoo.F64)
    flat = colors[:, None, None].expand(1, 3, 7, 5)
    torch.testing.assert_close(operator.initial_estimate(operator(flat)), flat)
    nan = torch.where(operator.measured(y), y, torch.nan)
    assert torch.equal(operator.initial_estimate(nan), operator.initial_estimate(y))


@given(h=st.integers(1, 7), w=st.integers(1, 7), pattern=st.sampled_from(BayerPattern))
def test_bayer_of_any_shape(h, w, pattern, device):
    check_shape(Bayer(pattern), (3, h, w), device)
    y = zoo.randn(1, 3, h, w).to(device)
    assert torch.isfinite(Bayer(pattern).to(device).initial_estimate(y)).all()


def test_bad_mosaics(untyped):
    with pytest.raises(InvalidArgument, match=r"pattern: expected one of .*RGGB.*, got 'RGB'"):
        Bayer("RGB")
    with pytest.raises(
        InvalidArgument, match=r"y: expected shape \(b, 3, h, w\), got \(b, 1, 4, 4\)"
    ):
        Bayer().x_shape((1, 4, 4))
    with pytest.raises(
        InvalidArgument, match=r"x: expected shape \(b, 3, h, w\), got \(2, 1, 4, 4\)"
    ):
        Bayer()(torch.zeros(2, 1, 4, 4))

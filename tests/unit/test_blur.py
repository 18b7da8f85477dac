from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Problem
from reddiff.images.io import read_picture
from reddiff.lanes import dot
from reddiff.operators import (
    Blur,
    Boundary,
    CircularBlur,
    LinearOperator,
    SeparableBlur,
    SpectralOperator,
    SymmetricBlur,
    gaussian_psf,
    levin_psf,
    make_blur,
    motion_psf,
    uniform_psf,
)
from zoo.references import SCIPY

LINE = torch.tensor([0.2, 0.5, 0.3], dtype=zoo.F64)
F32 = torch.float32


def reference(x, psf, boundary):
    """By scipy, plane by plane."""
    planes = [scipy.ndimage.convolve(p, psf.numpy(), mode=SCIPY[boundary]) for p in x.numpy()]
    return torch.from_numpy(np.stack(planes))


def fitting(data, h, w):
    """Sides of a kernel for an image of h x w."""
    return tuple(2 * data.draw(st.integers(0, (n - 1) // 2)) + 1 for n in (h, w))


def ones(h, w):
    return torch.ones(h, w, dtype=zoo.F64)


def even(psf):
    psf = psf + psf.flip(0)
    return psf + psf.flip(1)


# Convolutions


@pytest.mark.parametrize("boundary", Boundary)
@given(c=st.integers(1, 3), h=st.integers(1, 12), w=st.integers(1, 12), data=st.data())
def test_blurs_are_scipys_convolution(boundary, c, h, w, data):
    kh, kw = fitting(data, h, w)
    x, psf = zoo.randn(2, c, h, w, seed=h), zoo.randn(2, kh, kw, seed=w)
    shared = Blur(psf[0], boundary)
    assert_same(shared(x)[1], reference(x[1], psf[0], boundary), tol=1e-13)
    each = Blur(psf, boundary, per_lane=True)
    y = each(x)
    for lane in range(2):
        assert_same(y[lane], reference(x[lane], psf[lane], boundary), tol=1e-13)
    back = zoo.randn(*y.shape, seed=5)
    torch.testing.assert_close(dot(y, back), dot(x, each.adjoint(back)))


@pytest.mark.parametrize("boundary", Boundary)
@given(h=st.integers(1, 9), w=st.integers(1, 9), data=st.data())
def test_separable_blurs_are_blurs_of_the_product(boundary, h, w, data):
    kh, kw = fitting(data, h, w)
    rows, columns = zoo.randn(2, kh, seed=1), zoo.randn(2, kw, seed=2)
    x = zoo.randn(2, 2, h, w, seed=3)
    psf = rows[:, :, None] * columns[:, None, :]
    for lane in range(2):
        one = SeparableBlur(rows[lane], columns[lane], boundary)
        assert_same(one(x), Blur(psf[lane], boundary)(x), tol=1e-12)
        assert torch.equal(one.psf, psf[lane])
    each = SeparableBlur(rows, columns, boundary, per_lane=True)
    assert_same(each(x), Blur(psf, boundary, per_lane=True)(x), tol=1e-12)
    z = each.vt(x)
    assert_same(each.u(each.spectrum(z) * z), each(x), tol=1e-12)


@given(h=st.integers(1, 12), w=st.integers(1, 12), data=st.data())
def test_symmetric_blurs_are_blurs(h, w, data):
    psf = even(zoo.randn(*fitting(data, h, w), seed=h))
    x, blur = zoo.randn(2, 2, h, w, seed=3), SymmetricBlur(psf)
    z = blur.vt(x)
    assert_same(blur.u(blur.spectrum(z) * z), Blur(psf, Boundary.REFLECT)(x), tol=1e-12)
    assert_same(blur(x), Blur(psf, Boundary.REFLECT)(x), tol=1e-12)
    assert_same(blur.v(z), x)


@pytest.mark.parametrize("boundary", [b for b in Boundary if b is not Boundary.ZERO])
@pytest.mark.parametrize("dtype", [zoo.F64, F32])
def test_a_flat_image_stays_flat(boundary, dtype):
    """A DC gain of 1: no tap is lost."""
    flat = torch.full((1, 3, 9, 8), 0.7, dtype=dtype)
    tol = 1e-13 if dtype == zoo.F64 else 1e-6
    for psf in (gaussian_psf(10.0, 3), motion_psf(4.0, 30.0), uniform_psf(5)):
        for make in (Blur, make_blur):
            assert_same(make(psf.to(dtype), boundary)(flat), flat, tol=tol)
    line = gaussian_psf(3.0, 2).sum(0).to(dtype)
    assert_same(SeparableBlur(line, line, boundary)(flat), flat, tol=tol)


def test_blurs_of_a_delta_are_the_psf():
    delta, psf = torch.zeros(1, 1, 9, 9, dtype=zoo.F64), zoo.randn(5, 3)
    delta[..., 4, 4] = 1
    for boundary in Boundary:
        assert_same(Blur(psf, boundary)(delta)[0, 0, 2:7, 3:6], psf, tol=1e-14)


# make_blur


@pytest.mark.parametrize(
    ("psf", "boundary", "kind"),
    [
        (levin_psf(2), Boundary.CIRCULAR, CircularBlur),
        (gaussian_psf(1.0), Boundary.CIRCULAR, CircularBlur),
        (gaussian_psf(1.0), Boundary.REFLECT, SymmetricBlur),
        (gaussian_psf(1.0).to(F32), Boundary.REFLECT, SymmetricBlur),
        (gaussian_psf(1.0), Boundary.REPLICATE, SeparableBlur),
        (gaussian_psf(1.0).to(F32), Boundary.ZERO, SeparableBlur),
        (torch.outer(LINE, LINE), Boundary.REFLECT, SeparableBlur),
        (-torch.outer(LINE, LINE), Boundary.MIRROR, SeparableBlur),
        (ones(1, 1), Boundary.MIRROR, SeparableBlur),
        (motion_psf(5, 30), Boundary.REFLECT, Blur),
        (levin_psf(1).to(F32), Boundary.ZERO, Blur),
    ],
)
def test_the_best_class_is_chosen_and_is_the_same_blur(psf, boundary, kind):
    best, plain = make_blur(psf, boundary), Blur(psf, boundary)
    assert type(best) is kind
    x = zoo.randn(1, 2, 24, 27).to(psf.dtype)
    tol = 1e-12 if psf.dtype == zoo.F64 else 1e-5
    assert_same(best(x), plain(x), tol=tol)
    assert_same(best.adjoint(x), plain.adjoint(x), tol=tol)
    assert_same(best.solve(x, 0.1), plain.solve(x, 0.1, iterations=200), tol=max(tol, 1e-9))


def test_lanes_share_a_class():
    gauss = gaussian_psf(1.0, 2)
    product = torch.outer(LINE, LINE)
    product = torch.nn.functional.pad(product, (1, 1, 1, 1))
    other = zoo.randn(5, 5)
    x = zoo.randn(2, 1, 7, 6)
    for second, kind in ((2 * gauss, SymmetricBlur), (product, SeparableBlur), (other, Blur)):
        psfs = torch.stack([gauss, second])
        best = make_blur(psfs, per_lane=True)
        assert type(best) is kind
        assert best.lanes == 2
        assert_same(best(x), Blur(psfs, per_lane=True)(x), tol=1e-12)


# Where optimization starts


@pytest.mark.parametrize("boundary", [Boundary.CIRCULAR, Boundary.REFLECT, Boundary.ZERO])
@pytest.mark.parametrize("psf", [gaussian_psf(1.6), levin_psf(4)], ids=["gaussian", "levin"])
def test_the_guess_is_no_noise(boundary, psf):
    """A^+ of noisy y is worse than the guess, and may be far worse than y; the guess is better."""
    picture = read_picture("src/reddiff/assets/photos/chelsea.png").pixels[None, :, :96, :96]
    x = (2 * picture - 1).double()
    for make in (Blur, make_blur):
        problem = Problem.simulate(x, make(psf, boundary), Gaussian(0.01))
        guess = problem.operator.initial_estimate(problem.y)
        part = 0.78 if isinstance(problem.operator, Blur) else 0.97
        assert (guess - x).norm() < part * (problem.y - x).norm()


# Errors

SIZED = [
    Blur(ones(3, 7), Boundary.ZERO),
    SeparableBlur(ones(1, 3)[0], ones(1, 7)[0]),
    SymmetricBlur(ones(3, 7)),
    CircularBlur(ones(3, 7)),
]


@pytest.mark.parametrize("blur", SIZED, ids=lambda blur: type(blur).__name__)
def test_a_psf_larger_than_the_image(blur: LinearOperator):
    small = torch.zeros(1, 1, 9, 5, dtype=zoo.F64)
    words = r"psf: expected at most the size of the image \(9, 5\), got \(3, 7\)"
    for use in (blur, blur.adjoint, blur.initial_estimate):
        with pytest.raises(InvalidArgument, match=words):
            use(small)
    with pytest.raises(InvalidArgument, match=words):
        Problem(small, blur, Gaussian(0.1))
    with pytest.raises(InvalidArgument, match=r"y: expected shape \(b, c, h, w\), got \(b, 9, 5\)"):
        Problem(small[0], blur, Gaussian(0.1))
    if isinstance(blur, SpectralOperator):
        with pytest.raises(InvalidArgument, match=words):
            blur.spectrum(small)


@pytest.mark.parametrize("make", [Blur, SymmetricBlur, CircularBlur, make_blur])
@pytest.mark.parametrize(
    ("psf", "per_lane", "words"),
    [
        (ones(2, 3), False, r"shape \(kh, kw\) with odd sides .*, got \(2, 3\)"),
        (ones(3, 4), False, r"shape \(kh, kw\) with odd sides .*, got \(3, 4\)"),
        (ones(1, 3)[0], False, r"shape \(kh, kw\) with odd sides .*, got \(3,\)"),
        (ones(3, 3), True, r"shape \(b, kh, kw\) with odd sides .*, got \(3, 3\)"),
        (ones(3, 3)[None], False, r"shape \(kh, kw\) with odd sides .*, got \(1, 3, 3\)"),
        (torch.zeros(0, 3, 3), True, r"at least one PSF, got \(0, 3, 3\)"),
        (ones(3, 3) * torch.inf, False, "finite values, got nan or inf"),
        (torch.zeros(3, 3), False, "at least one entry that is not zero, got all zero"),
        (
            torch.stack([ones(3, 3), 0 * ones(3, 3)]),
            True,
            "at least one entry that is not zero, got all zero",
        ),
    ],
)
def test_a_psf_that_is_none(make, psf, per_lane, words):
    with pytest.raises(InvalidArgument, match=f"psf: expected {words}"):
        make(psf, per_lane=per_lane)


@pytest.mark.parametrize(
    ("rows", "columns", "per_lane", "words"),
    [
        (ones(1, 2)[0], LINE, False, r"rows: expected shape \(k,\) with an odd k, got \(2,\)"),
        (LINE, ones(3, 3), False, r"columns: expected shape \(k,\) with an odd k, got \(3, 3\)"),
        (LINE, LINE, True, r"rows: expected shape \(b, k\) with an odd k, got \(3,\)"),
        (ones(2, 3), ones(3, 3), True, "columns: expected 2 lanes, as rows, got 3 lanes"),
        (LINE, LINE * torch.nan, False, "columns: expected finite values, got nan or inf"),
        (0 * LINE, LINE, False, "rows: expected at least one entry that is not zero, got all"),
    ],
)
def test_rows_and_columns_that_are_none(rows, columns, per_lane, words):
    with pytest.raises(InvalidArgument, match=words):
        SeparableBlur(rows, columns, per_lane=per_lane)


def test_a_psf_that_is_not_symmetric():
    with pytest.raises(
        InvalidArgument, match="psf: expected a PSF symmetric under both flips, got one that diff"
    ):
        SymmetricBlur(motion_psf(5, 30))
    nearly = gaussian_psf(1.0)
    nearly[0, 0] += 1e-17
    assert isinstance(make_blur(nearly), SymmetricBlur)

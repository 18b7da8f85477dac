from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Problem
from reddiff.lanes import dot
from reddiff.operators import Blur, Boundary, VaryingBlur, gaussian_psf
from reddiff.operators.blur.varying import hats


@pytest.mark.parametrize("boundary", Boundary)
def test_equal_psfs_are_one_blur(boundary):
    psf, x = zoo.randn(2, 3, 5, seed=1), zoo.randn(2, 2, 11, 12, seed=2)
    for rows, columns in ((1, 1), (2, 3), (5, 4), (11, 12)):
        grid = psf[:, None, None].expand(2, rows, columns, 3, 5)
        assert_same(VaryingBlur(grid[0], boundary)(x), Blur(psf[0], boundary)(x), tol=1e-12)
        each = VaryingBlur(grid, boundary, per_lane=True)
        assert_same(each(x), Blur(psf, boundary, per_lane=True)(x), tol=1e-12)


@pytest.mark.parametrize("boundary", Boundary)
@given(h=st.integers(1, 9), w=st.integers(1, 9), data=st.data())
def test_it_is_the_sum_of_blurred_weighted_images(boundary, h, w, data):
    rows, columns = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    kh, kw = (2 * data.draw(st.integers(0, (n - 1) // 2)) + 1 for n in (h, w))
    psfs, x = zoo.randn(rows, columns, kh, kw, seed=h), zoo.randn(1, 2, h, w, seed=w)
    down, across = hats(rows, h), hats(columns, w)
    assert_same(down.sum(0), torch.ones_like(down[0]), tol=1e-14)
    wanted = sum(
        Blur(psfs[i, j], boundary)(down[i, :, None] * across[j] * x)
        for i in range(rows)
        for j in range(columns)
    )
    blur = VaryingBlur(psfs, boundary)
    got = blur(x)
    assert_same(got, wanted, tol=1e-12)
    y = zoo.randn(*got.shape, seed=3)
    torch.testing.assert_close(dot(got, y), dot(x, blur.adjoint(y)))


def test_the_psf_at_a_node_is_that_of_the_node_and_a_mixture_in_between():
    psfs = zoo.randn(2, 3, 3, 5, seed=4)
    blur = VaryingBlur(psfs, Boundary.ZERO)
    for i, j in ((0, 1), (1, 1)):
        delta = torch.zeros(1, 1, 13, 21, dtype=zoo.F64)
        at = 12 * i, 10 * j
        delta[0, 0, at[0], at[1]] = 1
        y = torch.nn.functional.pad(blur(delta)[0, 0], (2, 2, 1, 1))
        # Rows beyond the edge of the image are lost.
        seen = y[at[0] : at[0] + 3, at[1] : at[1] + 5]
        kept = slice(1, 3) if i == 0 else slice(0, 2)
        assert_same(seen[kept], psfs[i, j][kept], tol=1e-14)
    delta = torch.zeros(1, 1, 13, 21, dtype=zoo.F64)
    delta[0, 0, 6, 5] = 1
    wanted = psfs[:, :2].mean((0, 1))
    assert_same(blur(delta)[0, 0, 5:8, 3:8], wanted, tol=1e-14)


def test_light_is_kept_and_a_flat_image_stays_nearly_flat():
    """With PSFs of sum 1, on a torus: the sum exactly, a constant nearly."""
    psfs = torch.stack([gaussian_psf(s, 6) for s in (0.5, 1.0, 1.5, 2.0)]).unflatten(0, (2, 2))
    x = zoo.randn(1, 1, 40, 50).abs()
    y = VaryingBlur(psfs, Boundary.CIRCULAR)(x)
    torch.testing.assert_close(y.sum(), x.sum())
    flat = VaryingBlur(psfs)(torch.ones_like(x))
    assert 0 < (flat - 1).abs().max() < 0.05


def test_errors():
    with pytest.raises(
        InvalidArgument,
        match=r"psfs: expected shape \(rows, columns, kh, kw\) with odd sides .*, got \(3, 3\)",
    ):
        VaryingBlur(torch.ones(3, 3))
    with pytest.raises(InvalidArgument, match=r"\(b, rows, columns, kh, kw\) .* got \(1, 1, 3, 3"):
        VaryingBlur(torch.ones(1, 1, 3, 3), per_lane=True)
    with pytest.raises(InvalidArgument, match="not zero, got all zero"):
        VaryingBlur(torch.stack([torch.ones(3, 3), torch.zeros(3, 3)])[None])
    small = torch.zeros(1, 1, 3, 4)
    with pytest.raises(
        InvalidArgument,
        match=r"psfs: expected at most the size of the image \(3, 4\), got \(5, 3\)",
    ):
        VaryingBlur(torch.ones(1, 1, 5, 3))(small)
    many = VaryingBlur(torch.ones(4, 2, 3, 3))
    words = "psfs: expected a grid with at most one node per pixel, 3 x 4, got one of 4 x 2"
    for use in (many, many.adjoint, lambda y: Problem(y, many, Gaussian(0.1))):
        with pytest.raises(InvalidArgument, match=words):
            use(small)

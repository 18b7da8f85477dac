from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_same
from reddiff.operators import Boundary
from reddiff.operators.blur.boundary import extend, fold
from reddiff.operators.dct import dct2, idct2

NUMPY = {
    Boundary.CIRCULAR: "wrap",
    Boundary.REFLECT: "symmetric",
    Boundary.MIRROR: "reflect",
    Boundary.REPLICATE: "edge",
    Boundary.ZERO: "constant",
}
sides = st.integers(1, 9)


@pytest.mark.parametrize("boundary", Boundary)
@given(h=sides, w=sides, data=st.data())
def test_extend_is_numpys_pad_and_fold_its_adjoint(boundary, h, w, data):
    r = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    x = zoo.randn(2, h, w, seed=h * w).requires_grad_()
    wide = extend(x, r, boundary)
    widths = ((0, 0), (r[0], r[0]), (r[1], r[1]))
    np.testing.assert_array_equal(
        wide.detach().numpy(), np.pad(x.detach().numpy(), widths, mode=NUMPY[boundary])
    )
    p = zoo.randn(*wide.shape, seed=1)
    before = p.clone()
    (wanted,) = torch.autograd.grad(wide, x, p)
    assert_same(fold(p, r, boundary), wanted, tol=1e-14)
    assert torch.equal(p, before)


@given(h=sides, w=st.integers(1, 40))
def test_dct_is_scipys(h, w):
    x = zoo.randn(2, 3, h, w, seed=h * w)
    z = dct2(x)
    wanted = scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(z, wanted, atol=1e-13)
    assert_same(idct2(z), x, tol=1e-13)
    assert_same(dct2(x.float()).double(), z, tol=1e-5)
    assert_same(idct2(z.float()).double(), x, tol=1e-5)

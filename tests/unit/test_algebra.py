"""Sums, multiples, transposes and products of operators: types, names and errors."""

from __future__ import annotations

import pytest
import torch

import zoo
from laws.compare import assert_same
from reddiff import InvalidArgument, operator
from reddiff.operators import (
    Bayer,
    BlockMean,
    Blur,
    CircularBlur,
    ClosedForm,
    Compose,
    Diagonal,
    Identity,
    LinearCompose,
    LinearOperator,
    LinearSum,
    Mask,
    Matrix,
    SpectralOperator,
    Sum,
    Transposed,
    side_by_side,
    stack,
)

MASK = Mask(torch.eye(4, 5))
BLUR = CircularBlur(torch.ones(3, 3) / 9)
WEIGHTS = Diagonal(torch.full((4, 5), -2.0))
A, B = Matrix(zoo.randn(3, 4)), Matrix(zoo.randn(4, 6))


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (MASK @ MASK, Mask),
        (MASK @ WEIGHTS, Diagonal),
        (WEIGHTS @ MASK, Diagonal),
        (WEIGHTS @ WEIGHTS, Diagonal),
        (BLUR @ BLUR, CircularBlur),
        (A @ B, Matrix),
        (A.T, Matrix),
        (MASK.T, Mask),
        (BLUR.T, CircularBlur),
        (3 * BLUR, SpectralOperator),
        (-BLUR @ (2 * BLUR), SpectralOperator),
        (MASK @ (2 * WEIGHTS), SpectralOperator),
        (MASK @ BLUR, LinearCompose),
        (zoo.SoftClip() @ BLUR, Compose),
        (BLUR + MASK, LinearSum),
        (BLUR - zoo.SoftClip(), Sum),
        (BlockMean(2).T, Transposed),
    ],
)
def test_kinds(made, kind):
    """Closed forms are kept where they are known."""
    assert isinstance(made, kind)
    assert isinstance(made, LinearOperator) == (type(made) not in (Sum, Compose))


def test_identities_and_double_negations_vanish():
    assert Identity() @ BLUR is BLUR
    assert zoo.SoftClip() @ Identity() is not None
    assert BLUR @ Identity() is BLUR
    assert -1 * (-BLUR) is BLUR
    assert 0.5 * (2 * BLUR) is BLUR
    assert BlockMean(2).T.T.factor == 2


def test_products_without_a_closed_form_are_compositions():
    """Masks with nothing in common, a mask per lane of unknown rank, shapes that do not fit."""
    other = Mask(1 - torch.eye(4, 5))
    each = Mask(torch.ones(2, 4, 5), per_lane=True)
    for made in (MASK @ other, WEIGHTS @ each, Mask(torch.ones(3)) @ MASK, MASK @ Bayer()):
        assert type(made) is LinearCompose
    assert_same((MASK @ other)(torch.ones(1, 4, 5)), torch.zeros(1, 4, 5))


def test_the_transpose_of_a_composition_and_a_sum():
    blur = Blur(zoo.randn(3, 3))
    x = zoo.randn(2, 1, 4, 5)
    for a in (Mask(torch.eye(4, 5).double()) @ blur, blur + blur.T, -2 * blur):
        assert_same(a.T(x), a.adjoint(x))
        assert_same(a.T.adjoint(x), a(x))


def test_a_scaled_closed_form_without_a_spectrum():
    class Halved(ClosedForm):
        def forward(self, x):
            return x / 2

        adjoint = forward

        def x_shape(self, y_shape):
            return y_shape

        def invert(self, b, lam, weight=1.0):
            return b / (weight / 4 + lam)

    b = zoo.randn(2, 3)
    made = -4.0 * Halved()
    assert isinstance(made, ClosedForm)
    assert_same(made.solve(b, 0.5, 3.0), b / (3 * 4 + 0.5))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (CircularBlur(torch.ones(3, 9, 9), per_lane=True), "CircularBlur(psf=(3, 9, 9))"),
        (MASK, "Mask((4, 5), 20% measured)"),
        (A, "Matrix(a=(3, 4))"),
        (BlockMean(2), "BlockMean(2)"),
        (Bayer(), "Bayer(RGGB)"),
        (operator(torch.tanh, x_shape=(3,)), "Function(tanh)"),
        (MASK @ Blur(torch.ones(3, 3)), "Mask((4, 5), 20% measured) @ Blur(psf=(3, 3))"),
        ((A + 2 * A) @ B.T.T, "(Matrix(a=(3, 4)) + 2 * Matrix(a=(3, 4))) @ Matrix(a=(4, 6))"),
        (-BlockMean(2), "-BlockMean(2)"),
        ((BlockMean(2) @ BLUR).T, "CircularBlur(psf=(3, 3)) @ BlockMean(2).T"),
        (stack([A, A], [(3,), (3,)]), "LinearStack(Matrix(a=(3, 4)), Matrix(a=(3, 4)))"),
        (side_by_side([A, B]), "LinearSideBySide(Matrix(a=(3, 4)), Matrix(a=(4, 6)))"),
    ],
)
def test_repr_is_one_line_of_shapes(made, text):
    assert repr(made) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 0 * BLUR, "factor: expected a finite number other than 0, got 0"),
        (
            lambda: (BLUR + BlockMean(2))(torch.ones(1, 1, 4, 6)),
            r"A \+ B: expected the shape \(1, 4, 6\) of y, as the first operator gives, got",
        ),
        (lambda: (BLUR + BlockMean(2)).x_shape((1, 4, 6)), r"A \+ B: .* of x, \(1, 4, 6\) as"),
        (lambda: BlockMean(2).T.x_shape((1, 3, 5)), "expected"),
        (
            lambda: Mask(torch.ones(2, 3), per_lane=True) + Mask(torch.ones(3, 3), per_lane=True),
            "operators for the same number of lanes",
        ),
        (
            lambda: Mask(torch.ones(2, 3), per_lane=True) @ Mask(torch.ones(3, 3), per_lane=True),
            "operators for the same number of lanes",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_only_numbers_multiply():
    with pytest.raises(TypeError):
        _ = "2" * BLUR

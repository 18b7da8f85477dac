"""Operators with one matrix per axis."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.test_operators import check_shape
from reddiff import InvalidArgument
from reddiff.operators.separable import factor, stack


def test_is_the_kronecker_product():
    down, across = zoo.randn(3, 6, seed=1), zoo.randn(7, 5, seed=2)
    x = zoo.randn(2, 3, 6, 5, seed=3)
    operator = zoo.Pair(down, across)
    wanted = (x.flatten(2) @ torch.kron(down, across).mT).view(2, 3, 3, 7)
    torch.testing.assert_close(operator(x), wanted)
    s = operator.spectrum(x).flatten().sort(descending=True).values
    torch.testing.assert_close(s[:15], torch.linalg.svdvals(torch.kron(down, across))[:15])
    assert (s[15:] == 0).all()


def test_each_lane_has_its_own_matrices():
    downs, acrosses = zoo.randn(3, 4, 6, seed=1), zoo.randn(3, 2, 5, seed=2)
    x = zoo.randn(3, 2, 6, 5, seed=3)
    got = zoo.Pair(downs, acrosses)(x)
    for lane in range(3):
        alone = zoo.Pair(downs[lane], acrosses[lane])(x[lane : lane + 1])
        torch.testing.assert_close(got[lane : lane + 1], alone)


def test_stacked_factors_are_factors_of_the_stack():
    matrices = zoo.randn(3, 4, 6, seed=1)
    one, other = stack([factor(m) for m in matrices]), factor(matrices)
    torch.testing.assert_close(one.s, other.s)
    assert torch.equal(one.matrix, other.matrix)
    assert one.u.shape == (3, 4, 4)
    assert one.vt.shape == (3, 6, 6)


def test_the_rank_is_found():
    matrix = zoo.randn(7, 2, seed=1) @ zoo.randn(2, 5, seed=2)
    for rows in (matrix, matrix.mT, 1e-9 * matrix):
        assert int((factor(rows).s > 0).sum()) == 2


@given(
    c=st.integers(1, 3),
    m=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    n=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
)
def test_any_shape(c, m, n, seed, device):
    pair = zoo.Pair(zoo.randn(m[0], n[0], seed=seed), zoo.randn(m[1], n[1], seed=seed + 100))
    check_shape(pair, (c, *n), device)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "not zero, got zeros"), (float("nan"), "finite values, got nan")]
)
def test_bad_matrices(value, expected):
    with pytest.raises(InvalidArgument, match=f"matrix: expected .*{expected}"):
        factor(torch.full((2, 3), value))

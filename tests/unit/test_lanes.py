from __future__ import annotations

import pytest
import torch

from reddiff.lanes import dot, finite, norm, per_lane, pick, repeat

LIKE = torch.zeros(2, 3, 4, dtype=torch.float32)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (2.0, ()),
        (torch.tensor(2.0, dtype=torch.float64), ()),
        (torch.ones(2, dtype=torch.float64), (2, 1, 1)),
        (torch.ones(1), (1, 1, 1)),
        (torch.ones(2, 3, 4), (2, 3, 4)),
    ],
)
def test_lanes_broadcasts_and_takes_the_dtype(value, shape):
    out = per_lane(value, LIKE)
    assert out.shape == shape
    assert out.dtype == LIKE.dtype


def test_dot_and_norm_are_per_lane():
    u = torch.arange(24, dtype=torch.float64).view(2, 3, 4)
    expected = torch.stack([(u[0] * u[0]).sum(), (u[1] * u[1]).sum()])
    torch.testing.assert_close(dot(u, u), expected)
    torch.testing.assert_close(norm(u), expected.sqrt())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_finite_and_pick(bad):
    u = torch.ones(3, 2, 2)
    u[1, 0, 1] = bad
    ok = finite(u)
    assert ok.tolist() == [True, False, True]
    assert pick(ok, u, 0.0).flatten(1).sum(1).tolist() == [4, 0, 4]


def test_repeat_puts_copies_side_by_side():
    u = torch.tensor([[1.0], [2.0]])
    assert repeat(u, 2).flatten().tolist() == [1, 1, 2, 2]
    assert repeat(u, 1) is u

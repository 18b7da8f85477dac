from __future__ import annotations

import pytest
import torch
from scipy import stats

from reddiff import InvalidArgument
from reddiff.solvers.orders import ORDERS, ascending, descending, order, random, stratified

LEVELS = 8


def uniform(rows: int, draws: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, draws, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("rule", "first", "last"), [(descending, 0, 7), (ascending, 7, 0)])
def test_sweeps_visit_every_level_once(rule, first, last):
    visited = [rule(torch.full((3,), k), LEVELS, uniform(3, 2)) for k in range(LEVELS)]
    assert all(v.shape == (3, 2) and len(v.unique()) == 1 for v in visited)
    levels = [int(v[0, 0]) for v in visited]
    assert (levels[0], levels[-1]) == (first, last)
    assert sorted(levels) == list(range(LEVELS))


def test_a_lane_has_a_step_of_its_own():
    k = torch.tensor([2, 5])
    assert descending(k, LEVELS, uniform(2, 1)).flatten().tolist() == [2, 5]
    assert ascending(k, LEVELS, uniform(2, 1)).flatten().tolist() == [5, 2]


@pytest.mark.parametrize("rule", [random, stratified])
def test_random_orders_are_uniform_over_the_levels(rule):
    k, u = torch.arange(4000) % 100, uniform(4000, 3)
    index = rule(k, LEVELS, u)
    assert index.dtype == torch.int64
    counts = torch.bincount(index.flatten(), minlength=LEVELS)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("rule", [random, stratified])
@pytest.mark.parametrize("edge", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_are_levels(rule, edge):
    u = torch.full((100, 2), edge, dtype=torch.float64)
    index = rule(torch.arange(100), LEVELS, u)
    assert 0 <= index.min() <= index.max() < LEVELS


def test_stratified_draws_of_a_step_lie_in_different_strata():
    index = stratified(torch.arange(50), LEVELS, uniform(50, LEVELS))
    cyclic = (index - index[:, :1]) % LEVELS
    assert (cyclic.sort(1).values.diff(dim=1) <= 2).all()
    assert stats.entropy(torch.bincount(index.flatten()).numpy()) > 0.995 * stats.entropy([1] * 8)


def test_stratified_steps_visit_all_levels_within_a_few_steps():
    visited = stratified(
        torch.arange(3 * LEVELS), LEVELS, torch.full((3 * LEVELS, 1), 0.5).double()
    )
    counts = torch.bincount(visited.flatten(), minlength=LEVELS)
    assert counts.min() >= 2
    assert counts.max() <= 4


def test_an_unknown_name_is_refused_with_the_known_ones():
    assert order("random") is random
    with pytest.raises(InvalidArgument) as caught:
        order("sideways")
    message = f"order: expected one of {', '.join(ORDERS)}, got sideways"
    assert str(caught.value) == message

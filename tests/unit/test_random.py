from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reddiff import InvalidArgument, Keys
from reddiff.random import DRAWING, MEASURING, STARTING, Rng

BIG = 40_000


def normal(keys: Keys, step: int, shape: tuple[int, ...] = (3, 4)) -> torch.Tensor:
    return keys.at(step).randn_like(torch.empty(len(keys), *shape))


@settings(deadline=None, max_examples=30)
@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True),
    seed=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(-3, 10_000),
    data=st.data(),
)
def test_a_lane_draws_the_same_in_any_batch_and_order(ids, seed, step, data):
    order = data.draw(st.permutations(range(len(ids))))
    kept = order[: data.draw(st.integers(1, len(ids)))]
    together = normal(Keys(seed, tuple(ids)), step)
    apart = normal(Keys(seed, tuple(ids[i] for i in kept)), step)
    assert torch.equal(apart, together[kept])


def test_draws_are_a_function_of_their_number():
    def draws() -> list[torch.Tensor]:
        rng = Keys(1, (4, 7)).at(2)
        return [rng.randn_like(torch.empty(2, 5)) for _ in range(3)]

    first, second = draws(), draws()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("draw", "law"),
    [(Rng.randn_like, "norm"), (Rng.rand_like, "uniform")],
    ids=["normal", "uniform"],
)
def test_distribution(draw, law, dtype):
    values = draw(Keys(0, (0, 1, 2, 3)).at(0), torch.empty(4, BIG // 4, dtype=dtype))
    assert values.dtype == dtype
    assert stats.kstest(values.flatten().double().numpy(), law).pvalue > 1e-3


def test_small_draws_have_the_distribution_too():
    """One number per lane and step: the seeds themselves must be well mixed."""
    like = torch.empty(2000, 1, dtype=torch.float64)
    keys = Keys(0, tuple(range(2000)))
    values = torch.cat([keys.at(step).randn_like(like) for step in range(5)])
    assert stats.kstest(values.flatten().numpy(), "norm").pvalue > 1e-3


def test_uniform_is_half_open():
    values = Keys(0, (0,)).at(0).rand_like(torch.empty(1, BIG, dtype=torch.float32))
    assert values.min() >= 0
    assert values.max() < 1


OTHERS = {
    "seed": lambda: Keys(1, (5,)).at(0),
    "id": lambda: Keys(0, (6,)).at(0),
    "copy": lambda: Keys(0, (5,), (1,)).at(0),
    "step": lambda: Keys(0, (5,)).at(1),
    "the start": lambda: Keys(0, (5,)).at(STARTING),
    "the measurement": lambda: Keys(0, (5,)).at(MEASURING),
    "draws": lambda: Keys(0, (5,)).at(DRAWING),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_streams_are_uncorrelated(other):
    like = torch.empty(1, BIG, dtype=torch.float64)
    assert _correlation(Keys(0, (5,)).at(0).randn_like(like), other().randn_like(like)) < 5


def test_successive_draws_are_uncorrelated():
    like = torch.empty(1, BIG, dtype=torch.float64)
    rng = Keys(0, (5,)).at(0)
    assert _correlation(rng.randn_like(like), rng.randn_like(like)) < 5


def _correlation(u: torch.Tensor, v: torch.Tensor) -> float:
    """In standard deviations of its law for independent streams."""
    return float((u * v).mean().abs()) * BIG**0.5


def test_copies_are_side_by_side_and_the_first_is_the_lane_itself():
    keys = Keys(3, (10, 20)).repeat(3)
    assert keys.ids == (10, 10, 10, 20, 20, 20)
    assert keys.copies == (0, 1, 2, 0, 1, 2)
    rows = normal(keys, 4)
    assert torch.equal(rows[::3], normal(Keys(3, (10, 20)), 4))
    assert len({row.sum().item() for row in rows}) == 6


def test_select_keeps_ids_and_copies():
    keys = Keys(3, (10, 20)).repeat(2)
    assert torch.equal(normal(keys.select([3, 0]), 1), normal(keys, 1)[[3, 0]])


def test_the_generators_of_torch_are_left_alone():
    before = torch.get_rng_state()
    normal(Keys(0, (0,)), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(InvalidArgument, match=r"like: expected 2 lanes, got \(3, 4\)"):
        Keys(0, (0, 1)).at(0).randn_like(torch.empty(3, 4))


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 0.5, "1", None])
def test_seeds_and_ids_are_integers_of_64_bits(value):
    with pytest.raises(InvalidArgument, match="seed: expected integers of 64 bits"):
        Keys(value, (0,))
    with pytest.raises(InvalidArgument, match="ids: expected integers of 64 bits"):
        Keys(0, (0, value))

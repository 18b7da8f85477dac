from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from reddiff import InvalidArgument, Schedule
from reddiff.schedules import constant, cosine, even, flow, geometric, karras, vp

T = 1000
BETA = np.linspace(1e-4, 2e-2, T)
ABAR = np.cumprod(1 - BETA)
logarithmic = partial(geometric, sigma_min=0.01, sigma_max=50.0)


def test_vp_has_exactly_n_levels_from_the_last_trained_step_to_the_first():
    for n in range(1, T + 1):
        schedule = vp(n)
        assert len(schedule) == n
        np.testing.assert_allclose(schedule.alpha[0] ** 2, ABAR[T - 1], rtol=1e-12)
        assert (schedule.levels.diff() < 0).all()
        if n > 1:
            np.testing.assert_allclose(schedule.alpha[n - 1] ** 2, ABAR[0], rtol=1e-12)


def test_vp_with_all_levels_is_the_trained_chain():
    schedule = vp(T)
    np.testing.assert_allclose(schedule.alpha[:-1] ** 2, ABAR[::-1], rtol=1e-12)
    torch.testing.assert_close(schedule.alpha**2 + schedule.sigma**2, torch.ones(T + 1).double())


def test_cosine_follows_its_formula_until_beta_is_clipped():
    f = np.cos((np.linspace(0, 1, T + 1) + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = f[1:] / f[0]
    got = cosine(T).alpha[:-1].flip(0) ** 2
    np.testing.assert_allclose(got[:-1], abar[:-1], rtol=1e-9)
    np.testing.assert_allclose(got[-1], got[-2] * (1 - 0.999), rtol=1e-9)
    assert len(cosine(17)) == 17


@pytest.mark.parametrize("n", [1, 2, 18, 500])
def test_karras_follows_equation_5(n):
    low, high, rho = 0.01, 50.0, 5.0
    schedule = karras(n, low, high, rho)
    i = np.arange(n)
    part = i / max(n - 1, 1)
    expected = (high ** (1 / rho) + part * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    np.testing.assert_allclose(schedule.sigma[:-1], expected, rtol=1e-12)
    assert (schedule.alpha == 1).all()
    assert len(schedule) == n


@pytest.mark.parametrize("n", [1, 2, 18, 500])
def test_geometric_is_even_in_log_sigma(n):
    schedule = geometric(n, 0.01, 50.0)
    ratio = (0.01 / 50.0) ** (1 / max(n - 1, 1))
    np.testing.assert_allclose(schedule.sigma[:-1], 50.0 * ratio ** np.arange(n), rtol=1e-12)
    assert (schedule.alpha == 1).all()
    assert len(schedule) == n


def test_even_is_even_in_sigma():
    assert torch.allclose(even(4, 0.5, 2.0).levels, torch.tensor([2.0, 1.5, 1, 0.5, 0]).double())


@pytest.mark.parametrize("n", [1, 2, 30])
def test_flow_is_a_straight_path(n):
    schedule = flow(n, t_max=0.9)
    torch.testing.assert_close(schedule.alpha + schedule.sigma, torch.ones(n + 1).double())
    torch.testing.assert_close(schedule.sigma, 0.9 * torch.linspace(1, 0, n + 1).double())


def test_constant_stays_at_one_level():
    schedule = constant(3, 0.2)
    assert len(schedule) == 3
    assert schedule.levels.tolist() == [0.2] * 4


@pytest.mark.parametrize("make", [vp, cosine, karras, logarithmic, flow])
def test_all_but_the_constant_one_arrive_at_the_clean_image(make):
    schedule = make(7)
    assert (schedule.alpha[-1], schedule.sigma[-1]) == (1, 0)
    assert schedule.alpha.dtype == schedule.sigma.dtype == torch.float64


def test_a_call_gives_one_level_per_lane():
    schedule = karras(4)
    k = torch.tensor([4, 0, 0, 2])
    alpha, sigma = schedule(k)
    assert torch.equal(alpha, schedule.alpha[k])
    assert torch.equal(sigma, schedule.sigma[k])


def test_subsample_keeps_both_ends_and_the_arrival():
    schedule = vp(1000).subsample(11)
    assert schedule.levels[0] == vp(1000).levels[0]
    assert torch.equal(schedule.levels[-2:], vp(1000).levels[-2:])
    index = torch.linspace(0, 999, 11).round().long()
    assert torch.equal(schedule.levels[:-1], vp(1000).levels[index])


def test_restrict_keeps_the_levels_within_and_the_arrival():
    full = karras(50)
    low, high = float(full.levels[40]), float(full.levels[10])
    schedule = full.restrict(low, high)
    assert torch.equal(schedule.levels, torch.cat([full.levels[10:41], full.levels[-1:]]))
    assert torch.equal(full.restrict().levels, full.levels)


def test_to_keeps_the_tables():
    schedule = flow(5).to("cpu")
    assert torch.equal(schedule.levels, flow(5).levels)


def test_a_schedule_of_ones_own():
    schedule = Schedule(torch.tensor([0.5, 1.0, 2.0]), torch.tensor([1.0, 1.0, 0.0]))
    assert len(schedule) == 2
    assert schedule.levels.tolist() == [2, 1, 0]


NOT_STEPS = [0, -1, 1.5, 2.0, True, "3", None, math.nan]
FAMILIES = {
    "vp": vp,
    "cosine": cosine,
    "karras": karras,
    "geometric": logarithmic,
    "even": lambda n: even(n, 0.1, 2.0),
    "flow": flow,
    "constant": lambda n: constant(n, 0.1),
    "subsample": lambda n: karras(20).subsample(n),
}


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("steps", NOT_STEPS, ids=repr)
@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_steps_is_an_integer_of_at_least_1(make, steps):
    with pytest.raises(InvalidArgument, match="steps: expected an integer of at least 1, got") as e:
        make(steps)
    assert repr(steps) in str(e.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vp(1001), "steps: expected at most T = 1000, got 1001"),
        (lambda: cosine(1001), "steps: expected at most T = 1000, got 1001"),
        (lambda: karras(10).subsample(11), "steps: expected at most 10 levels, got 11"),
        (lambda: karras(5, 0.0, 1.0), "sigma_min, sigma_max: expected 0 < .*, got 0.0, 1.0"),
        (lambda: karras(5, 2.0, 1.0), "sigma_min, sigma_max: expected 0 < .*, got 2.0, 1.0"),
        (lambda: karras(5, 0.1, math.inf), "sigma_min, sigma_max: .*, got 0.1, inf"),
        (lambda: karras(5, math.nan, 1.0), "sigma_min, sigma_max: .*, got nan, 1.0"),
        (lambda: geometric(5, 0.0, 1.0), "sigma_min, sigma_max: expected 0 < .*, got 0.0, 1.0"),
        (lambda: geometric(5, 2.0, 1.0), "sigma_min, sigma_max: expected 0 < .*, got 2.0, 1.0"),
        (lambda: even(5, 0.0, 1.0), "sigma_min, sigma_max: expected 0 < .*, got 0.0, 1.0"),
        (lambda: flow(5, 1.0), "t_max: expected a number between 0 and 1, got 1.0"),
        (lambda: flow(5, math.nan), "t_max: expected a number between 0 and 1, got nan"),
        (lambda: constant(5, 0.0), "sigma: expected a positive finite number, got 0.0"),
        (lambda: constant(5, math.inf), "sigma: expected a positive finite number, got inf"),
        (lambda: vp(100).restrict(200.0), "sigma_min, sigma_max: expected a range that meets"),
        (lambda: vp(100).restrict(3.0, 2.0), "sigma_min, sigma_max: .*, got 3 to 2"),
    ],
)
def test_ranges(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


@pytest.mark.parametrize(
    ("alpha", "sigma", "message"),
    [
        ([1.0, 1.0], [1.0, 0.5, 0.0], "alpha, sigma: expected two vectors of equal length"),
        ([1.0], [1.0], "alpha, sigma: expected two vectors of equal length >= 2"),
        ([[1.0, 1.0]], [[1.0, 0.0]], "alpha, sigma: expected two vectors"),
        ([0.0, 1.0], [1.0, 0.0], "alpha: expected finite values above 0"),
        ([1.0, 1.0], [math.nan, 0.0], "alpha: expected finite values above 0, sigma finite"),
        ([1.0, 1.0, 1.0], [1.0, 0.0, 0.0], "sigma: expected values above 0"),
        ([1.0, 1.0], [1.0, -0.1], "sigma: expected values above 0"),
        ([1.0, 1.0], [0.5, 1.0], "sigma / alpha: expected noisiest first"),
    ],
)
def test_tables_that_are_no_schedule(alpha, sigma, message):
    with pytest.raises(InvalidArgument, match=message):
        Schedule(torch.tensor(alpha), torch.tensor(sigma))

"""Steps: asking for n steps makes exactly n network evaluations per lane, whatever n is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import zoo
from reddiff import solve
from reddiff.priors import Prior
from reddiff.schedules import Schedule, constant, cosine, flow, karras, vp
from reddiff.solvers import REDDiff, orders
from zoo.priors import within

LANES = 2


class Spy(Prior):
    """Keeps the level of every row it is shown.

    Arguments:
        inner: The prior behind it.
    """

    trusted = True

    def __init__(self, inner: Prior) -> None:
        super().__init__(inner.shape)
        self.inner = inner
        self.levels: list[Tensor] = []

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The inner denoiser."""
        self.levels.append(sigma.flatten().cpu())
        return self.inner.denoise(x, sigma)

    def seen(self, lanes: int) -> Tensor:
        """The levels of each lane in the order they came, `(lanes, evaluations)`."""
        return torch.cat([s.view(lanes, -1) for s in self.levels], 1)


def count(case: zoo.SolverCase, steps: int, device: torch.device, runs: int = 1) -> None:
    problem, prior = zoo.solver_problem(LANES, device)
    spy = Spy(prior)
    solver = case.make(steps)
    assert solver.steps == steps
    result = solve(problem, spy, solver, runs=runs)
    wanted = steps * solver.cost.evaluations
    assert result.cost.evaluations == (wanted * runs,) * LANES
    assert result.cost.vjps == (steps * solver.cost.vjps * runs,) * LANES
    assert spy.seen(LANES * runs).shape[1] == wanted
    assert result.steps.eq(steps).all()
    assert not {row.item() for row in result.status.flatten()} - {2}


@pytest.mark.parametrize("steps", [1, 2, 7])
@zoo.every("case", zoo.SOLVERS)
def test_few(case: zoo.SolverCase, steps: int, device: torch.device) -> None:
    count(case, steps, device)


@pytest.mark.parametrize("steps", [300, 1000])
@zoo.every("case", zoo.SOLVERS, lambda case: case.name in ("default", "draws"))
def test_many(case: zoo.SolverCase, steps: int, device: torch.device) -> None:
    count(case, steps, device)


@pytest.mark.slow
@zoo.every("case", zoo.METHODS)
def test_many_all(case: zoo.SolverCase, device: torch.device) -> None:
    count(case, 300, device)


@zoo.every("case", zoo.SOLVERS)
def test_samples(case: zoo.SolverCase, device: torch.device) -> None:
    """Each sample costs what a run costs."""
    count(case, 3, device, runs=2)


def test_order(device: torch.device) -> None:
    """Which levels a run visits, and in which order."""
    problem, prior = zoo.solver_problem(LANES, device)

    def visit(order: orders.Order, draws: int = 1, steps: int = 9) -> Tensor:
        spy = Spy(prior)
        solve(problem, spy, REDDiff(vp(steps), order=order, draws=draws))
        return spy.seen(LANES)

    table = vp(9).levels[:-1]
    torch.testing.assert_close(visit(orders.descending), table.expand(LANES, -1))
    torch.testing.assert_close(visit(orders.ascending), table.flip(0).expand(LANES, -1))
    torch.testing.assert_close(
        visit(orders.descending, draws=2), table.repeat_interleave(2).expand(LANES, -1)
    )
    many = visit(orders.random, draws=100)
    assert torch.isin(many.round(decimals=9), table.round(decimals=9)).all()
    assert not torch.equal(many[0], many[1])
    for order in (orders.random, orders.stratified):
        seen = visit(order, draws=100)
        shares = torch.stack([(seen - s).abs().lt(1e-9).double().mean(1) for s in table], 1)
        assert (shares.sum(1) - 1).abs().max() < 1e-9
        assert (shares - 1 / 9).abs().max() < 0.06
    spread = torch.stack([visit(orders.stratified, draws=9).view(LANES, 9, 9)]).sort(-1).values
    assert ((spread[..., 1:] > spread[..., :-1]).double().mean()) > 0.6  # mostly all distinct


def released() -> np.ndarray:
    """sigma / alpha of the linear VP chain at t = 0 to 999, written anew."""
    abar = np.cumprod(1 - (1e-4 + (2e-2 - 1e-4) * np.arange(1000) / 999))
    return np.sqrt((1 - abar) / abar)


@given(st.integers(1, 1000))
def test_vp(steps: int) -> None:
    """Exactly n of the 1000 trained levels, from t = 999 (not 990), evenly, to t = 0."""
    levels = vp(steps).levels.numpy()
    assert len(levels) == steps + 1
    assert levels[-1] == 0
    distance = np.abs(np.log(levels[:-1, None] / released()))
    t = distance.argmin(1)
    assert distance.min(1).max() < 1e-10
    assert t[0] == 999
    if steps > 1:
        assert t[-1] == 0
        gaps = -np.diff(t)
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


@given(st.integers(1, 400), st.sampled_from([vp, cosine, karras, flow]))
def test_every_schedule(steps: int, make: Callable[[int], Schedule]) -> None:
    schedule = make(steps)
    assert len(schedule) == steps
    assert len(schedule.alpha) == len(schedule.sigma) == steps + 1
    s = schedule.levels
    assert (s[:-1] > 0).all()
    assert s[-1] == 0
    assert (s.diff() < 0).all()
    alpha, sigma = schedule(torch.arange(steps + 1))
    assert torch.equal(sigma / alpha, s)
    half = schedule.subsample((steps + 1) // 2)
    assert len(half) == (steps + 1) // 2
    assert torch.isin(half.levels, s).all()
    assert half.levels[0] == s[0]
    middle = float(s[steps // 2])
    kept = schedule.restrict(sigma_max=middle)
    assert torch.equal(kept.levels, s[steps // 2 :])
    assert len(constant(steps, 0.3)) == steps


@pytest.mark.parametrize("steps", [1, 10, 100, 339])
def test_restricted_paper(steps: int) -> None:
    """The preset for a prior of limited range has as many steps as asked for, all in its range."""
    low, high = 0.01, 1.5
    levels = REDDiff.paper(steps, prior=within(low, high)).schedule.levels[:-1]
    assert len(levels) == steps
    assert levels.min() >= low
    assert levels.max() <= high
    inside = released()[(released() >= low) & (released() <= high)]
    assert levels[0] == pytest.approx(inside.max(), rel=1e-10)

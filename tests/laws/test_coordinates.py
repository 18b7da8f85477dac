"""Coordinates: one prior seen through VP, VE (EDM) and flow variables gives the same x0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import solve
from reddiff.schedules import Schedule, cosine, flow, karras, vp
from reddiff.solvers import REDDiff

ALPHA: dict[str, Callable[[Tensor], Tensor]] = {
    "edm": torch.ones_like,
    "vp": lambda s: (1 + s**2).rsqrt(),
    "flow": lambda s: 1 / (1 + s),
    "shrunk": lambda s: torch.full_like(s, 0.01),
}


def levels(case: zoo.PriorCase, device: torch.device) -> tuple[Tensor, Tensor]:
    """One lane per level, and an x of about that level's size."""
    s = torch.tensor(case.levels, dtype=zoo.F64, device=device)
    x = zoo.randn(len(s), *case.x_shape, seed=1).to(device)
    return s, x * (1 + s.reshape(-1, *[1] * len(case.x_shape)))


@pytest.mark.parametrize("name", ALPHA)
@zoo.every("case", zoo.PRIORS)
def test_denoiser(case: zoo.PriorCase, name: str, device: torch.device) -> None:
    """x0, and its pullback, which is the one at alpha = 1 over alpha."""
    prior = case.make(device)
    s, x = levels(case, device)
    alpha = ALPHA[name](s)
    wide = alpha.reshape(-1, *[1] * len(case.x_shape))
    wanted, pullback = prior.vjp(x, s)
    got, scaled = prior.vjp(wide * x, alpha * s, alpha)
    assert_same(got, wanted)
    assert_same(prior(wide * x, alpha * s, alpha), wanted)
    v = zoo.randn(*x.shape, seed=2).to(device)
    assert_same(wide * scaled(v), pullback(v))
    assert pullback(v).abs().flatten(1).amax(1).min() > 0
    for i, level in enumerate(case.levels):  # a number for all lanes, instead of one per lane
        assert_same(prior(x[i : i + 1], level)[0], wanted[i])


@zoo.every("case", zoo.PRIORS, lambda case: case.gaussian)
def test_parametrization(case: zoo.PriorCase, device: torch.device) -> None:
    """Whatever a network predicts, the prior it stands for is the same."""
    s, x = levels(case, device)
    behind, exact = case.make(device), zoo.gaussian().to(device)
    assert_same(behind(x, s), exact(x, s), tol=1e-9)
    v = zoo.randn(*x.shape, seed=2).to(device)
    assert_same(behind.vjp(x, s)[1](v), exact.vjp(x, s)[1](v), tol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@zoo.every("case", zoo.PRIORS)
def test_dtype(case: zoo.PriorCase, dtype: torch.dtype, device: torch.device) -> None:
    """A prior works in the dtype it was taken to, and says so."""
    s, x = levels(case, device)
    prior = case.make(device, dtype)
    assert prior.dtype in (None, dtype)
    got = prior(x.to(dtype), s.to(dtype))
    assert got.dtype == dtype
    assert_same(got.double(), case.make(device)(x, s), tol=1e-10 if dtype == zoo.F64 else 1e-4)


@pytest.mark.parametrize("stock", [vp, cosine, karras, flow])
def test_solver(stock: Callable[[int], Schedule], device: torch.device) -> None:
    """A run depends on the levels of its schedule, and not on the coordinates they are told in."""
    problem, prior = zoo.solver_problem(device=device)
    schedule = stock(12)
    solver = REDDiff(schedule, draws=2, sigma_q=0.1)
    x = solve(problem, prior, solver, seed=5).x
    s = schedule.levels
    for alpha in ALPHA.values():
        other = Schedule(alpha(s), alpha(s) * s)
        assert_same(solve(problem, prior, replace(solver, schedule=other), seed=5).x, x, tol=1e-8)
    for case in zoo.PRIORS:
        if case.gaussian and "integer" not in case.name:
            behind = case.make(device)
            good = schedule.restrict(behind.sigma_min, behind.sigma_max)
            same = [
                solve(problem, p, replace(solver, schedule=good), seed=5).x for p in (behind, prior)
            ]
            assert_same(*same, tol=1e-8)


@zoo.every("case", zoo.SOLVERS)
def test_every_solver(case: zoo.SolverCase, device: torch.device) -> None:
    """Also those that are published in the variables of one schedule."""
    problem, prior = zoo.solver_problem(device=device)
    solver = case.make(5)
    s, x = solver.schedule.levels, solve(problem, prior, solver, seed=5).x
    for name in ("edm", "flow"):  # of which no solver has both
        alpha = ALPHA[name](s)
        other = Schedule(alpha, alpha * s)
        assert_same(solve(problem, prior, replace(solver, schedule=other), seed=5).x, x, tol=1e-8)

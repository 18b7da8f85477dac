"""Early stop: each lane ends when it stands still, with the result it has when solved alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import zoo
from laws.compare import assert_same
from reddiff import Snapshot, Status, iterate, solve
from reddiff.hooks import EarlyStop, History
from reddiff.solvers import REDDiff, orders

STEPS, LANES = 9, 4


@zoo.every("case", zoo.SOLVERS)
def test_solver(
    case: zoo.SolverCase, device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where each lane should end is read off a run without a stopping rule."""
    problem, prior = zoo.solver_problem(LANES, device)
    solver, ids = case.make(STEPS), zoo.ids(LANES)
    x = torch.stack([p.x.clone() for p in iterate(problem, prior, solver, seed=5, ids=ids)])
    change = (x[1:] - x[:-1]).norm(dim=2) / x[1:].norm(dim=2)  # of steps 2, 3, ...
    tol = float(change[:7].amin(0).sort().values[-2] * 1.000001)
    below = torch.cat([change < tol, torch.ones(1, LANES, dtype=torch.bool, device=device)])
    ends = below.int().argmax(0) + 2
    ends = ends.clamp(max=STEPS)
    assert len(set(ends.tolist())) > 1  # they do end apart

    got = solve(problem, prior, solver, seed=5, ids=ids, tol=tol, hooks=[History()])
    assert got.steps[:, 0].tolist() == ends.tolist()
    reached = x[ends - 1, torch.arange(LANES, device=device)]
    assert_same(got.x, reached)
    assert got.cost.evaluations == tuple(e * solver.cost.evaluations for e in ends.tolist())
    recorded = got.history["change"][:, :, 0]
    for i, lane in enumerate(ids):
        converged = bool((change[: STEPS - 1, i] < tol).any())
        assert got.status[i].item() == (Status.CONVERGED if converged else Status.COMPLETED)
        assert torch.isfinite(recorded[: ends[i] - 1, i]).all()
        assert torch.isnan(recorded[ends[i] :, i]).all()
        if i not in (ends.argmin(), ends.argmax()):
            continue
        one = problem.select(torch.tensor([i], device=device))
        alone = solve(one, prior, solver, seed=5, ids=(lane,), tol=tol)
        assert_same(alone.x[0], got.x[i])
        assert alone.steps.item() == ends[i]

    path = tmp_path_factory.mktemp("stop") / "snapshot"  # and the pause changes nothing of it
    half = solve(problem, prior, solver, seed=5, ids=ids, tol=tol, stop_at=4)
    half.snapshot.save(path)
    rest = solve(problem, prior, solver, tol=tol, resume=Snapshot.load(path))
    assert torch.equal(rest.samples, got.samples)
    assert torch.equal(rest.steps, got.steps)


def test_lagging_estimate(device: torch.device) -> None:
    """An estimate that runs a step behind does not stand still at the first one."""
    problem, prior = zoo.solver_problem(LANES, device)
    result = solve(problem, prior, REDDiff.paper(5), tol=1e-12)
    assert result.steps.eq(5).all()


def test_stop_rule(device: torch.device) -> None:
    """`tol` is the hook; `after` puts it off; samples end on their own."""
    problem, prior = zoo.solver_problem(LANES, device)
    solver = replace(zoo.SOLVERS[0].make(STEPS), order=orders.random)
    hooked = solve(problem, prior, solver, hooks=[EarlyStop(0.03)], runs=3)
    direct = solve(problem, prior, solver, tol=0.03, runs=3)
    assert torch.equal(hooked.samples, direct.samples)
    assert len(set(direct.steps.flatten().tolist())) > 2
    late = solve(problem, prior, solver, hooks=[EarlyStop(1e9, after=5)])
    assert late.steps.eq(5).all()
    assert late.status.eq(int(Status.CONVERGED)).all()
    assert late.cost.evaluations == (5,) * LANES

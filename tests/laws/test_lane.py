"""Lane: solving lanes together gives what solving each alone gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Problem, solve
from reddiff.lanes import dot, norm
from reddiff.linalg import cg, power_iteration
from reddiff.priors import Prior
from reddiff.solvers import Solver

SEED = 5


def check_alone(problem: Problem, prior: Prior, solver: Solver[Any], **settings: Any) -> None:
    """Every lane on its own, against its row of the batch."""
    ids = zoo.ids(len(problem))
    whole = solve(problem, prior, solver, seed=SEED, ids=ids, **settings)
    for i, lane in enumerate(ids):
        one = problem.select(torch.tensor([i], device=problem.y.device))
        alone = solve(one, prior, solver, seed=SEED, ids=(lane,), **settings)
        assert_same(alone.samples[0], whole.samples[i])
        assert torch.equal(alone.status[0], whole.status[i])
        assert torch.equal(alone.steps[0], whole.steps[i])
        assert alone.cost.evaluations[0] == whole.cost.evaluations[i]


def check_neighbors(
    problem: Problem, prior: Prior, solver: Solver[Any], *, blind: bool = False
) -> None:
    """A lane's bits do not depend on what its neighbors hold."""
    loud = problem.y.clone()
    loud[1:] *= 1000
    x = [solve(p, prior, solver, seed=SEED).x for p in (problem, replace(problem, y=loud))]
    assert torch.equal(x[0][0], x[1][0])
    assert torch.equal(x[0][1:], x[1][1:]) == blind


@zoo.every("case", zoo.SOLVERS)
def test_solver_alone(case: zoo.SolverCase, device: torch.device) -> None:
    check_alone(*zoo.solver_problem(3, device), case.make(5))


@zoo.every("case", zoo.SOLVERS)
def test_solver_neighbors(case: zoo.SolverCase, device: torch.device) -> None:
    check_neighbors(*zoo.solver_problem(3, device), case.make(5), blind=case.blind)


@zoo.every("case", zoo.OPERATORS)
def test_operator_alone(case: zoo.OperatorCase, device: torch.device) -> None:
    problem, prior = zoo.operator_problem(case, lanes=2, device=device)
    with_vjp, with_data_step = zoo.operator_solvers(case, 2)
    check_alone(problem, prior, with_vjp)
    check_alone(problem, prior, with_data_step)
    check_neighbors(problem, prior, with_data_step)


@zoo.every("case", zoo.PRIORS)
def test_prior_alone(case: zoo.PriorCase, device: torch.device) -> None:
    problem, prior = zoo.prior_problem(case, device=device)
    check_alone(problem, prior, zoo.prior_solver(case))
    check_neighbors(problem, prior, zoo.prior_solver(case))


def test_samples_alone(device: torch.device) -> None:
    """The samples of a lane are runs of their own, the first of them the run without samples."""
    problem, prior = zoo.solver_problem(device=device)
    solver = zoo.SOLVERS[0].make(6)
    check_alone(problem, prior, solver, runs=3)
    three, one = (solve(problem, prior, solver, seed=SEED, runs=n) for n in (3, 1))
    assert_same(three.samples[:, 0], one.x)
    assert (three.samples[:, 0] - three.samples[:, 1]).abs().min() > 0
    assert_same(three.x, three.samples.mean(1))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_linear_algebra(scale: float, device: torch.device) -> None:
    """The lane-wise tools, with lanes of very different sizes side by side."""
    scales = torch.tensor([1.0, scale, 1.0], dtype=zoo.F64, device=device)[:, None]
    m = torch.stack([zoo.spd(5, seed=s) for s in range(3)]).to(device) * scales[:, None]
    b = zoo.randn(3, 5).to(device) * scales**2

    def matvec(v: Tensor) -> Tensor:
        return torch.einsum("bij,bj->bi", m, v)

    torch.testing.assert_close(cg(matvec, b), torch.linalg.solve(m, b), rtol=1e-8, atol=0)
    top = torch.linalg.eigvalsh(m)[:, -1]
    torch.testing.assert_close(power_iteration(matvec, b), top, rtol=1e-6, atol=0)
    torch.testing.assert_close(dot(b, b), norm(b) ** 2)
    torch.testing.assert_close(norm(b), b.pow(2).sum(1).sqrt())
    for i in range(3):
        alone = cg(lambda v, i=i: v @ m[i].mT, b[i : i + 1])
        torch.testing.assert_close(alone[0], cg(matvec, b)[i], rtol=1e-8, atol=0)

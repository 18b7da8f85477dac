"""Permutation: results permute with the lanes."""

from __future__ import annotations

from typing import Any

import torch

import zoo
from laws.compare import assert_same
from reddiff import Problem, solve
from reddiff.priors import Prior
from reddiff.solvers import REDDiff, Solver


def check(problem: Problem, prior: Prior, solver: Solver[Any]) -> None:
    ids = zoo.ids(len(problem))
    order = [*range(1, len(problem), 2), *range(0, len(problem), 2)]
    index = torch.tensor(order, device=problem.y.device)
    straight = solve(problem, prior, solver, seed=5, ids=ids, runs=2)
    mixed = solve(problem.select(index), prior, solver, seed=5, ids=[ids[i] for i in order], runs=2)
    assert mixed.ids == tuple(ids[i] for i in order)
    assert_same(mixed.samples, straight.samples[index])
    renamed = solve(problem, prior, solver, seed=5, ids=[i + 1 for i in ids], runs=2)
    changed = not torch.equal(renamed.samples, straight.samples)
    assert changed or not _draws_noise(solver)


def _draws_noise(solver: Solver[Any]) -> bool:
    """Whether every run uses noise; that of REDDiff's descendant does where y is uninformative."""
    return isinstance(solver, REDDiff) and solver.variant.noise_scale > 0


@zoo.every("case", zoo.SOLVERS)
def test_solver(case: zoo.SolverCase, device: torch.device) -> None:
    check(*zoo.solver_problem(lanes=4, device=device), case.make(4))


@zoo.every("case", zoo.OPERATORS)
def test_operator(case: zoo.OperatorCase, device: torch.device) -> None:
    problem, prior = zoo.operator_problem(case, lanes=4, device=device)
    for solver in zoo.operator_solvers(case, 2):
        check(problem, prior, solver)


@zoo.every("case", zoo.PRIORS)
def test_prior(case: zoo.PriorCase, device: torch.device) -> None:
    problem, prior = zoo.prior_problem(case, lanes=4, device=device)
    check(problem, prior, zoo.prior_solver(case, steps=3))

"""Permutation: results permute with the lanes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Problem, solve
from reddiff.priors import Prior
from reddiff.solvers import REDDiff, Solver


def check(problem: Problem, prior: Prior, solver: Solver[Any]) -> Tensor:
    """The law; the samples."""
    ids = zoo.ids(len(problem))
    order = [*range(1, len(problem), 2), *range(0, len(problem), 2)]
    index = torch.tensor(order, device=problem.y.device)
    straight = solve(problem, prior, solver, seed=5, ids=ids, runs=2)
    mixed = solve(problem.select(index), prior, solver, seed=5, ids=[ids[i] for i in order], runs=2)
    assert mixed.ids == tuple(ids[i] for i in order)
    assert_same(mixed.samples, straight.samples[index])
    return straight.samples


def _draws_noise(solver: Solver[Any]) -> bool:
    """Whether every run uses noise; that of REDDiff's descendant does where y is uninformative."""
    return isinstance(solver, REDDiff) and solver.variant.noise_scale > 0


@zoo.every("case", zoo.SOLVERS)
def test_solver(case: zoo.SolverCase, device: torch.device) -> None:
    problem, prior = zoo.solver_problem(lanes=4, device=device)
    solver = case.make(4)
    samples = check(problem, prior, solver)
    ids = [i + 1 for i in zoo.ids(len(problem))]
    renamed = solve(problem, prior, solver, seed=5, ids=ids, runs=2)
    assert not torch.equal(renamed.samples, samples) or not _draws_noise(solver)


@zoo.every("case", zoo.OPERATORS)
def test_operator(case: zoo.OperatorCase, device: torch.device) -> None:
    problem, prior = zoo.operator_problem(case, lanes=3, device=device)
    for solver in zoo.operator_solvers(case, 2):
        check(problem, prior, solver)


@zoo.every("case", zoo.PRIORS)
def test_prior(case: zoo.PriorCase, device: torch.device) -> None:
    problem, prior = zoo.prior_problem(case, lanes=4, device=device)
    check(problem, prior, zoo.prior_solver(case, steps=3))

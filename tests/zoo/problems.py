"""The problems that the laws solve with a case."""

from __future__ import annotations

from typing import Any

import torch

from reddiff import Gaussian, Keys, Problem
from reddiff.operators import (
    Mask,
    Matrix,
)
from reddiff.priors import (
    GaussianRandomField,
    Prior,
)
from reddiff.schedules import Schedule
from reddiff.solvers import (
    NoiseAwareREDDiff,
    REDDiff,
    Solver,
)
from zoo.operators import OperatorCase
from zoo.priors import PriorCase, gaussian
from zoo.solvers import SOLVERS
from zoo.tensors import CPU, F64, coin, ids, randn


def solver_problem(lanes: int = 4, device: torch.device = CPU) -> tuple[Problem, Prior]:
    """The problem that every solver solves: a matrix and a noise level per lane."""
    prior = gaussian().to(device)
    operator = Matrix(randn(lanes, 5, 6, seed=41), per_lane=True).to(device)
    sigma = torch.linspace(0.1, 0.5, lanes, dtype=F64, device=device)
    x = prior.sample(torch.empty(lanes, 6, dtype=F64, device=device), Keys(1, ids(lanes)).at(0))
    return Problem.simulate(x, operator, Gaussian(sigma), ids=ids(lanes)), prior


def operator_problem(
    case: OperatorCase, lanes: int = 3, device: torch.device = CPU
) -> tuple[Problem, Prior]:
    """A problem with this operator, and a Gaussian prior that fits it."""
    prior: Prior
    if len(case.x_shape) == 3:
        prior = GaussianRandomField(channels=case.x_shape[0])
    else:
        prior = gaussian(case.x_shape[0])
    x = 0.5 * randn(lanes, *case.x_shape, seed=42).to(device)
    problem = Problem.simulate(x, case.make(lanes, device), Gaussian(0.1), ids=ids(lanes))
    return problem, prior.to(device)


def operator_solvers(case: OperatorCase, steps: int) -> list[Solver[Any]]:
    """Two solvers for this operator: one that uses its vjp, one that uses its data step."""
    return [SOLVERS[0].make(steps), NoiseAwareREDDiff.default(steps)]


def prior_problem(
    case: PriorCase, lanes: int = 3, device: torch.device = CPU
) -> tuple[Problem, Prior]:
    """A mask, and this prior."""
    x = 0.5 * randn(lanes, *case.x_shape, seed=43).to(device)
    operator = Mask(coin(lanes, *case.x_shape, p=0.6), per_lane=True).to(device)
    return Problem.simulate(x, operator, Gaussian(0.1), ids=ids(lanes)), case.make(device)


def prior_solver(case: PriorCase, steps: int = 6) -> Solver[Any]:
    """RED-diff over levels that the prior is good for."""
    s = torch.tensor([*sorted(case.levels, reverse=True), 0.0], dtype=F64)
    if "integer" not in case.name:  # any level will do: take as many as asked for
        s = torch.cat([torch.logspace(0, -1, steps, dtype=F64) * s[0], s[-1:]])
    return REDDiff(Schedule(torch.ones_like(s), s))

"""Every operator, prior, solver, noise and metric, registered once for the laws in `tests/laws`.

To add one, write one entry in OPERATORS, PRIORS, METHODS, NOISES or METRICS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from zoo.metrics import METRICS, MetricCase
from zoo.noises import NOISES, NoiseCase
from zoo.operators import OPERATORS, OperatorCase, Pair, SoftClip
from zoo.priors import PRIORS, PriorCase, gaussian
from zoo.problems import (
    operator_problem,
    operator_solvers,
    prior_problem,
    prior_solver,
    solver_problem,
)
from zoo.solvers import METHODS, SOLVERS, SolverCase
from zoo.tensors import CPU, F64, coin, ids, randn, spd

__all__ = [
    "CPU",
    "F64",
    "METHODS",
    "METRICS",
    "NOISES",
    "OPERATORS",
    "PRIORS",
    "SOLVERS",
    "MetricCase",
    "NoiseCase",
    "OperatorCase",
    "Pair",
    "PriorCase",
    "SoftClip",
    "SolverCase",
    "coin",
    "every",
    "gaussian",
    "ids",
    "operator_problem",
    "operator_solvers",
    "prior_problem",
    "prior_solver",
    "randn",
    "solver_problem",
    "spd",
]

Case = TypeVar("Case", OperatorCase, PriorCase, SolverCase, NoiseCase, MetricCase)


def every(
    name: str, cases: list[Case], where: Callable[[Case], bool] = lambda case: True
) -> pytest.MarkDecorator:
    """Parametrize a test over cases."""
    chosen = [case for case in cases if where(case)]
    return pytest.mark.parametrize(name, chosen, ids=[case.name for case in chosen])

"""Every operator, prior and solver, registered once: the laws in `tests/laws` run on all of them.

To add one, write one entry in OPERATORS, PRIORS or SOLVERS. A case has a name and a `make`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from zoo.operators import OPERATORS, OperatorCase, Pair, SoftClip
from zoo.priors import PRIORS, PriorCase, gaussian
from zoo.problems import (
    operator_problem,
    operator_solvers,
    prior_problem,
    prior_solver,
    solver_problem,
)
from zoo.solvers import SOLVERS, SolverCase
from zoo.tensors import CPU, F64, coin, ids, randn, spd

__all__ = [
    "CPU",
    "F64",
    "OPERATORS",
    "PRIORS",
    "SOLVERS",
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

Case = TypeVar("Case", OperatorCase, PriorCase, SolverCase)


def every(
    name: str, cases: list[Case], where: Callable[[Case], bool] = lambda case: True
) -> pytest.MarkDecorator:
    """Parametrise a test over cases."""
    chosen = [case for case in cases if where(case)]
    return pytest.mark.parametrize(name, chosen, ids=[case.name for case in chosen])

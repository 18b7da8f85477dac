"""The published settings of each method for a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reddiff.noise import Gaussian
from reddiff.operators import LinearOperator
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.solvers import diffpir
from reddiff.solvers.base import Solver
from reddiff.solvers.catalogue import ALIASES, method
from reddiff.solvers.noise_aware import REALISM
from reddiff.solvers.reddiff import paper_adam

SETTLED = 0.75  # largest realism at which the default ends at the noise level, and not below


def _reddiff(lr: float, weight: float) -> dict[str, Any]:
    return {"optimizer": paper_adam(lr), "weight": weight}


_RELEASED = {  # tasks that the paper does not have take the settings of the one nearest to them
    "inpaint": _reddiff(0.25, 0.25),
    "denoise": _reddiff(0.25, 1.0),
    "colorize": _reddiff(0.25, 0.25),
    "demosaic": _reddiff(0.25, 0.25),
    "deblur": _reddiff(0.5, 0.25),
    "hdr": _reddiff(0.5, 0.25),
    "quantize": _reddiff(0.5, 0.25),
    "jpeg": _reddiff(0.5, 0.25),
}

# Method and task -> the fields of the solver that are not those of the catalogue.
PUBLISHED: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "red-diff": _RELEASED,
    "rsd": _RELEASED,
    "dps": {"inpaint": {"zeta": 0.5}},
    "mcg": {"inpaint": {"zeta": 0.5}},
    "diffpir": {"deblur": {"lam": 7.0 / diffpir.RELEASED, "zeta": 0.3}},
}


def preset(
    name: str, task: str, prior: Prior, problem: Problem, steps: int | None, realism: float | None
) -> Solver[Any]:
    """The method of this name with the settings that are published for a task.

    Arguments:
        name: One of `METHODS`.
        task: The name of the task.
        prior: For its levels.
        problem: For its noise level.
        steps: How many; None for `default_steps`.
        realism: That of the default solver, for the number of steps; None if it is not set.

    Raises:
        InvalidArgument: If there is no method of this name.
    """
    steps = default_steps(name, task, problem, realism) if steps is None else steps
    settings = PUBLISHED.get(ALIASES.get(name, name), {}).get(task, {})
    return replace(method(name).make(prior, problem, steps), **settings)


def default_steps(name: str, task: str, problem: Problem, realism: float | None) -> int:
    """The number of steps where none is given.

    It is 1 for the default solver where it denoises at a known level: its answer is then
    D(y, sigma), whatever the steps before it were. A realism above 3/4 goes below the noise level
    and needs them.
    """
    found = STEPS.get((ALIASES.get(name, name), task))
    steps = None if found is None else found(problem, REALISM if realism is None else realism)
    return method(name).steps if steps is None else steps


def _denoising(problem: Problem, realism: float) -> int | None:
    """1 where the noise level is known and the run ends there."""
    known = isinstance(problem.noise, Gaussian) and isinstance(problem.operator, LinearOperator)
    return 1 if known and realism <= SETTLED else None


# Method and task -> the steps that suffice for a problem and a realism; None for the method's own.
STEPS = {("noise-aware", "denoise"): _denoising}

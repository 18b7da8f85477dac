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

SETTLED = 0.75  # largest realism for which the levels of the default end at the noise level


def _reddiff(lr: float, weight: float) -> dict[str, Any]:
    return {"optimizer": paper_adam(lr), "weight": weight}


_RELEASED = {  # tasks that are not in the paper use the settings of the most similar task
    "inpaint": _reddiff(0.25, 0.25),
    "denoise": _reddiff(0.25, 1.0),
    "colorize": _reddiff(0.25, 0.25),
    "demosaic": _reddiff(0.25, 0.25),
    "deblur": _reddiff(0.5, 0.25),
    "hdr": _reddiff(0.5, 0.25),
    "quantize": _reddiff(0.5, 0.25),
    "jpeg": _reddiff(0.5, 0.25),
}

# Method and task -> fields of the solver that differ from the catalogue.
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
    """The solver of this name with the settings that are published for a task.

    Arguments:
        name: One of `METHODS`.
        task: The name of the task.
        prior: The prior, which defines the range of levels.
        problem: The problem, which defines the noise level.
        steps: The number of steps; None for `default_steps`.
        realism: The realism of the default solver, which affects the default number of steps; None
            if it is not set.

    Raises:
        InvalidArgument: If there is no solver of this name.
    """
    steps = default_steps(name, task, problem, realism) if steps is None else steps
    settings = PUBLISHED.get(ALIASES.get(name, name), {}).get(task, {})
    return replace(method(name).make(prior, problem, steps), **settings)


def default_steps(name: str, task: str, problem: Problem, realism: float | None) -> int:
    """The default number of steps.

    It is 1 if the default solver denoises at a known level: the result is then D(y, sigma) for any
    number of steps. This does not hold for a realism above 3/4, which goes below the noise level.
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

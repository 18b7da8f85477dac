"""Measurements that the solvers are told something wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reddiff.bench import spec
from reddiff.bench.images import Truth
from reddiff.bench.tasks import Measured, check_task, measure
from reddiff.errors import InvalidArgument, require
from reddiff.problem import Problem


def check_assumed(label: str, task: spec.Task) -> None:
    """Refuse an assumption that has no counterpart in the task.

    Raises:
        InvalidArgument: Naming the option.
    """
    check_task(label, task)
    if task.assumed is None:
        return
    for name in ("mask", "kernel"):
        if getattr(task.assumed, name) is not None:
            given = getattr(task, name) is not None
            expected = f"a {name} of the task to differ from"
            require(given, f"tasks.{label}.assumed.{name}", expected=expected, got="none")


def measure_assumed(task: spec.Task, truths: Sequence[Truth], noise: float, seed: int) -> Measured:
    """`measure`; the problem has the operator and the noise that the task assumes.

    y and the degraded picture are those of the true operator and noise.

    Raises:
        InvalidArgument: If the task does not fit the images, or the noise has no level to multiply.
    """
    found, assumed = measure(task, truths, noise, seed), task.assumed
    if assumed is None:
        return found
    problem = found.problem
    operator, known = problem.operator, problem.noise.scaled(assumed.noise)
    changes = assumed.model_dump(include={"mask", "kernel"}, exclude_none=True)
    if changes:
        believed = measure(task.model_copy(update=changes), truths, noise, seed)
        operator = believed.problem.operator
    if known is None:
        expected, got = "noise with a level to multiply", problem.noise
        raise InvalidArgument("assumed.noise", expected=expected, got=got)
    return replace(found, problem=Problem(problem.y, operator, known))

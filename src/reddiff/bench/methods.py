"""Solvers from the entries of a spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

from torch.optim import LBFGS, SGD, Adagrad, RMSprop

from reddiff.bench import spec
from reddiff.errors import InvalidArgument, require, require_name
from reddiff.images.presets import preset
from reddiff.optim import MakeOptimizer, constant_lr, cosine_lr, harmonic_lr
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.solvers.base import Solver
from reddiff.solvers.catalogue import ALIASES, METHODS, method
from reddiff.solvers.orders import ORDERS
from reddiff.solvers.reddiff import paper_adam
from reddiff.solvers.steps.conditional import PerturbAndSolve
from reddiff.solvers.steps.mcmc import Langevin
from reddiff.solvers.variants import ALGORITHM_1, RELEASED
from reddiff.solvers.weightings import WEIGHTINGS

DEGRADED = "degraded"  # instead of a solver: y itself

OPTIMIZERS: dict[str, Callable[..., MakeOptimizer]] = {
    "adam": lambda lr: paper_adam(lr),
    "sgd": lambda lr, momentum=0.0: partial(SGD, lr=lr, momentum=momentum),
    "rmsprop": lambda lr: partial(RMSprop, lr=lr),
    "adagrad": lambda lr: partial(Adagrad, lr=lr),
    "lbfgs": lambda lr: partial(LBFGS, lr=lr, max_iter=1),
}
# Fields whose values are given by name.
WORDS: dict[str, dict[str, Any]] = {
    "weighting": dict(WEIGHTINGS),
    "order": dict(ORDERS),
    "lr_schedule": {"constant": constant_lr, "cosine": cosine_lr, "harmonic": harmonic_lr},
    "variant": {"released": RELEASED, "algorithm-1": ALGORITHM_1},
    "conditional": {"langevin": Langevin(), "exact": PerturbAndSolve()},
}
LR = 0.1  # default of an optimizer without a learning rate


def check_solver(label: str, entry: spec.Solver) -> None:
    """Check that a solver exists and has the given settings.

    Raises:
        InvalidArgument: If not; the message has the key.
    """
    where = f"solvers.{label}"
    require_name(entry.solver, (*METHODS, *ALIASES, DEGRADED), f"{where}.solver", "a solver")
    for variant in (entry, *(entry.changed(task) for task in entry.per_task)):
        if variant.solver == DEGRADED:
            given = variant.model_extra or {}
            require(not given, where, expected="no settings of `degraded`", got=", ".join(given))
            continue
        name = method(variant.solver)
        _changed(variant, name.make(None, None, variant.steps or name.steps), where)


def make_solver(
    label: str, entry: spec.Solver, task: str, name: str, prior: Prior, problem: Problem
) -> Solver[Any]:
    """The solver of an entry.

    Arguments:
        label: The entry's label.
        entry: The entry.
        task: The label of the task, for `per_task`.
        name: The name of the task whose published settings are used.
        prior: The prior, which defines the range of levels.
        problem: The problem, which defines the noise level.

    Raises:
        InvalidArgument: If a setting cannot be used.
    """
    entry = entry.changed(task)
    realism = (entry.model_extra or {}).get("realism")
    made = preset(entry.solver, name, prior, problem, entry.steps, realism)
    return _changed(entry, made, f"solvers.{label}")


def _changed(entry: spec.Solver, made: Solver[Any], where: str) -> Solver[Any]:
    """The solver with the settings of an entry."""
    names = [f.name for f in fields(made) if f.name not in ("schedule", "optimizer")]
    changes: dict[str, Any] = {}
    for key, value in (entry.model_extra or {}).items():
        known = [*names, *(k for k in spec.Solver.model_fields if k not in ("per_task", "grid"))]
        require_name(key, known, f"{where}.{key}", f"a setting of {entry.solver}")
        if key in WORDS:
            require_name(str(value), WORDS[key], f"{where}.{key}", f"a name of {key}")
            value = WORDS[key][str(value)]
        elif not isinstance(value, bool | int | float):
            raise InvalidArgument(f"{where}.{key}", expected="a number", got=repr(value))
        changes[key] = value
    try:
        return replace(made, **changes, **_optimizer(entry, made, where))
    except InvalidArgument as error:
        name = error.argument
        named = name if name.startswith("solvers.") else f"{where}.{name}"
        raise InvalidArgument(named, expected=error.expected, got=error.got) from error
    except TypeError as error:
        raise InvalidArgument(where, expected="values of the right type", got=error) from error


def _optimizer(entry: spec.Solver, made: Solver[Any], where: str) -> dict[str, Any]:
    """The field `optimizer`, or `lr` of a solver that has one."""
    names = {f.name for f in fields(made)}
    given = {k: getattr(entry, k) for k in ("optimizer", "lr", "momentum")}
    if all(v is None for v in given.values()):
        return {}
    if "optimizer" not in names:
        for key in ("optimizer", "momentum"):
            none = given[key] is None
            require(none, f"{where}.{key}", expected=f"none for {entry.solver}", got=given[key])
        require("lr" in names, f"{where}.lr", expected=f"none for {entry.solver}", got=entry.lr)
        return {"lr": entry.lr}
    name = entry.optimizer or "adam"
    require_name(name, OPTIMIZERS, f"{where}.optimizer", "an optimizer")
    lr = LR if entry.lr is None else entry.lr
    if entry.momentum is None:
        return {"optimizer": OPTIMIZERS[name](lr)}
    require(name == "sgd", f"{where}.momentum", expected="none but for sgd", got=entry.momentum)
    return {"optimizer": OPTIMIZERS[name](lr, momentum=entry.momentum)}

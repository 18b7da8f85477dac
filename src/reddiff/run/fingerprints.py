"""Hashes that identify the problem and prior of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reddiff.operators.base import Operator
from reddiff.operators.custom.functions import Own
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import drawn
from reddiff.snapshot.code import fixed
from reddiff.snapshot.description import attributes, describe, digest, hashed, ours, structure
from reddiff.snapshot.origin import Origin


def fingerprint(problem: Problem, prior: Prior) -> Origin:
    """The `Origin` of a run that begins now, which identifies its problem and prior.

    It compares

    - y, the noise, and the parameters and buffers of operator and prior, exactly;
    - the settings of operators and priors of this package;
    - for user-defined operators, A(x) and A^T (or the gradient) at one x, to 1e-5;
    - for user-defined priors, the code of the class, and the public attributes that the run does
      not change.

    It is computed only when a snapshot is saved or resumed, or when its `origin` is read.
    """
    return Origin(partial(_described, problem, prior, _attributes(prior)))


@torch.no_grad()
def _described(problem: Problem, prior: Prior, before: Mapping[str, object]) -> Any:
    after = _attributes(prior)
    kept = {k: v for k, v in after.items() if k in before and _unchanged(before[k], v)}
    return {
        "dtype": str(problem.y.dtype).removeprefix("torch."),
        "y": {"is": hashed(problem.y)},
        "operator": _operator(problem),
        "noise": {"class": _name(problem.noise), "is": digest(describe(problem.noise))},
        "prior": {
            "class": _name(prior),
            "is": digest(structure(prior)),
            "attributes": {k: digest(describe(v)) for k, v in kept.items()},
        },
    }


def _operator(problem: Problem) -> Any:
    operator = problem.operator
    exact = not any(isinstance(m, Own) or not ours(type(m)) for m in operator.modules())
    parts = digest(structure(operator) if exact else _tensors(operator))
    answers = None if exact else _answers(problem)
    return {"class": _name(operator), "is": parts, "answers": answers}


def _tensors(operator: Operator) -> Any:
    names = [type(m).__qualname__ for m in operator.modules()]
    return [names, {name: hashed(t) for name, t in operator.named_buffers()}]


def _answers(problem: Problem) -> list[list[float]] | None:
    """A(x) and J^T w for one x and w, as a few numbers each; None if A fails for this x."""
    x = 0.5 * drawn(problem.y.new_empty(len(problem), *problem.x_shape))
    try:
        a, pullback = problem.operator.vjp(x)
        values = a, pullback(drawn(a))
    except Exception:  # noqa: BLE001 - user code, possibly for other x only
        return None
    return [_parts(value.double().nan_to_num(0.0, 0.0, 0.0)) for value in values]


def _parts(value: Tensor) -> list[float]:
    """The norm of a tensor, and its inner products with two fixed tensors."""
    return [float(value.norm()), *(float((value * drawn(value, n)).sum()) for n in (1, 2))]


def _attributes(prior: Prior) -> dict[str, object]:
    """The public attributes of the user-defined modules in a prior."""
    return {
        f"{path}.{name}": value
        for path, part in prior.named_modules()
        if not ours(type(part))
        for name, value in attributes(part).items()
        if fixed(value)
    }


def _unchanged(before: object, after: object) -> bool:
    plain = isinstance(after, bool | int | float | str | tuple)
    return before is after or (plain and type(before) is type(after) and before == after)


def _name(value: object) -> str:
    return type(value).__qualname__

"""Validation of a snapshot against the problem and the solver that resume it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, SnapshotError, require
from reddiff.problem import Problem
from reddiff.results import Status
from reddiff.snapshot import Snapshot, Tree, describe
from reddiff.snapshot.origin import Origin
from reddiff.solvers.base import Solver

State = TypeVar("State")

COUNTS = 4  # the number of counts per lane in `Cost`

# Exceptions that a damaged tree can cause.
_DAMAGE = AttributeError, LookupError, RuntimeError, TypeError, ValueError


def check_resume(snapshot: Snapshot, problem: Problem, solver: Solver[Any], origin: Origin) -> None:
    """Raise if a snapshot belongs to another run or is damaged.

    Raises:
        InvalidArgument: If it is not a `Snapshot`, or has more steps than the solver.
        SnapshotError: If its solver, y, operator, noise, prior or dtype differ, or its tree is
            malformed.
    """
    good = isinstance(snapshot, Snapshot)
    require(good, "resume", expected="a Snapshot", got=type(snapshot).__name__)
    mine = describe(solver)
    if snapshot.solver != mine:
        expected, got = _apart(mine, snapshot.solver)
        raise SnapshotError(f"resume: expected a snapshot of {expected}, got {got}")
    if tuple(problem.y.shape) != snapshot.y_shape:
        raise SnapshotError(
            f"resume: expected y of shape {snapshot.y_shape}, got {tuple(problem.y.shape)}"
        )
    if snapshot.step > solver.steps:
        raise InvalidArgument("resume", expected="at most the solver's steps", got=snapshot.step)
    try:
        others = [] if snapshot.origin is None else snapshot.origin.differences(origin)
        fault = _fault(snapshot, problem)
    except _DAMAGE as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    if others:
        expected = "the y, operator, noise and prior of the snapshot"
        raise SnapshotError(f"resume: expected {expected}, got another {', '.join(others)}")
    if fault:
        raise _damaged(fault)


def load_state(solver: Solver[State], tree: Tree, rows: int, like: Tensor) -> State:
    """The solver's state for `rows` runs, validated against the shape and dtype of `like`.

    Raises:
        SnapshotError: If the tree does not match the solver.
    """
    try:
        state = solver.load(tree)
        x = solver.estimate(state)
    except _DAMAGE as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    shape = (
        (rows, *like.shape[1:]) if rows else tuple(x.shape)
    )  # if no run is left, the last state is kept
    if tuple(x.shape) != shape or x.dtype != like.dtype:
        raise _damaged(f"an estimate {tuple(x.shape)} of {x.dtype}, for {shape} of {like.dtype}")
    if rows and not _lanes_fit(tree, rows):
        raise _damaged(f"a state that does not have {rows} runs")
    return state


def _damaged(what: str) -> SnapshotError:
    return SnapshotError(f"resume: expected an undamaged snapshot, got {what[:200]}")


def _apart(mine: Tree, other: Tree) -> tuple[str, str]:
    """The parts in which two descriptions differ."""
    if not isinstance(other, Mapping) or mine.get("class") != other.get("class"):
        names = [d.get("class") if isinstance(d, Mapping) else d for d in (mine, other)]
        return str(names[0]), f"one of {names[1]}"
    keys = [k for k in {**mine, **other} if mine.get(k) != other.get(k)]
    texts = [", ".join(f"{k}={d.get(k)}" for k in keys) for d in (mine, other)]
    return f"{mine['class']} with {texts[0]}", f"one with {texts[1]}"


def _fault(snapshot: Snapshot, problem: Problem) -> str:
    """The first fault in the tree of the loop; empty if there is none."""
    tree = snapshot.tree
    keys = {"state", "rows", "loop", "said", "history"}
    if set(tree) != keys:
        return f"entries {sorted(map(str, tree))} instead of {sorted(keys)}"
    if snapshot.samples < 1 or snapshot.step < 0 or len(snapshot.ids) != len(problem):
        return f"{len(snapshot.ids)} ids, {snapshot.samples} samples, step {snapshot.step}"
    runs = len(problem) * snapshot.samples
    real, integer = (torch.float32, torch.float64), (torch.int64,)
    wanted = {
        "x": ((runs, *problem.x_shape), (problem.y.dtype,)),
        "status": ((runs,), integer),
        "steps": ((runs,), integer),
        "spent": ((runs, COUNTS), integer),
        "change": ((runs,), (*real, problem.y.dtype)),
        "noise_level": ((runs,), (*real, problem.y.dtype)),
    }
    if set(tree["loop"]) != set(wanted):
        return f"entries {sorted(map(str, tree['loop']))} instead of {sorted(wanted)}"
    for name, (shape, dtypes) in wanted.items():
        value = tree["loop"][name]
        if tuple(value.shape) != shape or value.dtype not in dtypes:
            return f"{name} {tuple(value.shape)} of {value.dtype}, for {shape} of {dtypes[0]}"
    rows, status = tree["rows"], tree["loop"]["status"]
    if rows.dtype != torch.int64 or rows.ndim != 1 or not _rising(rows.tolist(), runs):
        return "rows that are not indices of runs"
    if not set(status.tolist()) <= {int(s) for s in Status}:
        return "an invalid status"
    said = tree["said"]
    if len(said) != runs or not all(isinstance(s, str) for each in said for s in each):
        return "warnings that are not lists of strings, one per run"
    for name, value in tree["history"].items():
        if value.ndim != 2 or value.shape[1] != runs:
            return f"a history of {name} of shape {tuple(value.shape)}"
    return ""


def _rising(rows: list[int], end: int) -> bool:
    return all(a < b for a, b in zip([-1, *rows], [*rows, end], strict=True))


def _lanes_fit(tree: Tree, rows: int) -> bool:
    """Whether tensors are lane-first and lists have one entry per lane, as in `Solver.dump`."""
    if isinstance(tree, Tensor):
        return tree.ndim > 0 and len(tree) == rows
    if isinstance(tree, Mapping):
        return all(_lanes_fit(v, rows) for v in tree.values())
    return not isinstance(tree, list | tuple) or len(tree) == rows

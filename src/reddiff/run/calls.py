"""Calls of hooks, and validation of their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.hooks import Hook, Progress


def call(
    hooks: Sequence[Hook], progress: Progress, names: dict[int, set[str]]
) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
    """Call each hook, and yield its validated values and the runs that it ends.

    Arguments:
        hooks: The hooks; their exceptions propagate. The values of a hook are recorded before the
            next one is called, so that a snapshot taken there contains them.
        progress: The state of the run after the step.
        names: The names recorded by each hook, by position; filled in at the first step.

    Raises:
        InvalidArgument: If a hook does not return tensors `(rows,)` by name, changes its names
            between steps or uses a name of another hook, or if `converged` does not return a mask
            of runs.
    """
    taken: set[str] = set()
    for place, hook in enumerate(hooks):
        values = _recorded(hook, progress)
        name, mine = _label(hook), set(values)
        before = names.setdefault(place, mine)
        expected = f"the same names at every step, {sorted(before)}"
        require(mine == before, name, expected=expected, got=f"{sorted(mine)} at {progress.step}")
        expected = "names that no other hook records"
        require(not mine & taken, name, expected=expected, got=sorted(mine & taken))
        taken |= mine
        yield values, _ended(hook, progress)


def _recorded(hook: Hook, progress: Progress) -> dict[str, Tensor]:
    given, name = hook(progress), _label(hook)
    if given is None:
        return {}
    expected = "a mapping from names to tensors, or None"
    require(isinstance(given, Mapping), name, expected=expected, got=type(given).__name__)
    for key, value in given.items():
        require(isinstance(key, str), name, expected="names that are strings", got=repr(key))
        where = f"{name}, {key}"
        _check_rows(where, value, progress)
        require(not value.is_complex(), where, expected="real numbers", got=value.dtype)
    return dict(given)


def _ended(hook: Hook, progress: Progress) -> Tensor | None:
    given, where = hook.converged(progress), f"{_label(hook)}, converged"
    if given is not None:
        _check_rows(where, given, progress)
        require(given.dtype == torch.bool, where, expected="torch.bool", got=given.dtype)
    return given


def _check_rows(where: str, value: object, progress: Progress) -> None:
    require(isinstance(value, Tensor), where, expected="a tensor", got=type(value).__name__)
    assert isinstance(value, Tensor)  # noqa: S101
    rows, device = len(progress.alive), progress.alive.device
    shape, place = tuple(value.shape), value.device
    require(shape == (rows,), where, expected=f"shape ({rows},), one per run", got=shape)
    require(place == device, where, expected=f"a tensor on {device}", got=place)


def _label(hook: Hook) -> str:
    return f"hook {type(hook).__name__}"

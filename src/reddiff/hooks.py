"""What can be done between steps, without touching a solver."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import norm
from reddiff.problem import Problem

Recorded = dict[str, Tensor]

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from reddiff.results import Reconstruction
    from reddiff.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Progress:
    """How a run stands after a step. Rows are runs: lane by lane, side by side.

    Arguments:
        step: How many steps are made.
        steps: How many there will be.
        problem: The problem, one row per run.
        x: The estimate of every run; of runs that ended, their last one.
        previous: The estimate one step earlier.
        alive: Which runs still run, `(rows,)`.
        evaluations: The most network evaluations any run has made.
        vjps: The most backward passes through the network.
        snapshot: Makes the snapshot of this moment; valid until the next step.
        result: Makes the `Reconstruction` of this moment; valid until the next step.
    """

    step: int
    steps: int
    problem: Problem
    x: Float[Tensor, "rows *n"]
    previous: Float[Tensor, "rows *n"]
    alive: Bool[Tensor, " rows"]
    evaluations: int
    vjps: int
    snapshot: Callable[[], Snapshot]
    result: Callable[[], Reconstruction]

    @cached_property
    def change(self) -> Float[Tensor, " rows"]:
        """||x - previous|| / ||x||."""
        tiny = torch.finfo(self.x.dtype).tiny
        return norm(self.x - self.previous) / norm(self.x).clamp(min=tiny)

    @cached_property
    def residual(self) -> Float[Tensor, " rows"]:
        """The rms of y - A(x) over the measured entries, in the units of y."""
        with torch.no_grad():
            return (2 * self.problem.misfit(self.x) / self.problem.count).sqrt()


class Hook(ABC):
    """Called after every step.

    What it returns is recorded in `Reconstruction.history`, a value `(rows,)` by name, the same
    names at every step. The name `done` is not recorded and may be left out at some steps: it
    holds, as bools, which runs have converged.
    """

    @abstractmethod
    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Look at a step."""

    def close(self) -> None:
        """Called once, when the run ends or fails."""


def called(
    hooks: Sequence[Hook], progress: Progress, names: dict[int, set[str]]
) -> Iterator[Recorded]:
    """What each hook makes of a step, checked, one after the other.

    Arguments:
        hooks: The hooks. What they raise is not touched; a snapshot that one makes holds what those
            before it have recorded.
        progress: The step.
        names: What each has recorded so far, by its place; filled in at the first step.

    Raises:
        InvalidArgument: If one gives something else than tensors `(rows,)` by name, bools for
            `done`, or other names than at the step before, or a name that another one gives.
    """
    taken: set[str] = set()
    for place, hook in enumerate(hooks):
        values = _checked(hook, hook(progress), progress)
        name, mine = _label(hook), set(values) - {"done"}
        before = names.setdefault(place, mine)
        expected = f"the same names at every step, {sorted(before)}"
        require(mine == before, name, expected=expected, got=f"{sorted(mine)} at {progress.step}")
        expected = "names that no other hook records"
        require(not mine & taken, name, expected=expected, got=sorted(mine & taken))
        taken |= mine
        yield values


def _checked(hook: Hook, given: object, progress: Progress) -> Recorded:
    if given is None:
        return {}
    name, rows, device = _label(hook), len(progress.alive), progress.alive.device
    expected = "a mapping from names to tensors, or None"
    require(isinstance(given, Mapping), name, expected=expected, got=type(given).__name__)
    values: Recorded = dict(given)  # type: ignore[call-overload]
    for key, value in values.items():
        require(isinstance(key, str), name, expected="names that are strings", got=repr(key))
        where = f"{name}, {key}"
        require(isinstance(value, Tensor), where, expected="a tensor", got=type(value).__name__)
        shape, place = tuple(value.shape), value.device
        require(shape == (rows,), where, expected=f"shape ({rows},), one per run", got=shape)
        require(place == device, where, expected=f"a tensor on {device}", got=place)
        good = value.dtype == torch.bool if key == "done" else not value.is_complex()
        expected = "torch.bool" if key == "done" else "real numbers"
        require(good, where, expected=expected, got=value.dtype)
    return values


def _label(hook: Hook) -> str:
    return f"hook {type(hook).__name__}"


class EarlyStop(Hook):
    """Ends a run once its estimate changes by less than `tol`, relative to its norm.

    Arguments:
        tol: The relative change per step, positive.
        after: The steps to make at least: 2 by default, because an estimate that runs a step
            behind stands still at the first.
    """

    def __init__(self, tol: float, after: int = 2) -> None:
        good = math.isfinite(tol) and tol > 0
        require(good, "tol", expected="a positive finite number", got=tol)
        self.tol, self.after = tol, after

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Mark the runs that stand still."""
        if progress.step < self.after:
            return None
        return {"done": progress.change < self.tol}


class History(Hook):
    """Records the residual rms and the relative change of every step."""

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        return {"residual": progress.residual, "change": progress.change}


class ProgressBar(Hook):
    """A bar with evaluations per second, time left and the residual.

    Arguments:
        label: The text before the bar.
        transient: Whether the bar vanishes at the end.
        announce: Say in a line above what the run will cost, once its first step is made.
        residual: Show the residual, which costs an evaluation of A at every step.
    """

    def __init__(
        self,
        label: str = "solve",
        *,
        transient: bool = False,
        announce: bool = False,
        residual: bool = True,
    ) -> None:
        self.label, self.transient = label, transient
        self.announce, self.residual = announce, residual
        self._bar: RichProgress | None = None

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        if self._bar is None:
            self._bar = self._open(progress.steps)
            if self.announce:
                self._bar.console.print(cost(progress), highlight=False)
        text = f"residual {float(progress.residual.mean()):.4g}" if self.residual else ""
        task = self._bar.tasks[0]
        speed = progress.evaluations / task.elapsed if task.elapsed else 0.0
        self._bar.update(task.id, completed=progress.step, residual=text, speed=f"{speed:.1f}")
        return None

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open(self, steps: int) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),  # names may hold braces and brackets
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[speed]} evaluations/s"),
            TextColumn("{task.fields[residual]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=self.transient,
        )
        bar.add_task(self.label, total=steps, residual="", speed="0")
        bar.start()
        return bar


def cost(progress: Progress) -> str:
    """What a run costs in all, from what its steps have cost so far."""
    runs, part = len(progress.alive), progress.steps / progress.step
    each, vjps = (round(n * part) for n in (progress.evaluations, progress.vjps))
    backward = f" and {vjps} backward passes" if vjps else ""
    total = f", {each * runs} evaluations in all" if runs > 1 else ""
    what = f"{each} network evaluations{backward} for each of {runs} runs"
    return f"{progress.steps} steps: {what}{total}"

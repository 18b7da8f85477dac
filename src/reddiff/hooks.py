"""Hooks, which are called after each step of a run to record values or end runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require_positive
from reddiff.lanes import norm
from reddiff.problem import Problem

if TYPE_CHECKING:
    from reddiff.results import Reconstruction
    from reddiff.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Progress:
    """The state of all runs after a step. Each row is a run; runs of a lane are consecutive.

    Arguments:
        step: The number of steps made so far.
        steps: The number of steps in total.
        problem: The problem, one row per run.
        x: The estimate of every run; for runs that ended, their last estimate.
        previous: The estimates of the step before.
        alive: The runs that have not ended, `(rows,)`.
        evaluations: The largest number of network evaluations of a run so far.
        vjps: The largest number of backward passes through the network.
        snapshot: Returns a snapshot of the current state; valid until the next step.
        result: Returns the `Reconstruction` so far; valid until the next step.
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


class Hook:
    """Base class of hooks. A subclass overrides the methods that it needs."""

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Called after every step.

        Returns:
            Values `(rows,)` by name, which are recorded in `Reconstruction.history`, with the same
            names at every step; or None.
        """
        return None

    def converged(self, progress: Progress) -> Bool[Tensor, " rows"] | None:
        """Called after every step: the runs that end here, or None if no run does."""
        return None

    def close(self) -> None:
        """Called once, when the run ends or fails."""


class EarlyStop(Hook):
    """Ends a run once its estimate changes by less than `tol`, relative to its norm.

    Arguments:
        tol: The relative change per step, positive.
        after: The smallest number of steps; 2 by default, because some solvers do not change
            their estimate in the first step.
    """

    def __init__(self, tol: float, after: int = 2) -> None:
        require_positive("tol", tol)
        self.tol, self.after = tol, after

    def converged(self, progress: Progress) -> Bool[Tensor, " rows"] | None:
        return progress.change < self.tol if progress.step >= self.after else None


class History(Hook):
    """Records the rms of the residual and the relative change of the estimate at every step."""

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        return {"residual": progress.residual, "change": progress.change}

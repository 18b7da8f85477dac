"""Hooks: what is recorded, and what ends a run, between the steps of any solver."""

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


class Hook:
    """Watches a run. A subclass overrides the methods that it needs."""

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Called after every step.

        Returns:
            What `Reconstruction.history` records of the step: values `(rows,)` by name, the same
            names at every step.
        """
        return None

    def converged(self, progress: Progress) -> Bool[Tensor, " rows"] | None:
        """Which runs end here; None for none of them. Asked after every step."""
        return None

    def close(self) -> None:
        """Called once, when the run ends or fails."""


class EarlyStop(Hook):
    """Ends a run once its estimate changes by less than `tol`, relative to its norm.

    Arguments:
        tol: The relative change per step, positive.
        after: The steps to make at least: 2 by default, because an estimate that runs a step
            behind stands still at the first.
    """

    def __init__(self, tol: float, after: int = 2) -> None:
        require_positive("tol", tol)
        self.tol, self.after = tol, after

    def converged(self, progress: Progress) -> Bool[Tensor, " rows"] | None:
        return progress.change < self.tol if progress.step >= self.after else None


class History(Hook):
    """Records the residual rms and the relative change of every step."""

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        return {"residual": progress.residual, "change": progress.change}

"""`solve` and `iterate`: reconstruct x from y."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from reddiff.hooks import EarlyStop, Hook, Progress
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.results import Reconstruction
from reddiff.run.loop import Run
from reddiff.run.progress_bar import ProgressBar
from reddiff.snapshot import Snapshot
from reddiff.solvers.base import Solver


def solve(
    problem: Problem,
    prior: Prior,
    solver: Solver[Any] | None = None,
    *,
    seed: int = 0,
    ids: Sequence[int] | None = None,
    runs: int = 1,
    tol: float | None = None,
    hooks: Sequence[Hook] = (),
    stop_at: int | None = None,
    resume: Snapshot | None = None,
    check: bool = True,
    progress: bool | None = None,
) -> Reconstruction:
    """Reconstruct x from y = A(x) + noise.

    Arguments:
        problem: The measurements, b lanes.
        prior: The diffusion model.
        solver: The method; by default noise-aware RED-diff, which has nothing to tune.
        seed: All noise is a function of (seed, lane id, run, step).
        ids: One distinct integer per lane; 0 to b - 1 by default. A lane's result depends on its
            own id, not on its place or its neighbors.
        runs: Independent runs per lane. The estimate is their mean; `Reconstruction.best` is
            the one with the least data term. They are draws from the posterior only if
            the solver draws (`Solver.draws_posterior`; the default one at realism 1, which is not
            its default): 90 % intervals of runs at the default realism hold the truth in half of
            the cases, and a warning says so.
        tol: End a run once a step changes its estimate by less than this, relative to its norm.
        hooks: Called after every step.
        stop_at: Pause after this many steps; `Reconstruction.snapshot` goes on from there.
        resume: A snapshot of the same problem and solver to go on from, bit by bit as if the run
            had not stopped; seed, ids and runs are taken from it.
        check: Try the operator on one random x first: shapes, the same at every call, linearity,
            adjoint, gradient (the cheap part of `reddiff.check`).
        progress: Show a bar, and first what the run will cost, on stderr; by default on a terminal,
            unless there is a `ProgressBar` among the hooks.

    Raises:
        InvalidArgument: If an argument cannot be used; before any network evaluation.
        Unsupported: If the solver has no theory for this operator or noise.
        SnapshotError: If `resume` belongs to another solver or problem.
    """
    ruled = [*_bars(hooks, progress), *_with_tol(hooks, tol)]
    run = Run(problem, prior, solver, seed, ids, runs, ruled, resume, check)
    try:
        while run.more() and (stop_at is None or run.step < stop_at):
            run.advance()
    finally:
        run.close()
    return run.result()


def iterate(
    problem: Problem,
    prior: Prior,
    solver: Solver[Any] | None = None,
    *,
    seed: int = 0,
    ids: Sequence[int] | None = None,
    runs: int = 1,
    tol: float | None = None,
    hooks: Sequence[Hook] = (),
    resume: Snapshot | None = None,
    check: bool = True,
) -> Iterator[Progress]:
    """`solve` as a generator: yields after every step. Arguments and errors as there."""
    run = Run(problem, prior, solver, seed, ids, runs, _with_tol(hooks, tol), resume, check)
    try:
        while run.more():
            yield run.advance()
    finally:
        run.close()


def _with_tol(hooks: Sequence[Hook], tol: float | None) -> list[Hook]:
    return [*hooks] if tol is None else [EarlyStop(tol), *hooks]


def _bars(hooks: Sequence[Hook], progress: bool | None) -> list[Hook]:
    """A bar where one is asked for, or none was chosen and there is a terminal to show it on."""
    if progress is None:
        seen = sys.stderr is not None and sys.stderr.isatty()
        progress = seen and not any(isinstance(hook, ProgressBar) for hook in hooks)
    return [ProgressBar(announce=True, residual=False)] if progress else []

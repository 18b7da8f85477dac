"""`solve` and `iterate`: reconstruct x from y."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from reddiff.errors import require_count
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
        problem: The problem, with b lanes.
        prior: The diffusion prior.
        solver: The method; by default noise-aware RED-diff, which needs no tuning.
        seed: Random seed. All noise is a function of (seed, lane id, run, step).
        ids: One distinct integer per lane; 0 to b - 1 by default. The result of a lane depends on
            its id, not on its position or on other lanes.
        runs: The number of independent runs per lane. The estimate is their mean;
            `Reconstruction.best` is the one with the smallest data term. The runs are draws from
            the posterior only if `Solver.draws_posterior` is true, for the default solver at
            realism 1 (not its default). Otherwise a warning is given: at the default realism, 90 %
            intervals contain the truth in about half of the cases.
        tol: If given, a run ends once a step changes its estimate by less than this, relative to
            its norm; a positive number.
        hooks: Hooks, called after every step.
        stop_at: Pause after this many steps, 0 or more; the run can be resumed from
            `Reconstruction.snapshot`.
        resume: A snapshot of the same problem and solver to resume from. The result is bit for bit
            that of a run without a pause; seed, ids and runs are taken from the snapshot.
        check: Whether to test the operator on a random x before the run (shapes, determinism,
            linearity, adjoint, gradient), and whether the prior denoises.
        progress: Whether to show a progress bar and the expected cost on stderr; by default if it
            is a terminal and the hooks contain no `ProgressBar`.

    Raises:
        InvalidArgument: If an argument is invalid; raised before the run.
        Unsupported: If the solver is not defined for this operator or noise.
        SnapshotError: If `resume` belongs to another solver or problem.
    """
    if stop_at is not None:
        require_count("stop_at", stop_at, least=0)
    ruled = [*_bars(hooks, progress), *_with_tol(hooks, tol)]
    run = Run(problem, prior, solver, seed, ids, runs, ruled, resume, check)
    return completed(run, stop_at)


def completed(run: Run, stop_at: int | None = None) -> Reconstruction:
    """The result of a run that is advanced to its end, or to a step, and closed."""
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
    """`solve` as a generator that yields after every step; same arguments and errors."""
    run = Run(problem, prior, solver, seed, ids, runs, _with_tol(hooks, tol), resume, check)
    try:
        while run.more():
            yield run.advance()
    finally:
        run.close()


def _with_tol(hooks: Sequence[Hook], tol: float | None) -> list[Hook]:
    return [*hooks] if tol is None else [EarlyStop(tol), *hooks]


def _bars(hooks: Sequence[Hook], progress: bool | None) -> list[Hook]:
    """The hooks with a progress bar if requested, or by default if stderr is a terminal."""
    if progress is None:
        seen = sys.stderr is not None and sys.stderr.isatty()
        progress = seen and not any(isinstance(hook, ProgressBar) for hook in hooks)
    return [ProgressBar(announce=True, residual=False)] if progress else []

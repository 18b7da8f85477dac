"""Posterior draws in batches, with memory that does not grow with their number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reddiff.errors import require_count
from reddiff.hooks import Hook, Progress
from reddiff.metrics.draws import moments
from reddiff.operators.base import Shape
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.results import Cost, Finding, Reconstruction, Status
from reddiff.run.loop import NO_DRAWS, Run
from reddiff.run.progress_bar import ProgressBar
from reddiff.run.validation import as_integers, default_solver
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff

AT_ONCE = 1 << 18  # pixels per batch of draws, unless `at_once` is given
ON_DISK = 1 << 28  # bytes of draws above which they are stored in a temporary file


def sample_posterior(
    problem: Problem,
    prior: Prior,
    n: int,
    *,
    solver: Solver[Any] | None = None,
    seed: int = 0,
    ids: Sequence[int] | None = None,
    at_once: int | None = None,
    hooks: Sequence[Hook] = (),
    check: bool = True,
    progress: bool = False,
) -> Reconstruction:
    """n draws from the posterior of x given y.

    Draw i is run i of `solve(problem, prior, solver, runs=n)`, up to rounding. Draws are made in
    batches of `at_once`. More than 256 MiB of draws are stored in a temporary file, so that memory
    does not grow with n. `x` of the result is the mean of the draws; `std`, `quantile` and
    `interval` measure their spread.

    Arguments:
        problem: The problem, with b lanes.
        prior: The diffusion prior.
        n: The number of draws per lane, at least 1.
        solver: The method; by default noise-aware RED-diff at realism 1. With a method that does
            not draw from the posterior (`Solver.draws_posterior`), the result has a warning.
        seed: Random seed. All noise is a function of (seed, lane id, draw, step).
        ids: As for `solve`.
        at_once: The number of draws, for all lanes, per batch; by default as many as have 2^18
            pixels in total.
        hooks: Called after every step of every batch. Recorded values are NaN for batches that
            ended earlier.
        check: As for `solve`; done once.
        progress: Whether to show one progress bar for all draws on stderr.

    Returns:
        A result with the draws as `samples`, `(b, n, *x)`, and without a snapshot.

    Raises:
        InvalidArgument: If an argument is invalid; raised before the first run.
        Unsupported: If the solver is not defined for this operator or noise.
    """
    (n,) = as_integers((n,))
    require_count("n", n)
    if solver is None:
        default_solver(problem, prior, None, () if ids is None else ids)
        solver = NoiseAwareREDDiff.for_prior(prior, realism=1.0)
    if at_once is None:
        at_once = max(1, AT_ONCE // max(1, len(problem) * prod(problem.x_shape[-2:])))
    require_count("at_once", at_once)
    watch = [*hooks, *([ProgressBar("draws", residual=False)] if progress else [])]
    parts: list[Reconstruction] = []
    store: Tensor | None = None
    made, batches = 0, -(-n // at_once)
    try:
        while made < n:
            count = min(at_once, n - made)
            part = len(parts)
            shown = [_Within(hook, part, batches) for hook in watch]
            run = Run(problem, prior, solver, seed, ids, count, [*shown], None, check, made)
            check = False  # operator and denoiser have been checked
            while run.more():
                run.advance()
            result = run.result()
            if store is None:
                store = _store((len(problem), n), result.samples)
            kept = store[:, made : made + count]
            kept.copy_(result.samples)
            parts.append(replace(result, samples=kept, x=kept[:, 0], snapshot=None))
            made += count
    finally:
        for hook in watch:
            hook.close()
    assert store is not None  # noqa: S101 - n is at least 1
    return _together(parts, store, draws=solver.draws_posterior)


class _Within(Hook):
    """A hook for one batch of draws; a progress bar sees all batches as one run."""

    def __init__(self, hook: Hook, part: int, parts: int) -> None:
        self.hook, self.part, self.parts = hook, part, parts

    def __call__(self, progress: Progress) -> Any:
        if isinstance(self.hook, ProgressBar):
            step = self.part * progress.steps + progress.step
            evaluations = round(progress.evaluations * step / progress.step)
            steps = self.parts * progress.steps
            progress = replace(progress, step=step, steps=steps, evaluations=evaluations)
        return self.hook(progress)

    def converged(self, progress: Progress) -> Tensor | None:
        return self.hook.converged(progress)


def _store(lanes: tuple[int, int], like: Tensor) -> Tensor:
    """An empty tensor for all draws, in memory or backed by a temporary file."""
    shape: Shape = (*lanes, *like.shape[2:])
    if prod(shape) * like.element_size() <= ON_DISK:
        return torch.empty(shape, dtype=like.dtype, device="cpu")
    kind = torch.empty(0, dtype=like.dtype).numpy().dtype
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, kind, "w+", shape=shape))


def _together(parts: list[Reconstruction], samples: Tensor, *, draws: bool) -> Reconstruction:
    """The results of all batches, combined."""

    def beside(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], 1)

    first, status = parts[0], beside("status")
    n = status.shape[1]
    findings: list[Finding] = []
    start = 0
    for part in parts:
        for f in part.findings:
            if f.lane is not None and n > 1:
                findings.append(replace(f, run=start + (f.run or 0)))
            elif f.text != NO_DRAWS and f not in findings:
                findings.append(f)
        start += part.status.shape[1]
    if n > 1 and not draws:
        findings.append(Finding(None, None, NO_DRAWS))
    used = status != Status.DIVERGED
    used = torch.where(used.any(1, keepdim=True), used, True)  # if all diverged
    return replace(
        first,
        x=moments(samples, used)[0],
        samples=samples,
        findings=tuple(findings),
        history=_histories(parts),
        cost=_cost([part.cost for part in parts]),
        status=status,
        steps=beside("steps"),
        residual_ratio=beside("residual_ratio"),
        change=beside("change"),
        noise_level=beside("noise_level"),
        data_term=beside("data_term"),
    )


def _histories(parts: list[Reconstruction]) -> dict[str, Tensor]:
    def padded(values: Tensor, steps: int) -> Tensor:
        more = values.new_full((steps - len(values), *values.shape[1:]), torch.nan)
        return torch.cat([values, more])

    names = parts[0].history
    longest = {name: max(len(part.history[name]) for part in parts) for name in names}
    return {
        name: torch.cat([padded(part.history[name], longest[name]) for part in parts], 2)
        for name in names
    }


def _cost(costs: Sequence[Cost]) -> Cost:
    def total(pick: Callable[[Cost], tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(map(sum, zip(*map(pick, costs), strict=True)))

    peaks = [cost.peak_bytes for cost in costs if cost.peak_bytes is not None]
    return Cost(
        evaluations=total(lambda c: c.evaluations),
        vjps=total(lambda c: c.vjps),
        seconds=sum(cost.seconds for cost in costs),
        peak_bytes=max(peaks, default=None),
        decodings=total(lambda c: c.decodings),
        decoder_vjps=total(lambda c: c.decoder_vjps),
    )

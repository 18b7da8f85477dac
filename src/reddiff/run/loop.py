"""The loop that runs every solver, with convergence, hooks, snapshots and cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reddiff.hooks import Hook, Progress
from reddiff.lanes import finite, per_lane, pick
from reddiff.noise import Gaussian, UnknownGaussian
from reddiff.operators.checks import require_sane
from reddiff.priors.base import Prior
from reddiff.problem import Problem
from reddiff.random import STARTING, Keys
from reddiff.results import Cost, Finding, Reconstruction, Status
from reddiff.run.calls import call
from reddiff.run.cost import Decodings, Metered, PeakMemory
from reddiff.run.denoiser_check import require_denoiser
from reddiff.run.diagnostics import findings
from reddiff.run.fingerprints import fingerprint
from reddiff.run.goodness_of_fit import Fit, fit
from reddiff.run.modes import differentiable, differentiable_module, ordinary
from reddiff.run.ranges import beyond
from reddiff.run.resuming import COUNTS, check_resume, load_state
from reddiff.run.validation import as_integers, check_run, default_solver
from reddiff.snapshot import Snapshot, Tree, describe, to_device
from reddiff.solvers.base import Solver

_KEPT = ("x", "status", "steps", "spent", "change", "noise_level")

NO_DRAWS = (
    "the runs are not draws from the posterior: their spread and quantiles are too narrow "
    "(NoiseAwareREDDiff with realism=1, PnPDM and MMPS make draws)"
)


_CHECK_EVERY = 32  # steps between checks for diverged runs on a GPU, which synchronize it


class Run:
    """The state of the loop. Each row is one run; the runs of a lane are consecutive."""

    step: int
    state: Any
    x: Tensor
    previous: Tensor
    status: Tensor
    steps: Tensor
    change: Tensor  # in the last step that changed the estimate
    said: list[tuple[str, ...]]  # the solver's warnings about runs that left the batch
    noise_level: Tensor  # sigma_y as given or estimated; NaN if there is none

    @ordinary
    @torch.no_grad()
    def __init__(
        self,
        problem: Problem,
        prior: Prior,
        given: Solver[Any] | None,
        seed: int,
        ids: Sequence[int] | None,
        runs: int,
        hooks: list[Hook],
        resume: Snapshot | None,
        check: bool,
        first: int = 0,
        keys: Keys | None = None,  # for the noise; by default from the ids
    ) -> None:
        solver = default_solver(problem, prior, given, () if ids is None else ids)
        origin = fingerprint(problem, prior)
        if resume is not None:
            check_resume(resume, problem, solver, origin)
            seed, ids, runs = resume.seed, resume.ids, resume.samples
        self.seed, self.runs = seed, runs = as_integers((seed, runs))
        problem, prior = differentiable(problem.whitened()), differentiable_module(prior)
        self.ids = tuple(range(len(problem))) if ids is None else as_integers(ids)
        keys = Keys(seed, self.ids) if keys is None else keys
        whole, problem = problem.operator, problem.simplified()
        check_run(problem, prior, solver, self.ids, runs)
        if check:
            require_sane(whole, problem.x_shape, problem.y)
            if resume is None:
                vjp = solver.cost.vjps > 0
                require_denoiser(prior, problem.x_shape, problem.y, vjp=vjp)
        self.clock, self.memory = time.perf_counter(), PeakMemory(problem.y.device)
        self.y_shape, self.settings, self.origin = tuple(problem.y.shape), describe(solver), origin
        lanes = torch.arange(len(problem)).repeat_interleave(runs)
        self.all_prior = prior.select(lanes)
        self.prior = Metered(self.all_prior)
        self.solver, self.hooks = solver.to(problem.y.device), hooks
        self.all_problem = problem.repeated(runs)
        self.all_keys = keys.repeat(runs, first)
        self.rows = torch.arange(len(self.all_problem))  # the runs still in the batch
        self.decodings = Decodings()
        # The problem passed to the steps:
        self.prepared = self.solver.prepare(self.decodings.of(self.all_problem))
        self.problem, self.keys = self.prepared, self.all_keys
        self.spent = torch.zeros(len(self.rows), COUNTS, dtype=torch.int64)
        self.history: dict[str, list[Tensor]] = {}
        self.names: dict[int, set[str]] = {}  # the names that each hook records
        if resume is None:
            self._begin()
        else:
            self._restore(resume)

    def more(self) -> bool:
        return self.step < self.solver.steps and len(self.rows) > 0

    @ordinary
    @torch.no_grad()
    def advance(self) -> Progress:
        k = torch.full((len(self.rows),), self.step, device=self.x.device)
        self.state = self.solver.step(
            self.state, self.problem, self.prior, k, self.keys.at(self.step)
        )
        self._count()
        self._accept(self.solver.estimate(self.state))
        self.step += 1
        progress = self._progress()
        moved = progress.alive & (progress.change > 0)  # some last steps change nothing
        self.change = torch.where(moved, progress.change, self.change)
        self._call(progress)
        self.previous = self.x  # frees the older one before the next step
        return progress

    @ordinary
    @torch.no_grad()
    def result(self) -> Reconstruction:
        b, s = self.y_shape[0], self.runs
        done = self.status == Status.RUNNING
        if self.step >= self.solver.steps:
            self.status = torch.where(done, int(Status.COMPLETED), self.status)
        samples = self.x.unflatten(0, (b, s))
        found = fit(self._told(), self.x)
        failed = self.status == Status.DIVERGED
        ratio, change, data_term = (
            torch.where(failed, torch.nan, v).view(b, s)
            for v in (found.ratio, self.change, found.data_term)
        )
        spent = self.spent.view(b, s, COUNTS).sum(1).T.tolist()
        return Reconstruction(
            x=samples[:, 0] if s == 1 else samples.mean(1),
            samples=samples,
            status=self.status.view(b, s).cpu(),
            steps=self.steps.view(b, s).cpu(),
            ids=self.ids,
            history={k: torch.stack(v).unflatten(1, (b, s)) for k, v in self.history.items()},
            solver=self.settings,
            cost=Cost(
                evaluations=tuple(spent[0]),
                vjps=tuple(spent[1]),
                decodings=tuple(spent[2]),
                decoder_vjps=tuple(spent[3]),
                seconds=time.perf_counter() - self.clock,
                peak_bytes=self.memory.peak(),
            ),
            snapshot=self.snapshot(),
            residual_ratio=ratio,
            change=change,
            noise_level=self.noise_level.view(b, s),
            data_term=data_term,
            findings=self._findings(found),
        )

    def snapshot(self) -> Snapshot:
        loop = {n: getattr(self, n) for n in _KEPT}
        tree = {
            "state": self.solver.dump(self.state),
            "rows": self.rows,
            "loop": loop,
            "said": [list(sentences) for sentences in self._said()],
            "history": {k: torch.stack(v) for k, v in self.history.items()},
        }
        shape = self.y_shape
        settings, ids = self.settings, self.ids
        return Snapshot(settings, shape, self.seed, ids, self.runs, self.step, tree, self.origin)

    def close(self) -> None:
        for hook in self.hooks:
            hook.close()

    def _begin(self) -> None:
        self.step = 0
        self.state = self.solver.init(self.problem, self.prior, self.keys.at(STARTING))
        self._count()
        x = self.solver.estimate(self.state)
        ok = finite(x)
        self.x = pick(ok, x, 0.0)
        self.previous = self.x
        self.status = torch.where(ok, int(Status.RUNNING), int(Status.DIVERGED))
        self.steps = torch.zeros_like(self.status)
        self.change = x.new_full((len(x),), torch.nan)
        self.said = [()] * len(x)
        noise = self.all_problem.noise
        sigma = noise.sigma if isinstance(noise, Gaussian) else torch.nan
        self.noise_level = per_lane(sigma, self.change).expand_as(self.change)

    def _restore(self, resume: Snapshot) -> None:
        tree: Tree = to_device(resume.tree, self.all_problem.y.device)
        self.step = resume.step
        self.x, self.status, self.steps = (tree["loop"][n] for n in ("x", "status", "steps"))
        self.previous, self.spent = self.x, tree["loop"]["spent"].cpu()
        self.change, self.noise_level = (tree["loop"][n] for n in ("change", "noise_level"))
        self.said = [tuple(s) for s in tree["said"]]
        self.history = {k: list(v) for k, v in tree["history"].items()}
        self.state = load_state(self.solver, tree["state"], len(tree["rows"]), like=self.x)
        self._keep(tree["rows"].cpu())
        if self.more():  # a hook may have saved before finished runs left the batch
            self._settle()

    def _told(self) -> Problem:
        """The problem, with the estimated noise level if none was given."""
        if not isinstance(self.all_problem.noise, UnknownGaussian):
            return self.all_problem
        return self.all_problem.derived(noise=Gaussian(self.noise_level.nan_to_num(1.0, 1.0)))

    def _said(self) -> list[tuple[str, ...]]:
        """The solver's warnings about every run, from its last step in the batch."""
        said, rows = list(self.said), self.rows.tolist()
        new = self.solver.warnings(self.state) if rows else []
        for row, sentences in zip(rows, new, strict=bool(new)):
            said[row] = sentences
        return said

    def _findings(self, found: Fit) -> tuple[Finding, ...]:
        ruled = self.status == Status.CONVERGED
        judged = ruled | (not self.solver.has_fixed_point)  # not judged by the last change
        change = torch.where(judged, 0, self.change)
        ended = (ruled | (self.status == Status.COMPLETED)).tolist()
        values = self.prior.inner.values
        out = beyond(self._told(), self.x, values, found.noise, found.ratio)
        said = [(*a, *b) for a, b in zip(self._said(), out, strict=True)]
        warnings = findings(found, change, ended, said, self.ids)
        if self.runs > 1 and any(ended) and not self.solver.draws_posterior:
            warnings += (Finding(None, None, NO_DRAWS),)
        return warnings

    def _count(self) -> None:
        counts = (*self.prior.take(), *self.decodings.take())
        per_run = torch.tensor(counts) // len(self.rows)
        self.spent = self.spent.index_add(0, self.rows, per_run.expand(len(self.rows), COUNTS))

    def _accept(self, x: Tensor) -> None:
        """Store the new estimates of runs that are alive and finite."""
        rows = self.rows.to(x.device)
        running = self.status[rows] == Status.RUNNING
        ok = finite(x)
        alive = running & ok
        self.previous = self.x
        self.x = self.x.index_copy(0, rows, pick(alive, x, self.x[rows]))
        self.steps = self.steps.index_add(0, rows, alive.to(self.steps.dtype))
        level = self.solver.noise_level(self.state)
        if level is not None and isinstance(self.problem.noise, UnknownGaussian):
            level = torch.where(alive, level, self.noise_level[rows])
            self.noise_level = self.noise_level.index_copy(0, rows, level)
        failed = torch.where(running & ~ok, int(Status.DIVERGED), self.status[rows])
        self.status = self.status.index_copy(0, rows, failed)

    def _progress(self) -> Progress:
        return Progress(
            step=self.step,
            steps=self.solver.steps,
            problem=self.all_problem,
            x=self.x,
            previous=self.previous,
            alive=self.status == Status.RUNNING,
            evaluations=int(self.spent[:, 0].max()),
            vjps=int(self.spent[:, 1].max()),
            snapshot=self.snapshot,
            result=self.result,
        )

    def _call(self, progress: Progress) -> None:
        """Call the hooks, record what they return, and drop the finished runs."""
        look = self.x.device.type == "cpu" or self.step % _CHECK_EVERY == 0
        for values, ended in call(self.hooks, progress, self.names):
            for name, value in values.items():
                kept = torch.where(progress.alive, value, torch.nan)
                self.history.setdefault(name, []).append(kept)
            if ended is not None:
                ended = progress.alive & ended
                self.status = torch.where(ended, int(Status.CONVERGED), self.status)
                look = True
        if look:
            self._settle()

    def _settle(self) -> None:
        """Drop the finished runs from the batch."""
        status = self.status[self.rows.to(self.x.device)].cpu()
        if not (status == Status.RUNNING).any():
            self._drop(torch.zeros_like(status, dtype=torch.bool))
        elif (status == Status.CONVERGED).any():
            self._drop(status != Status.CONVERGED)

    def _drop(self, kept: Tensor) -> None:
        """Drop runs from the batch, except diverged ones, so that rounding does not change."""
        self.said = self._said()
        index = kept.nonzero().flatten()
        if len(index):
            self.state = self.solver.select(self.state, index)
        self._keep(self.rows[index])

    def _keep(self, rows: Tensor) -> None:
        if len(rows) == len(self.rows):
            return
        self.rows = rows
        if len(rows):
            self.problem = self.prepared.select(rows.to(self.x.device))
            self.prior.inner = self.all_prior.select(rows)
            self.keys = self.all_keys.select(rows.tolist())

"""One job: solve a batch of images and measure the results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reddiff.bench.context import Context
from reddiff.bench.features import with_features
from reddiff.bench.images import Truth
from reddiff.bench.planning import Job
from reddiff.bench.rows import Key, Measurement, Result
from reddiff.bench.scoring import Scorer
from reddiff.bench.tasks import Measured
from reddiff.errors import InvalidArgument, Unsupported
from reddiff.hooks import Hook
from reddiff.images.io import Picture, encode
from reddiff.metrics import coverage
from reddiff.results import Reconstruction, Status
from reddiff.snapshot.description import hashed
from reddiff.solvers.base import Solver
from reddiff.solving import solve

PIXELS = 0.5  # a unit of x in [-1, 1], in [0, 1] pixels
LEVEL = 0.9  # of the intervals whose coverage is measured
Rows = tuple[list[Measurement], list[Result]]


class Bench:
    """Runs jobs.

    Arguments:
        context: The spec, its images and priors.
        hooks: Called after every step of a solver.
    """

    def __init__(self, context: Context, hooks: Sequence[Hook] = ()) -> None:
        self.context, self.hooks = context, hooks
        self.scorer = Scorer(context.spec.metrics, context.device)

    def run(self, job: Job) -> Rows:
        """The measurements and results of a job. An error of a solver is stored as a result."""
        measurements, results = self._rows(job)
        return with_features(measurements, results, self.context.spec.metrics)

    def _rows(self, job: Job) -> Rows:
        context = self.context
        measured = context.measured(job.cell, job.images)
        truths = [context.truths(job.cell.prior)[name] for name in job.images]
        keys: list[Key] = [(*job.cell, name) for name in job.images]
        found = self._measurements(keys, truths, measured)
        try:
            solver = context.solver(job.cell, job.solver, measured)
            if solver is None:
                return found, self._kept(keys, job, truths, measured)
            return found, self._solved(keys, job, truths, measured, solver)
        except Unsupported as error:
            status, sentence = "unsupported", str(error)
        except (InvalidArgument, ArithmeticError, RuntimeError, MemoryError) as error:
            status, sentence = "failed", f"{type(error).__name__}: {error}"
        count = len(keys)
        return found, [Result(key, job.solver, status, sentence, batch=count) for key in keys]

    def _measurements(
        self, keys: Sequence[Key], truths: Sequence[Truth], measured: Measured
    ) -> list[Measurement]:
        return [
            Measurement(
                *key,
                seed=truths[i].seed,
                truth=png(truths[i].pixels),
                degraded=png(measured.degraded[i]),
                y_hash=hashed(measured.problem.y[i])["sha256"],
            )
            for i, key in enumerate(keys)
        ]

    def _solved(
        self,
        keys: Sequence[Key],
        job: Job,
        truths: Sequence[Truth],
        measured: Measured,
        solver: Solver[object],
    ) -> list[Result]:
        context, problem, count = self.context, measured.problem, len(keys)
        entry = context.spec.solvers[job.solver]
        prior = context.fitting(job.cell.prior, problem.x_shape)
        shape = (count * entry.runs, *problem.x_shape)
        bare = context.bare_peak(job.cell.prior, shape, solver.cost.vjps > 0)
        run = solve(
            problem,
            prior,
            solver,
            seed=context.spec.seed,
            ids=[truth.seed for truth in truths],
            runs=entry.runs,
            hooks=self.hooks,
            progress=False,
        )
        x = run.best if entry.keep == "best" else run.x
        pixels = measured.finish(x)
        scores = self.scorer.scores(pixels, truths)
        scores |= {"residual": problem.residual_ratio(x)} | self._draws(run, truths, measured)
        if "exact_rmse" in context.spec.metrics:
            mean = context.exact_mean(job.cell, job.images)
            if mean is not None:
                scores["exact_rmse"] = PIXELS * (x - mean).square().flatten(1).mean(1).sqrt()
        peak = run.cost.peak_bytes
        failed = (run.status == Status.DIVERGED).any(1).tolist()
        return [
            Result(
                key,
                job.solver,
                "diverged" if failed[i] else "ok",
                "a value became NaN or inf" if failed[i] else None,
                {} if failed[i] else _of_lane(scores, i),
                run.cost.evaluations[i],
                run.cost.vjps[i],
                run.cost.seconds / count,
                None if peak is None else max(0, peak - bare),
                count,
                None if failed[i] else png(pixels[i]),
                {"steps": solver.steps, "runs": entry.runs},
            )
            for i, key in enumerate(keys)
        ]

    def _kept(
        self, keys: Sequence[Key], job: Job, truths: Sequence[Truth], measured: Measured
    ) -> list[Result]:
        """The degraded pictures as they are."""
        shown = measured.degraded
        scores = self.scorer.scores(shown, truths)
        return [
            Result(
                key,
                job.solver,
                "ok",
                metrics=_of_lane(scores, i),
                batch=len(keys),
                picture=png(shown[i]),
            )
            for i, key in enumerate(keys)
        ]

    def _draws(
        self, run: Reconstruction, truths: Sequence[Truth], measured: Measured
    ) -> dict[str, Tensor]:
        """Metrics of several runs: their spread in [0, 1] pixels, and metrics of each run."""
        count = run.samples.shape[1]
        if count < 2:
            return {}
        found = {"spread": PIXELS * run.std.flatten(1).square().mean(1).sqrt()}
        draws = [measured.finish(v) for v in run.samples.unbind(1)]
        if (
            "psnr_oracle" in self.context.spec.metrics
        ):  # the best of the runs, selected with the truth
            each = [self.scorer.psnr(v, truths) for v in draws]
            found["psnr_oracle"] = torch.stack(each).amax(0)
        if (count + 1) % round(2 / (1 - LEVEL)) == 0:
            truth = torch.stack([t.pixels for t in truths]).to(draws[0])
            found["coverage_90"] = coverage(torch.stack(draws, 1), truth, LEVEL)
        return found


def png(pixels: Tensor) -> bytes:
    """A picture as an 8-bit PNG file."""
    return encode("x.png", Picture(pixels.detach().float().clamp(0, 1).cpu().contiguous()))


def _of_lane(scores: Mapping[str, Tensor], i: int) -> dict[str, float]:
    """The finite numbers of one lane."""
    values = {name: float(value[i]) for name, value in scores.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}

"""The result of a run: estimates, status, cost and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reddiff.metrics.draws import Interval, central_interval, moments, quantile
from reddiff.results.cost import Cost
from reddiff.results.status import Finding, Status
from reddiff.snapshot import Snapshot, Tree


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The result of `solve` for a `Problem` with b lanes and S runs per lane.

    Arguments:
        x: The estimate; for S > 1 the mean over the runs.
        samples: The estimate of every run.
        status: The `Status` of every run, `(b, S)`.
        steps: The number of steps of every run; for DIVERGED, the step that failed.
        ids: The ids of the lanes.
        history: The values recorded by hooks: name -> `(steps, b, S)`, NaN once a run has ended.
        solver: The description of the solver.
        cost: Evaluations, time and memory; the S runs of a lane are added up.
        snapshot: The final state, to resume from; None for `sample_posterior`.
        residual_ratio: The rms of (y - A(x)) / std(y | A(x)) of every run, over the measured
            entries. It is close to 1 if x fits y up to the noise; inf if sigma = 0; NaN for a
            diverged run.
        change: The relative change ||x - x'|| / ||x|| of x in the last step that changed it; NaN
            before the first step and for a diverged run.
        noise_level: sigma of Gaussian noise in the units of y, given, or estimated if it was
            `UnknownGaussian`; NaN for other noise.
        data_term: -log p(y | x) of every run in nats, or half the squared residual if sigma = 0,
            which has no density; NaN for a diverged run.
        findings: The warnings, by lane and run.
    """

    x: Float[Tensor, "b *n"]
    samples: Float[Tensor, "b S *n"]
    status: Int[Tensor, "b S"]
    steps: Int[Tensor, "b S"]
    ids: tuple[int, ...]
    history: Mapping[str, Float[Tensor, "steps b S"]]
    solver: Tree
    cost: Cost
    snapshot: Snapshot | None
    residual_ratio: Float[Tensor, "b S"]
    change: Float[Tensor, "b S"]
    noise_level: Float[Tensor, "b S"]
    data_term: Float[Tensor, "b S"]
    findings: tuple[Finding, ...]

    @property
    def best(self) -> Float[Tensor, "b *n"]:
        """The run with the smallest `data_term` in each lane, as in `solve(..., runs=8).best`.

        It is useful for multimodal problems such as phase retrieval, in which some runs never
        become consistent with y. If all runs do, it selects the one that fits the noise most.
        """
        index = self.data_term.nan_to_num(torch.inf, posinf=torch.inf).argmin(1)
        return self.samples[torch.arange(len(index), device=index.device), index]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences, for runs that ended (neither paused nor diverged)."""
        return tuple(f.sentence for f in self.findings)

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """The mean over the runs of each lane."""
        return self.samples.mean(1)

    @property
    def draws(self) -> Iterator[Float[Tensor, "b *n"]]:
        """An iterator over the runs, each with all lanes."""
        return iter(self.samples.unbind(1))

    @property
    def usable(self) -> Bool[Tensor, "b S"]:
        """The runs that did not diverge."""
        return self.status != Status.DIVERGED

    def quantile(self, q: float) -> Float[Tensor, "b *n"]:
        """The quantile at q, in [0, 1], of every entry over the runs that did not diverge."""
        return quantile(self.samples, q, self.usable)

    def interval(self, level: float = 0.9) -> Interval:
        """The central interval of every entry over the runs that did not diverge.

        It contains the true entry with probability `level` if the runs are draws from the
        posterior: see `std`.

        Raises:
            InvalidArgument: If there are too few runs; 0.9 needs 19 (`needed_draws`).
        """
        return central_interval(self.samples, level, self.usable)

    @property
    def std(self) -> Float[Tensor, "b *n"]:
        """The standard deviation over the runs that did not diverge; NaN for fewer than two.

        It measures the uncertainty of x only if the runs are draws from the posterior
        (`Solver.draws_posterior`; for the default solver, at realism 1). Otherwise it is too small,
        and `warnings` says so.
        """
        return moments(self.samples, self.usable)[1]

    def __repr__(self) -> str:
        b, s = self.status.shape
        return f"Reconstruction({b} lanes, {s} runs each, x {tuple(self.x.shape[1:])})"

    def __str__(self) -> str:
        """Five lines: shapes, status, fit, cost, warnings."""
        b, s = self.status.shape
        counts = Counter(Status(code).name for code in self.status.flatten().tolist())
        ended = ", ".join(f"{n} {name}" for name, n in counts.items())
        ratio = self.residual_ratio[torch.isfinite(self.residual_ratio)]
        fits = f"{float(ratio.min()):.3g} to {float(ratio.max()):.3g}" if len(ratio) else "unknown"
        steps = f"{int(self.steps.min())} to {int(self.steps.max())}"
        most, vjps = max(self.cost.evaluations), max(self.cost.vjps)
        passes = f" and {vjps} backward passes" if vjps else ""
        decoded = max(self.cost.decodings, default=0)
        passes += f", {decoded} decodings" if decoded else ""
        warnings = self.warnings
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        return "\n".join(
            [
                f"Reconstruction with {b} lanes, {s} runs each: x {tuple(self.x.shape[1:])}, "
                f"{str(self.x.dtype).removeprefix('torch.')} on {self.x.device}",
                f"  runs: {ended} after {steps} steps",
                f"  residual / noise: {fits}",
                f"  cost: {most} network evaluations{passes} per lane, {self.cost.seconds:.1f} s",
                f"  warnings: {warnings[0][:200] if warnings else 'none'}{more}",
            ]
        )

    def report(self) -> str:
        """Runs that neither completed nor converged, warnings and cost, one per line."""
        lines = []
        for lane, (row, counts) in enumerate(
            zip(self.status.tolist(), self.steps.tolist(), strict=True)
        ):
            for copy, (code, step) in enumerate(zip(row, counts, strict=True)):
                if code not in (Status.COMPLETED, Status.CONVERGED):
                    status = Status(code)
                    where = f"lane {self.ids[lane]}, run {copy}, step {step}"
                    lines.append(f"{where}: {status.name}. {status.sentence}")
        lines += self.warnings
        total = sum(self.cost.evaluations)
        lines.append(f"{total} network evaluations in {self.cost.seconds:.1f} s")
        return "\n".join(lines)

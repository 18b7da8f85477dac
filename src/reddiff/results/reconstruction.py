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
    """The answer to a `Problem` of b lanes, S runs each (`runs` of `solve`).

    Arguments:
        x: The estimate: that of the run, or the mean over S > 1 runs.
        samples: The estimate of every run.
        status: The `Status` of every run, `(b, S)`.
        steps: How many steps every run made before it ended (DIVERGED: the step that failed).
        ids: The ids of the lanes.
        history: What the hooks recorded: name -> `(steps, b, S)`, NaN once a run has ended.
        solver: The description of the solver.
        cost: Evaluations, time and memory, the S runs of a lane added up.
        snapshot: The state at the end, to resume from; None for `sample_posterior`.
        residual_ratio: The rms of (y - A(x)) / std(y given A(x)) of every run, over the measured
            entries: for Gaussian noise that of the residual over sigma_y. Near 1 where x fits
            y up to its noise; inf where sigma is 0; NaN of a run that diverged.
        change: The relative change of x, ||x - x'|| / ||x||, by the last step that changed it;
            NaN before the first step, and of a run that diverged.
        noise_level: Sigma of the Gaussian noise in the units of y, as given, or as found if it was
            `UnknownGaussian`; NaN for other noise.
        data_term: -log p(y | x) in nats of every run, or half the squared residual where sigma is
            0, which has no density; NaN of a run that diverged.
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
        """The run with the least `data_term` in each lane: restarts, `solve(..., runs=8).best`.

        For problems with several modes, such as phase retrieval, where some starts never reach an
        x that is consistent with y. Where all runs do, it picks the one that fits the noise most.
        """
        index = self.data_term.nan_to_num(torch.inf, posinf=torch.inf).argmin(1)
        return self.samples[torch.arange(len(index), device=index.device), index]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences of the findings, for runs that ended (not paused, not diverged)."""
        return tuple(f.sentence for f in self.findings)

    @property
    def mean(self) -> Float[Tensor, "b *n"]:
        """The mean over the runs of each lane."""
        return self.samples.mean(1)

    @property
    def draws(self) -> Iterator[Float[Tensor, "b *n"]]:
        """The runs of all lanes, one after the other."""
        return iter(self.samples.unbind(1))

    @property
    def usable(self) -> Bool[Tensor, "b S"]:
        """The runs that did not diverge."""
        return self.status != Status.DIVERGED

    def quantile(self, q: float) -> Float[Tensor, "b *n"]:
        """The q quantile of every entry over the runs that did not diverge (`metrics.quantile`)."""
        return quantile(self.samples, q, self.usable)

    def interval(self, level: float = 0.9) -> Interval:
        """The central interval of every entry over the runs that did not diverge.

        It holds the true entry with probability `level` only as far as the runs are draws from the
        posterior: see `std`.

        Raises:
            InvalidArgument: If there are too few runs: 19 are needed for 0.9 (`needed_draws`).
        """
        return central_interval(self.samples, level, self.usable)

    @property
    def std(self) -> Float[Tensor, "b *n"]:
        """The standard deviation over the runs that did not diverge; NaN for less than two.

        It measures the uncertainty of x only if the runs are draws from the posterior
        (`Solver.draws_posterior`, the default solver at realism 1). Otherwise it is too small, and
        `warnings` says so.
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
                f"Reconstruction of {b} lanes, {s} runs each: x {tuple(self.x.shape[1:])}, "
                f"{str(self.x.dtype).removeprefix('torch.')} on {self.x.device}",
                f"  runs: {ended} after {steps} steps",
                f"  residual / noise: {fits}",
                f"  cost: {most} network evaluations{passes} a lane, {self.cost.seconds:.1f} s",
                f"  warnings: {warnings[0][:200] if warnings else 'none'}{more}",
            ]
        )

    def report(self) -> str:
        """A line for each run that did not complete or converge, the warnings, and the cost."""
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

"""Noise-aware RED-diff against answers known in closed form; prints tables in Markdown.

    python benchmarks/exact.py [fields|spread|mixtures|sensitivity|all]

fields: the PSNR against the truth, and what is lost against the exact posterior mean.
spread: the variance over independent runs against the exact posterior's.
mixtures: how often runs end in each mode against the exact probabilities.
sensitivity: what a wrong sigma_y, or half the steps, cost.

All in double precision. Fields are draws of a Gaussian random field (power spectrum |f|^-2.2,
standard deviation 0.5, 64 x 64), the levels of noise are lanes of one batch, and a PSNR is of
peak 2, averaged over the fields.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from reddiff import Gaussian, Keys, Problem, solve
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Mask, Matrix, gaussian_psf
from reddiff.priors import GaussianMixture, GaussianRandomField
from reddiff.random import DRAWING
from reddiff.solvers import NoiseAwareREDDiff, REDDiff, Solver
from reddiff.solvers.noise_aware import REALISM as DEFAULT

F64 = torch.float64
SIDE = 64
PRIOR = GaussianRandomField(-2.2, std=0.5)
SIGMAS = (0.01, 0.1, 0.4)
CHUNK = 128  # runs at a time
SPREAD_FIELDS = 2
REALISMS = (0.0, DEFAULT, 1.0)
RUNS, PAPER_RUNS = 500, 50  # of each mixture and y; those of `paper` take 1000 evaluations
MEASURED = 8  # y's of each mixture


def operators() -> dict[str, LinearOperator]:
    u = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=F64)
    box = torch.ones(SIDE, SIDE, dtype=F64)
    box[20:44, 20:44] = 0
    return {
        "mask, 70 % missing": Mask((u > 0.7).to(F64)),
        "mask, box of 24 x 24": Mask(box),
        "Gaussian blur, 2 pixels": CircularBlur(gaussian_psf(2.0, 6)),
        "SR x4": BlockMean(4),
    }


@dataclass(frozen=True, eq=False)
class Cells:
    """One operator at all noise levels: lanes are levels x fields."""

    name: str
    truth: Tensor
    problem: Problem
    exact: Tensor

    @classmethod
    def of(cls, name: str, operator: LinearOperator, count: int) -> Cells:
        like = torch.empty(count, 1, SIDE, SIDE, dtype=F64)
        fields = PRIOR.sample(like, Keys(0, tuple(range(count))).at(DRAWING))
        truth = fields.repeat(len(SIGMAS), 1, 1, 1)
        sigma = torch.tensor(SIGMAS, dtype=F64).repeat_interleave(count)
        problem = Problem.simulate(truth, operator, Gaussian(sigma), seed=1)
        return cls(name, truth, problem, PRIOR.posterior(problem).mean)

    def psnr(self, x: Tensor) -> Tensor:
        """Of each noise level."""
        each = 10 * (4 / (x - self.truth).square().flatten(1).mean(1)).log10()
        return each.view(len(SIGMAS), -1).mean(1)

    def run(self, solver: Solver[Any], factor: float = 1.0) -> Tensor:
        """The PSNR of a solver that is told `factor` times the noise level."""
        noise = Gaussian(self.problem.noise.sigma * factor)
        problem = Problem(self.problem.y, self.problem.operator, noise)
        return self.psnr(solve(problem, PRIOR, solver).x)


@cache
def cells(count: int) -> tuple[Cells, ...]:
    return tuple(Cells.of(name, operator, count) for name, operator in operators().items())


def noise_aware(steps: int, realism: float) -> NoiseAwareREDDiff:
    return NoiseAwareREDDiff.default(steps, realism=realism)


def paper(steps: int) -> REDDiff:
    return REDDiff.paper(steps)


def paper_inpainting(steps: int) -> REDDiff:
    return REDDiff.paper(steps, weight=1.0, lr=0.25)


def table(header: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


# ------------------------------------------------------------------------------------- fields


FIELDS: dict[str, Callable[[Cells], Tensor]] = {
    "A^+ y": lambda c: c.psnr(c.problem.initial_estimate()),
    "exact mean": lambda c: c.psnr(c.exact),
    "realism 0, 50 steps": lambda c: c.run(noise_aware(50, 0.0)),
    "realism 0, 20": lambda c: c.run(noise_aware(20, 0.0)),
    f"realism {DEFAULT:g} (default), 50": lambda c: c.run(noise_aware(50, DEFAULT)),
    "realism 1, 50": lambda c: c.run(noise_aware(50, 1.0)),
    "paper, 1000": lambda c: c.run(paper(1000)),
    "paper, noisy inpainting, 100": lambda c: c.run(paper_inpainting(100)),
}


def fields(arguments: argparse.Namespace) -> None:
    print("PSNR in dB. `paper`: lambda 0.25, lr 0.1; for noisy inpainting lambda 1, lr 0.25.\n")
    rows, losses = [], []
    for c in cells(arguments.fields):
        got = torch.stack([method(c) for method in FIELDS.values()])
        losses.append(got[1] - got)
        for i, sigma in enumerate(SIGMAS):
            rows.append([c.name, f"{sigma:g}", *[f"{v:.2f}" for v in got[:, i]]])
    lost = torch.cat(losses, 1)
    for what, values in (("largest loss", lost.amax(1)), ("mean loss", lost.mean(1))):
        rows.append([f"{what} against the exact mean", "", *[f"{v:.2f}" for v in values]])
    table(["operator", "sigma_y", *FIELDS], rows)


# ------------------------------------------------------------------------------------- spread


def variance(problem: Problem) -> Tensor:
    """The trace of the exact posterior covariance, by a dense Cholesky factor, at each level.

    trace C - || L^-1 A C ||^2, where L L^T = A C A^T + sigma_y^2.
    """
    kept = problem.measured[0].flatten()
    unit = torch.eye(len(kept), dtype=F64)[kept].view(-1, *problem.y.shape[1:])
    rows = PRIOR.covariance(problem.operator.adjoint(unit))  # of A C
    s = problem.operator(rows).flatten(1)[:, kept]
    traces = []
    for sigma in SIGMAS:
        factor = torch.linalg.cholesky(s + sigma**2 * torch.eye(len(s), dtype=F64))
        half = torch.linalg.solve_triangular(factor, rows.flatten(1), upper=False)
        traces.append(PRIOR.std**2 * SIDE**2 - half.square().sum())
    return torch.stack(traces)


def draws(problem: Problem, solver: Solver[Any], runs: int) -> tuple[Tensor, Tensor]:
    """The mean over runs, and the sum over pixels of the variance over runs, of each lane."""
    total, square, per = torch.zeros(()), torch.zeros(()), max(1, CHUNK // len(problem))
    for seed, done in enumerate(range(0, runs, per)):
        x = solve(problem, PRIOR, solver, samples=min(per, runs - done), seed=seed).samples
        total, square = total + x.sum(1), square + x.square().sum(1)
    mean = total / runs
    return mean, ((square / runs - mean**2) * runs / (runs - 1)).flatten(1).sum(1)


def spread(arguments: argparse.Namespace) -> None:
    runs, realisms = arguments.runs, (1.0, DEFAULT, 0.5)
    print(
        f"Variance over {runs} runs of {SPREAD_FIELDS} fields, summed over pixels, over the trace "
        "of the exact posterior covariance (dense Cholesky). Bias: the squared distance of the "
        "mean over runs to the exact mean, less what is due to the number of runs, over the same "
        "trace. 50 steps. Below realism 1 the levels end at the noise of y: of the variance that "
        "finer levels would add, the answer has the mean.\n"
    )
    rows, worst = [], torch.zeros(len(realisms))
    for c in cells(SPREAD_FIELDS):
        trace = variance(c.problem)
        got = []
        for r in realisms:
            mean, var = draws(c.problem, noise_aware(50, r), runs)
            bias = (mean - c.exact).square().flatten(1).sum(1) - var / runs
            got.append([(v.view(len(SIGMAS), -1).mean(1) / trace).tolist() for v in (var, bias)])
        for i, sigma in enumerate(SIGMAS):
            row = [f"{v:.3f}" for var, bias in got for v in (var[i], bias[i])]
            rows.append([c.name, f"{sigma:g}", *row])
        off = [max(abs(v - r) for v in g[0]) for g, r in zip(got, realisms, strict=True)]
        worst = torch.maximum(worst, torch.tensor(off))
    rows.append(
        [
            "largest distance of variance to realism",
            "",
            *[t for v in worst for t in (f"{v:.3f}", "")],
        ]
    )
    header = [f"{what}, realism {r:g}" for r in realisms for what in ("variance", "bias")]
    table(["operator", "sigma_y", *header], rows)


# ----------------------------------------------------------------------------------- mixtures


def planar() -> tuple[GaussianMixture, Matrix, float]:
    """Four modes at the corners of a rhomboid; y sees the first coordinate and a little more."""
    means = torch.tensor([[-1.0, -0.7], [-1.0, 0.8], [1.0, -0.9], [0.8, 0.7]], dtype=F64)
    weights = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=F64)
    covs = 0.02 * torch.eye(2, dtype=F64).repeat(4, 1, 1)
    return GaussianMixture(weights, means, covs), Matrix(torch.tensor([[1.0, 0.2]]).to(F64)), 0.3


def sixteen() -> tuple[GaussianMixture, Matrix, float]:
    """Four modes of 16 coordinates; y sees six of them, in which modes are half as far apart."""
    g = torch.Generator().manual_seed(0)
    means = 0.6 * torch.randn(4, 16, generator=g, dtype=F64)
    means[1::2, :6] = means[::2, :6] + 0.1 * torch.randn(2, 6, generator=g, dtype=F64)
    roots = 0.07 * torch.randn(4, 16, 16, generator=g, dtype=F64)
    covs = roots @ roots.mT + 0.01 * torch.eye(16, dtype=F64)
    weights = torch.tensor([0.35, 0.15, 0.2, 0.3], dtype=F64)
    return GaussianMixture(weights, means, covs), Matrix(torch.eye(16, dtype=F64)[:6]), 0.3


def shares(problem: Problem, prior: GaussianMixture, solver: Solver[Any], runs: int) -> Tensor:
    """The part of the runs that end nearest to each mode of the posterior."""
    x = solve(problem, prior, solver, samples=runs).samples
    modes = prior.posterior(problem).means
    nearest = torch.cdist(x, modes).argmin(2)
    return torch.nn.functional.one_hot(nearest, modes.shape[1]).to(F64).mean(1)


def exact_shares(problem: Problem, prior: GaussianMixture, runs: int) -> Tensor:
    """The same of exact draws."""
    posterior = prior.posterior(problem)
    nearest = torch.cdist(posterior.sample(runs), posterior.means).argmin(2)
    return torch.nn.functional.one_hot(nearest, posterior.means.shape[1]).to(F64).mean(1)


def mixtures(arguments: argparse.Namespace) -> None:
    print(
        f"{MEASURED} measurements of draws of each mixture. Total variation distance between the "
        "exact probabilities of the modes and the shares of the runs that end nearest to each "
        f"({RUNS} runs; `paper`: {PAPER_RUNS}); exact draws show what the number of runs and the "
        "rule of the nearest mode amount to.\n"
    )
    rows = []
    for name, (prior, a, sigma) in {"2-D": planar(), "16-D": sixteen()}.items():
        like = torch.empty(MEASURED, *prior.shape, dtype=F64)
        x = prior.sample(like, Keys(0, tuple(range(MEASURED))).at(DRAWING))
        problem = Problem.simulate(x, a, Gaussian(sigma), seed=1)
        wanted = prior.posterior(problem).weights
        example = int(torch.special.entr(wanted).sum(1).argmax())
        got = {"exact draws": exact_shares(problem, prior, RUNS)}
        for r in REALISMS:
            got[f"realism {r:g}, 50 steps"] = shares(problem, prior, noise_aware(50, r), RUNS)
        got["paper, 1000 steps"] = shares(problem, prior, paper(1000), PAPER_RUNS)
        got["most likely mode alone"] = torch.nn.functional.one_hot(wanted.argmax(1), 4).to(F64)
        for method, share in got.items():
            tv = (share - wanted).abs().sum(1) / 2
            numbers = ", ".join(f"{v:.2f}" for v in share[example])
            rows.append([name, method, f"{tv.mean():.3f}", f"{tv.max():.3f}", numbers])
        numbers = ", ".join(f"{v:.2f}" for v in wanted[example])
        rows.append([name, "exact probabilities", "", "", numbers])
    table(["mixture", "method", "mean TV", "largest TV", "shares where y is least clear"], rows)


# -------------------------------------------------------------------------------- sensitivity


def sensitivity(arguments: argparse.Namespace) -> None:
    print(
        "Mean (largest) loss over the 12 cells in dB, against the same method with the right "
        "sigma_y and all steps. `paper` is not told sigma_y and loses nothing by it.\n"
    )
    kinds: dict[str, tuple[Callable[[int], Solver[Any]], int]] = {
        "realism 0": (lambda n: noise_aware(n, 0.0), 50),
        f"realism {DEFAULT:g} (default)": (lambda n: noise_aware(n, DEFAULT), 50),
        "paper": (paper, 1000),
    }
    rows = []
    for name, (make, steps) in kinds.items():
        changes = {"half the steps": (1.0, steps // 2)}
        if make is not paper:
            changes |= {"sigma_y x 0.5": (0.5, steps), "sigma_y x 2": (2.0, steps)}
        lost: dict[str, list[Tensor]] = {change: [] for change in changes}
        for c in cells(arguments.fields):
            right = c.run(make(steps))
            for change, (factor, n) in changes.items():
                lost[change].append(right - c.run(make(n), factor))
        said = [f"{torch.cat(v).mean():.2f} ({torch.cat(v).max():.2f})" for v in lost.values()]
        rows.append([f"{name}, {steps} steps", *said, *["0 (ignored)"] * (3 - len(said))])
    table(["method", "half the steps", "sigma_y x 0.5", "sigma_y x 2"], rows)


TABLES = {"fields": fields, "spread": spread, "mixtures": mixtures, "sensitivity": sensitivity}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", nargs="?", choices=[*TABLES, "all"], default="all")
    parser.add_argument("--fields", type=int, default=6, help="fields of a cell (default 6)")
    parser.add_argument("--runs", type=int, default=64, help="runs of `spread` (default 64)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = f"--fields {arguments.fields} --runs {arguments.runs}"
    for name in TABLES if arguments.table == "all" else [arguments.table]:
        print(f"## {name}\n\n`python benchmarks/exact.py {name} {settings}`\n")
        start = time.perf_counter()
        TABLES[name](arguments)
        sys.stdout.flush()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

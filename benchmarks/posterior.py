"""Every solver against posteriors known in closed form; prints tables in Markdown.

    python benchmarks/posterior.py [gaussian|mixtures|calibration|convergence|all]

gaussian: error of mean and covariance of many draws of one posterior, 4 operators x 3 noises.
mixtures: sliced Wasserstein distance to exact draws, 20 random problems in 2, 8 and 80 dimensions.
calibration: coverage of intervals and rank histograms over many truths (simulation-based).
convergence: the errors against the number of steps, and a figure of them.

All in double precision, at the settings of `posterior_methods.py`: those of the catalogue, without
clipping, which these priors do not call for, or others that suit a posterior.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from common import (
    F64,
    FIELD,
    Results,
    Row,
    Table,
    chosen,
    drawn,
    parser,
    random_mask,
    run_tables,
    weak_operators,
)
from posterior_methods import METHODS, Method
from torch import Tensor

from reddiff import Gaussian, Problem, Reconstruction, Unsupported, draw, solve
from reddiff.metrics import coverage, moment_errors, ranks, sliced_wasserstein
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Matrix, gaussian_psf
from reddiff.priors import GaussianMixture, Prior
from reddiff.priors.gaussian_posterior import dense_matrix

SIDE = 8
SIGMAS = (0.02, 0.1, 0.4)
CHUNK = 2**18  # numbers that the prior handles at a time: they fit into a cache

QUICK = ("noise-aware, realism 1", "ddrm", "pnp-admm")
# Solvers whose mean is the posterior's, and the largest error of it in units of sqrt(tr C).
EXACT = {"noise-aware, realism 1": 0.25, "pnp-admm": 0.05}


# ------------------------------------------------------------------------------------ running


def runs(
    problem: Problem, prior: Prior, method: Method, steps: int, count: int
) -> tuple[Tensor, Reconstruction]:
    """Draws from runs of each lane in chunks `(b, S, ...)`, and the last chunk's result."""
    solver = method.make(problem, steps)
    if method.draws:
        count = math.ceil(count / method.draws)
    entries = math.prod(problem.x_shape) * (25 if isinstance(prior, GaussianMixture) else 1)
    per = max(1, CHUNK // (len(problem) * entries))
    parts = []
    for seed, done in enumerate(range(0, count, per)):
        result = solve(problem, prior, solver, runs=min(per, count - done), seed=seed)
        got = draw(result, solver, method.draws).flatten(1, 2) if method.draws else result.samples
        parts.append(got)
    return torch.cat(parts, 1), result


def cost(result: Reconstruction) -> str:
    """Network evaluations and vjps of one run."""
    samples = result.samples.shape[1]
    evaluations, vjps = (v[0] // samples for v in (result.cost.evaluations, result.cost.vjps))
    return f"{evaluations}" + (f" + {vjps}" if vjps else "")


def methods(arguments: argparse.Namespace) -> dict[str, Method]:
    return chosen(METHODS, arguments.methods, QUICK if arguments.quick else None)


# ----------------------------------------------------------------------------------- gaussian


def operators() -> dict[str, LinearOperator]:
    n = SIDE * SIDE
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(n // 2, n, generator=generator, dtype=F64) / SIDE
    found: dict[str, LinearOperator] = {
        "random matrix": Matrix(matrix, shape=(1, SIDE, SIDE)),
        "mask": random_mask((SIDE, SIDE), missing=0.5, generator=generator),
        "blur": CircularBlur(gaussian_psf(1.0, 3)),
        "block mean": BlockMean(2),
    }
    return {name: a.to(F64) for name, a in found.items()}


@dataclass(frozen=True, eq=False)
class Cell:
    """One y, and its exact posterior."""

    name: str
    sigma: float
    problem: Problem
    mean: Tensor
    cov: Tensor

    @classmethod
    def of(cls, name: str, operator: LinearOperator, sigma: float) -> Cell:
        truth = drawn(FIELD, 1, (1, SIDE, SIDE))
        problem = Problem.simulate(truth, operator, Gaussian(sigma), seed=1)
        n = SIDE * SIDE
        prior_cov = FIELD.covariance(torch.eye(n, dtype=F64).view(n, 1, SIDE, SIDE)).flatten(1)
        a = dense_matrix(problem)[0]
        noise_cov = sigma**2 * torch.eye(len(a))
        gain = prior_cov @ a.mT @ torch.linalg.inv(a @ prior_cov @ a.mT + noise_cov)
        cov = prior_cov - gain @ a @ prior_cov
        return cls(name, sigma, problem, FIELD.posterior(problem).mean, cov[None])

    def errors(self, method: Method, steps: int, count: int) -> Row:
        """Of the mean and of the covariance, and the cost of a run."""
        try:
            samples, result = runs(self.problem, FIELD, method, steps, min(count, method.most))
        except Unsupported:
            return {}  # a solver of spectral operators, and a function
        mean, cov = moment_errors(samples, self.mean, self.cov)
        return {"mean": float(mean), "cov": float(cov), "cost": cost(result)}


@cache
def cells() -> tuple[Cell, ...]:
    return tuple(Cell.of(n, a, s) for n, a in operators().items() for s in SIGMAS)


@cache
def weak_cells() -> tuple[Cell, ...]:
    weak = weak_operators((SIDE, SIDE), 1).items()
    return tuple(Cell.of(n, a.to(F64), 0.1) for n, a in weak)


def gaussian(results: Results, arguments: argparse.Namespace) -> None:
    strong, weak = cells()[1::3] if arguments.quick else cells(), weak_cells()
    print(
        f"Gaussian random field of {SIDE} x {SIDE}, standard deviation 0.5. For each of "
        f"{len(strong)} cells {arguments.runs} runs on one y; error of their mean over sqrt(tr C), "
        "and of their covariance over ||C||_F, C the exact posterior covariance, less what is due "
        "to the number of runs: mean over cells (largest). Weak operators (identity, near "
        "identity, mild blur, vignette, double image, as classes and as functions) at sigma_y "
        "0.1. Cost: network evaluations + vjps of a run.\n"
    )
    columns = [f"error of the {m}{w}" for w in ("", ", weak") for m in ("mean", "covariance")]
    printed = Table("solver", "cost", *columns)
    for name, method in methods(arguments).items():
        said, got = [], []
        key = {"table": "gaussian", "solver": name, "runs": arguments.runs}
        for group in (strong, weak):
            compute = [partial(c.errors, method, method.steps, arguments.runs) for c in group]
            got = [
                results.cell(f, operator=c.name, sigma=c.sigma, **key)
                for f, c in zip(compute, group, strict=True)
            ]
            got = [row for row in got if "mean" in row]
            for part in ("mean", "cov"):
                values = torch.tensor([row[part] for row in got])
                said.append(f"{values.mean():.3f} ({values.max():.3f})")
            if name in EXACT:
                error = max(row["mean"] for row in got)
                kind = "weak operators" if group is weak else "operators"
                results.expect(f"gaussian: {name}, {kind}, mean", error, most=EXACT[name])
        printed.row(name, got[0]["cost"], *said)
    print()


# ----------------------------------------------------------------------------------- mixtures


def mixture_problem(n: int, seed: int) -> tuple[GaussianMixture, Problem, float]:
    """A random problem of the protocol of MCGdiff, in units in which x is of a size about 1.

    25 components of random weights at (8 i, 8 j, 8 i, ...), i and j from -2 to 2, of unit variance,
    all divided by 16; A = U diag(s) V^T with s uniform on [0, 1] and M = 1, 2 or 4 (at most n)
    rows; sigma_y uniform between 0 and max s of the paper's units.
    """
    g = torch.Generator().manual_seed(1000 * n + seed)
    unit = 16.0
    grid = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=F64)] * 2) * 8 / unit
    means = grid.repeat(1, n // 2)
    weights = torch.rand(25, generator=g, dtype=F64) + 1e-3
    covs = (torch.eye(n, dtype=F64) / unit**2).expand(25, n, n)
    prior = GaussianMixture(weights, means, covs)
    rows = min(n, (1, 2, 4)[seed % 3])
    u, _, vt = torch.linalg.svd(torch.randn(rows, n, generator=g, dtype=F64), full_matrices=False)
    s = torch.rand(rows, generator=g, dtype=F64)
    a = u @ torch.diag(s) @ vt
    sigma = float(torch.rand((), generator=g, dtype=F64) * s.max()) / unit
    x = drawn(prior, 1, (n,), seed)
    return prior, Problem.simulate(x, Matrix(a), Gaussian(sigma), seed=seed), unit


MIXTURE_PROBLEMS, DIMENSIONS = 20, (2, 8, 80)


def drawing(arguments: argparse.Namespace) -> list[tuple[str, Method | int]]:
    """The solvers that give draws, after exact draws, as many as those of each solver."""
    drawing = [(n, m) for n, m in methods(arguments).items() if not m.point]
    most = arguments.draws
    counts = sorted({most, *(min(m.few, most) for _, m in drawing)}, reverse=True)
    return [*(("exact draws", count) for count in counts), *drawing]


def distances(method: Method | None, n: int, count: int, problems: int) -> Row:
    """Sliced Wasserstein distances to as many exact draws, one for each problem."""
    values, spent = [], ""
    for seed in range(problems):
        prior, problem, unit = mixture_problem(n, seed)
        posterior = prior.posterior(problem)
        if method is None:
            got = posterior.sample(count, seed=1)[0]
        else:
            samples, result = runs(problem, prior, method, method.steps, count)
            got, spent = samples[0, :count], cost(result)
        values.append(float(unit * sliced_wasserstein(got, posterior.sample(count)[0])))
    return {"distances": values, "cost": spent}


def mixtures(results: Results, arguments: argparse.Namespace) -> None:
    problems, dims = (2, DIMENSIONS[:2]) if arguments.quick else (MIXTURE_PROBLEMS, DIMENSIONS)
    print(
        f"The protocol of MCGdiff and TMPD: mixtures of 25 Gaussians, {problems} random problems "
        f"in each dimension, {arguments.draws} draws of each (or as many as in brackets) against "
        "as many exact ones. Sliced Wasserstein distance in the papers' units (components 8 "
        "apart, of standard deviation 1), mean and 95 % interval over problems. `exact draws` "
        "shows what is left by chance.\n"
    )
    printed = Table("solver", "cost", *[f"{n} dimensions" for n in dims])
    for name, entry in drawing(arguments):
        method = entry if isinstance(entry, Method) else None
        count = min(method.few, arguments.draws) if method else entry
        key = {"table": "mixtures", "solver": name, "draws": count, "problems": problems}
        rows = [
            results.cell(partial(distances, method, n, count, problems), dimension=n, **key)
            for n in dims
        ]
        v = torch.tensor([row["distances"] for row in rows])
        ends = 1.96 * v.std(1) / v.shape[1] ** 0.5
        said = [f"{m:.2f} ± {e:.2f}" for m, e in zip(v.mean(1), ends, strict=True)]
        printed.row(name + f" ({count})" * (count < arguments.draws), rows[0]["cost"], *said)
    print()


# -------------------------------------------------------------------------------- calibration

TRUTHS, QUICK_TRUTHS, DRAWS, BINS = 256, 64, 39, 8


@cache
def truths(count: int) -> tuple[tuple[Prior, Problem, Tensor], ...]:
    """Problems whose truth comes from the prior: a field under a mask and a blur, a mixture."""
    sigma = Gaussian(0.1)
    x = drawn(FIELD, count, (1, SIDE, SIDE), seed=3)
    got: list[tuple[Prior, Problem, Tensor]] = [
        (FIELD, Problem.simulate(x, operators()[name], sigma, seed=3), x)
        for name in ("mask", "blur")
    ]
    mixture, posed, _ = mixture_problem(8, 2)
    x = drawn(mixture, count, (8,), seed=3)
    got.append((mixture, Problem.simulate(x, posed.operator, sigma, seed=3), x))
    return tuple(got)


def calibrated(method: Method | None, k: int, count: int) -> Row:
    """Coverage of the central intervals, and the histogram of the ranks of the truth, in %."""
    prior, problem, x = truths(count)[k]
    if method is None:
        samples = prior.posterior(problem).sample(DRAWS, seed=5)
    else:
        lanes = torch.arange(count if method.few >= 1000 else count // 4)
        problem, x = problem.select(lanes), x[lanes]
        samples = runs(problem, prior, method, method.steps, DRAWS)[0][:, :DRAWS]
    bins = ranks(samples, x).flatten() * BINS // (DRAWS + 1)
    counts = torch.bincount(bins, minlength=BINS) / len(bins)
    held = [100 * float(coverage(samples, x, level).mean()) for level in (0.5, 0.9)]
    return {"held": held, "ranks": (100 * counts).tolist()}


def calibration(results: Results, arguments: argparse.Namespace) -> None:
    count = QUICK_TRUTHS if arguments.quick else TRUTHS
    print(
        f"{count} truths from the prior (a fourth of them for slow solvers), a measurement of "
        f"each, {DRAWS} draws for each: how often "
        "the central 50 % and 90 % intervals of the runs hold the truth, and the ranks of the "
        f"truth among the runs in {BINS} bins (per cent; 12.5 each if calibrated), over all "
        "entries of x. Three problems: field under a mask, field under a blur, mixture of 25 "
        "Gaussians in 8 dimensions; sigma_y 0.1. High ends of the histogram: overconfident.\n"
    )
    printed = Table("solver", "problem", "coverage of 50 %", "coverage of 90 %", "ranks, %")
    for name, entry in drawing(arguments):
        method = entry if isinstance(entry, Method) else None
        if method is None and entry < arguments.draws:
            continue
        for k, what in enumerate(("mask", "blur", "mixture")):
            key = {"table": "calibration", "solver": name, "problem": what, "truths": count}
            row = results.cell(partial(calibrated, method, k, count), **key)
            histogram = " ".join(f"{v:.0f}" for v in row["ranks"])
            printed.row(name, what, *[f"{h:.0f}" for h in row["held"]], histogram)
            if method is None or name in EXACT:
                off = max(abs(h - w) for h, w in zip(row["held"], (50, 90), strict=True))
                results.expect(f"calibration: {name}, {what}, coverage off by, %", off, most=12)
    print()


# -------------------------------------------------------------------------------- convergence


def convergence(results: Results, arguments: argparse.Namespace) -> None:
    cell = next(c for c in cells() if c.name == "mask" and c.sigma == 0.1)
    print(
        f"{arguments.runs} runs on the mask cell at sigma_y 0.1: error of the mean / of the "
        "covariance, against steps.\n"
    )
    end = 3 if arguments.quick else None
    sweeps = {name: m.sweep[:end] for name, m in methods(arguments).items()}
    steps = sorted({n for sweep in sweeps.values() for n in sweep})
    printed = Table("solver", *[str(n) for n in steps])
    curves: dict[str, dict[int, tuple[float, float]]] = {}
    for name, sweep in sweeps.items():
        key = {"table": "convergence", "solver": name, "runs": arguments.runs}
        rows = {
            n: results.cell(partial(cell.errors, METHODS[name], n, arguments.runs), steps=n, **key)
            for n in sweep
        }
        curves[name] = {n: (row["mean"], row["cov"]) for n, row in rows.items()}
        said = {n: f"{m:.3f} / {c:.3f}" for n, (m, c) in curves[name].items()}
        printed.row(name, *[said.get(n, "") for n in steps])
    print()
    if arguments.figure:
        plot(curves, arguments.figure)


def plot(curves: dict[str, dict[int, tuple[float, float]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(curves)
    columns, rows = 4, math.ceil(len(names) / 4)
    figure, axes = plt.subplots(
        rows, columns, figsize=(11, 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        axis.set_visible(True)
        n = list(curves[name])
        for part, label in enumerate(("mean", "covariance")):
            axis.loglog(n, [max(curves[name][k][part], 1e-3) for k in n], "o-", ms=3, label=label)
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3, which="both")
        axis.set_ylim(3e-3, 3)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("steps")
    figure.supylabel("relative error")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"Figure: {path}\n")


TABLES = {f.__name__: f for f in (gaussian, mixtures, calibration, convergence)}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--methods", nargs="*", choices=list(METHODS), help="only these solvers")
    options.add_argument("--runs", type=int, help="runs of a Gaussian cell (default 2000)")
    options.add_argument("--draws", type=int, help="of a mixture (default 1000)")
    options.add_argument("--figure", type=Path, help="where `convergence` draws its figure (PNG)")
    arguments = options.parse_args()
    arguments.runs = arguments.runs or (50 if arguments.quick else 2000)
    arguments.draws = arguments.draws or (50 if arguments.quick else 1000)
    return run_tables("posterior", TABLES, arguments)


if __name__ == "__main__":
    sys.exit(main())

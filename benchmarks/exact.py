"""Noise-aware RED-diff against answers known in closed form; prints tables in Markdown.

    python benchmarks/exact.py [fields|spread|mixtures|sensitivity|all]

fields: PSNR against the truth, beside that of the exact posterior mean.
spread: variance over independent runs, over that of the exact posterior.
mixtures: shares of the runs that end in each mode, against the exact probabilities.
sensitivity: the loss from a wrong sigma_y, or half the steps.

All in double precision. Fields are draws of a Gaussian random field (power spectrum |f|^-2.2,
standard deviation 0.5, 64 x 64), the noise levels are lanes of one batch, and PSNR has a peak of 2
and is averaged over the fields.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from common import (
    F64,
    FIELD,
    SIGMAS,
    FieldCell,
    Results,
    Table,
    box_mask,
    drawn,
    parser,
    per_level,
    random_mask,
    run_tables,
    weak_operators,
)
from torch import Tensor
from torch.nn.functional import one_hot

from reddiff import Gaussian, Problem, metrics, solve
from reddiff.operators import BlockMean, CircularBlur, LinearOperator, Matrix, gaussian_psf
from reddiff.priors import GaussianMixture
from reddiff.schedules import karras
from reddiff.solvers import TDS, NoiseAwareREDDiff, REDDiff, Solver
from reddiff.solvers.noise_aware import REALISM as DEFAULT

SIDE, QUICK_SIDE = 64, 16
CHUNK = 128  # runs at a time
SPREAD_FIELDS = 2
STRONG = 4  # the first operators; those after them nearly leave x as it is
REALISMS = (0.0, DEFAULT, 1.0)
MEASURED = 8  # y's of each mixture
TDS_64 = "TDS, 64 particles, 40 steps"


def operators(side: int) -> dict[str, LinearOperator]:
    found: dict[str, LinearOperator] = {
        "mask, 70 % missing": random_mask((side, side)),
        "mask, box of 3/8": box_mask((side, side)),
        "Gaussian blur, 2 pixels": CircularBlur(gaussian_psf(2.0, 6)),
        "SR x4": BlockMean(4),
        **weak_operators((side, side), 1),
    }
    return {name: a.to(F64) for name, a in found.items()}


def psnr(c: FieldCell, x: Tensor) -> Tensor:
    """PSNR at each noise level."""
    return per_level(metrics.psnr(x, c.truth, 2.0))


def run(c: FieldCell, solver: Solver[Any], factor: float = 1.0) -> Tensor:
    """The PSNR of a solver that is given `factor` times the noise level."""
    noise = Gaussian(c.problem.noise.sigma * factor)
    problem = Problem(c.problem.y, c.problem.operator, noise)
    return psnr(c, solve(problem, FIELD, solver).x)


@cache
def cells(count: int, side: int) -> tuple[FieldCell, ...]:
    return tuple(FieldCell.of(name, a, count, side) for name, a in operators(side).items())


def of(
    arguments: argparse.Namespace, count: int, quick: int | None = None
) -> tuple[FieldCell, ...]:
    """The cells; with `--quick` smaller ones, of the first `quick` operators."""
    return cells(1, QUICK_SIDE)[:quick] if arguments.quick else cells(count, SIDE)


def noise_aware(steps: int, realism: float) -> NoiseAwareREDDiff:
    return NoiseAwareREDDiff.default(steps, realism=realism)


def paper(steps: int) -> REDDiff:
    return REDDiff.paper(steps)


# ------------------------------------------------------------------------------------- fields

ZERO = "realism 0, 50 steps"
FIELDS: dict[str, Callable[[FieldCell], Tensor]] = {
    "A^+ y": lambda c: psnr(c, c.problem.initial_estimate()),
    "exact mean": lambda c: psnr(c, c.exact),
    ZERO: lambda c: run(c, noise_aware(50, 0.0)),
    "realism 0, 20": lambda c: run(c, noise_aware(20, 0.0)),
    f"realism {DEFAULT:g} (default), 50": lambda c: run(c, noise_aware(50, DEFAULT)),
    "realism 1, 50": lambda c: run(c, noise_aware(50, 1.0)),
}
PAPER: dict[str, Callable[[FieldCell], Tensor]] = {
    "paper, 1000": lambda c: run(c, paper(1000)),
    "paper, noisy inpainting, 100": lambda c: run(c, REDDiff.paper(100, weight=1.0, lr=0.25)),
}


def fields(results: Results, arguments: argparse.Namespace) -> None:
    print("PSNR in dB. `paper`: lambda 0.25, lr 0.1; for noisy inpainting lambda 1, lr 0.25.\n")
    methods = FIELDS if arguments.quick else FIELDS | PAPER
    printed, losses = Table("operator", "sigma_y", *methods), []
    by_operator: dict[str, Tensor] = {}
    for c in of(arguments, arguments.fields):
        key = {"operator": c.name, "lanes": len(c.truth), "side": c.truth.shape[-1]}
        got = torch.tensor(
            [
                results.cell(
                    lambda c=c, m=m: {"psnr": m(c).tolist()}, table="fields", method=name, **key
                )["psnr"]
                for name, m in methods.items()
            ]
        )
        losses.append(got[1] - got)
        by_operator[c.name] = got[list(methods).index(ZERO)]
        for i, sigma in enumerate(SIGMAS):
            printed.row(c.name, f"{sigma:g}", *[f"{v:.2f}" for v in got[:, i]])
    lost = torch.cat(losses, 1)
    for what, values in (("largest loss", lost.amax(1)), ("mean loss", lost.mean(1))):
        printed.row(f"{what} against the exact mean", "", *[f"{v:.2f}" for v in values])
    print()
    zero = lost[list(methods).index(ZERO)]
    results.expect("fields: mean loss of realism 0, dB", float(zero.mean()), most=0.05)
    results.expect("fields: largest loss of realism 0, dB", float(zero.max()), most=0.3)
    apart = max(
        float((by_operator[name] - by_operator[f"{name}, a function"]).abs().max())
        for name in by_operator
        if f"{name}, a function" in by_operator
    )
    results.expect("fields: a function of x in place of its class, dB", apart, most=0.05)


# ------------------------------------------------------------------------------------- spread


def variance(problem: Problem) -> Tensor:
    """The trace of the exact posterior covariance, by a dense Cholesky factor, at each level.

    trace C - || L^-1 A C ||^2, where L L^T = A C A^T + sigma_y^2.
    """
    kept = problem.measured[0].flatten()
    unit = torch.eye(len(kept), dtype=F64)[kept].view(-1, *problem.y.shape[1:])
    rows = FIELD.covariance(problem.operator.adjoint(unit))  # of A C
    s = problem.operator(rows).flatten(1)[:, kept]
    traces = []
    for sigma in SIGMAS:
        factor = torch.linalg.cholesky(s + sigma**2 * torch.eye(len(s), dtype=F64))
        half = torch.linalg.solve_triangular(factor, rows.flatten(1), upper=False)
        traces.append(FIELD.std**2 * rows[0].numel() - half.square().sum())
    return torch.stack(traces)


def draws(problem: Problem, solver: Solver[Any], runs: int) -> tuple[Tensor, Tensor]:
    """The mean over runs, and the sum over pixels of the variance over runs, of each lane."""
    total, square, per = torch.zeros(()), torch.zeros(()), max(1, CHUNK // len(problem))
    for seed, done in enumerate(range(0, runs, per)):
        x = solve(problem, FIELD, solver, runs=min(per, runs - done), seed=seed).samples
        total, square = total + x.sum(1), square + x.square().sum(1)
    mean = total / runs
    return mean, ((square / runs - mean**2) * runs / (runs - 1)).flatten(1).sum(1)


def spread_of(c: FieldCell, realism: float, runs: int) -> dict[str, list[float]]:
    """Variance and squared bias over the trace of the exact posterior covariance, by level."""
    trace = variance(c.problem)
    mean, var = draws(c.problem, noise_aware(50, realism), runs)
    bias = (mean - c.exact).square().flatten(1).sum(1) - var / runs
    by_level = {"variance": var, "bias": bias}
    return {k: (v.view(len(SIGMAS), -1).mean(1) / trace).tolist() for k, v in by_level.items()}


def spread(results: Results, arguments: argparse.Namespace) -> None:
    quick = arguments.quick
    runs, realisms = (16, (1.0,)) if quick else (arguments.runs, (1.0, DEFAULT, 0.5))
    print(
        f"Variance over {runs} runs of {SPREAD_FIELDS} fields, summed over pixels, over the trace "
        "of the exact posterior covariance (dense Cholesky). Bias: the squared distance of the "
        "mean over runs to the exact mean, less what is due to the number of runs, over the same "
        "trace. 50 steps. Below realism 1 the levels end at the noise of y, and the answer lacks "
        "the variance that finer levels would add.\n"
    )
    header = [f"{what}, realism {r:g}" for r in realisms for what in ("variance", "bias")]
    printed, worst = Table("operator", "sigma_y", *header), torch.zeros(len(realisms))
    strong = of(arguments, SPREAD_FIELDS)[:STRONG]
    for c in of(arguments, SPREAD_FIELDS, STRONG):
        key = {"operator": c.name, "lanes": len(c.truth), "side": c.truth.shape[-1], "runs": runs}
        got = [
            results.cell(lambda c=c, r=r: spread_of(c, r, runs), table="spread", realism=r, **key)
            for r in realisms
        ]
        for i, sigma in enumerate(SIGMAS):
            values = [v for g in got for v in (g["variance"][i], g["bias"][i])]
            printed.row(c.name, f"{sigma:g}", *[f"{v:.3f}" for v in values])
        if c in strong:
            pairs = zip(got, realisms, strict=True)
            off = [max(abs(v - r) for v in g["variance"]) for g, r in pairs]
            worst = torch.maximum(worst, torch.tensor(off))
    cells_of_worst = [t for v in worst for t in (f"{v:.3f}", "")]
    printed.row(f"largest distance of variance to realism, first {STRONG}", "", *cells_of_worst)
    print()
    results.expect("spread: variance at realism 1, off by", float(worst[0]), most=0.3)


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


def shares(x: Tensor, modes: Tensor) -> Tensor:
    """The part of the draws that are nearest to each mode of the posterior."""
    return one_hot(torch.cdist(x, modes).argmin(2), modes.shape[1]).to(F64).mean(1)


def mixture_shares(arguments: argparse.Namespace) -> dict[str, int]:
    """Runs of each method."""
    runs = 100 if arguments.quick else 500
    methods = {"exact draws": runs, **{f"realism {r:g}, 50 steps": runs for r in REALISMS}}
    return methods | ({} if arguments.quick else {"paper, 1000 steps": 50, TDS_64: 500})


def method_shares(
    prior: GaussianMixture, problem: Problem, method: str, runs: int
) -> dict[str, Any]:
    posterior = prior.posterior(problem)
    if method == "exact draws":
        drawn = posterior.sample(runs)
    else:
        others = {"paper, 1000 steps": paper(1000), TDS_64: TDS(karras(40), particles=64)}
        solvers = {f"realism {r:g}, 50 steps": noise_aware(50, r) for r in REALISMS} | others
        drawn = solve(problem, prior, solvers[method], runs=runs).samples
    return {"shares": shares(drawn, posterior.means).tolist()}


def mixtures(results: Results, arguments: argparse.Namespace) -> None:
    methods = mixture_shares(arguments)
    print(
        f"{MEASURED} measurements of draws of each mixture. Total variation distance between the "
        "exact probabilities of the modes and the shares of the runs that end nearest to each; "
        "`exact draws` shows how much of it the number of runs and the rule of the nearest mode "
        "account for.\n"
    )
    columns = ("mean TV", "largest TV", "shares where y is least clear")
    printed = Table("mixture", "method", "runs", *columns)
    for name, (prior, a, sigma) in {"2-D": planar(), "16-D": sixteen()}.items():
        x = drawn(prior, MEASURED, prior.shape)
        problem = Problem.simulate(x, a, Gaussian(sigma), seed=1)
        wanted = prior.posterior(problem).weights
        example = int(torch.special.entr(wanted).sum(1).argmax())

        for method, runs in methods.items():
            row = results.cell(
                partial(method_shares, prior, problem, method, runs),
                table="mixtures",
                mixture=name,
                method=method,
                runs=runs,
            )
            got = torch.tensor(row["shares"], dtype=F64)
            tv = (got - wanted).abs().sum(1) / 2
            numbers = ", ".join(f"{v:.2f}" for v in got[example])
            printed.row(name, method, str(runs), f"{tv.mean():.3f}", f"{tv.max():.3f}", numbers)
            if method.startswith("realism 1,"):
                results.expect(f"mixtures, {name}: mean TV, realism 1", float(tv.mean()), most=0.25)
        likely = one_hot(wanted.argmax(1), 4).to(F64)
        tv = (likely - wanted).abs().sum(1) / 2
        printed.row(name, "most likely mode alone", "", f"{tv.mean():.3f}", f"{tv.max():.3f}", "")
        numbers = ", ".join(f"{v:.2f}" for v in wanted[example])
        printed.row(name, "exact probabilities", "", "", "", numbers)
    print()


# -------------------------------------------------------------------------------- sensitivity


def psnr_of(c: FieldCell, solver: Solver[Any], factor: float) -> dict[str, Any]:
    return {"psnr": run(c, solver, factor).tolist()}


def sensitivity(results: Results, arguments: argparse.Namespace) -> None:
    print(
        "Mean (largest) loss over the cells in dB, against the same method with the right "
        "sigma_y and all steps. `paper` takes no sigma_y.\n"
    )
    kinds: dict[str, tuple[Callable[[int], Solver[Any]], int]] = {
        "realism 0": (lambda n: noise_aware(n, 0.0), 50),
        f"realism {DEFAULT:g} (default)": (lambda n: noise_aware(n, DEFAULT), 50),
    }
    if not arguments.quick:
        kinds["paper"] = (paper, 1000)
    printed = Table("method", "half the steps", "sigma_y x 0.5", "sigma_y x 2")
    for name, (make, steps) in kinds.items():
        changes = {"half the steps": (1.0, steps // 2)}
        if make is not paper:
            changes |= {"sigma_y x 0.5": (0.5, steps), "sigma_y x 2": (2.0, steps)}
        lost: dict[str, list[Tensor]] = {change: [] for change in changes}
        for c in of(arguments, arguments.fields, STRONG):
            runs = {"right": (1.0, steps), **changes}
            key = {"method": name, "operator": c.name, "lanes": len(c.truth)}
            got = {
                change: torch.tensor(
                    results.cell(
                        partial(psnr_of, c, make(n), factor),
                        table="sensitivity",
                        side=c.truth.shape[-1],
                        change=change,
                        **key,
                    )["psnr"]
                )
                for change, (factor, n) in runs.items()
            }
            for change in changes:
                lost[change].append(got["right"] - got[change])
        each = {change: torch.cat(v) for change, v in lost.items()}
        said = [f"{v.mean():.2f} ({v.max():.2f})" for v in each.values()]
        printed.row(f"{name}, {steps} steps", *said, *["0 (not used)"] * (3 - len(said)))
        if make is not paper:
            half = float(each["half the steps"].mean())
            results.expect(f"sensitivity: half the steps at {name}, mean dB", half, most=0.15)
    print()


TABLES = {"fields": fields, "spread": spread, "mixtures": mixtures, "sensitivity": sensitivity}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--fields", type=int, default=6, help="fields of a cell (default 6)")
    options.add_argument("--runs", type=int, default=64, help="runs of `spread` (default 64)")
    return run_tables("exact", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

"""Draws of the default solver against posteriors known in closed form; prints tables in Markdown.

    python benchmarks/intervals.py [coverage|sbc|time|all]

coverage: the posterior probability of 95 % intervals of pixels and 90 % intervals of means over
    boxes, from 39 draws, in every cell: operators x 3 noise levels on Gaussian random fields.
sbc: simulation-based calibration: whether the ranks of 500 truths among their draws are uniform.
time: CPU time of 16 draws of a picture of 256 x 256 over that of one, with the photo prior.

Fields as in `exact.py`, of 16 x 16; in `sbc` of 8 x 8, with the operators of `posterior.py`.
Realism 1, 50 steps.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from functools import cache, partial

import torch
from common import F64, FIELD, SIGMAS, Results, Row, Table, drawn, parser, photo, run_tables
from exact import operators
from posterior import SIDE as SMALL
from posterior import operators as small_operators
from torch import Tensor

from reddiff import Gaussian, Problem, restore, sample_posterior, sbc, solve
from reddiff.images.io import Picture
from reddiff.metrics import central_interval
from reddiff.operators import Identity, LinearOperator, Matrix
from reddiff.priors.gaussian_posterior import dense_matrix
from reddiff.solvers import NoiseAwareREDDiff
from reddiff.uncertainty.posterior import AT_ONCE

SIDE, DRAWS = 16, 39  # the fewest draws for 95 %
QUICK = "mask, box of 3/8"
SIMULATED = 0.1  # the noise of `sbc`
LEVEL = 0.01  # of its tests


@cache
def cells() -> dict[str, LinearOperator]:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(SIDE**2 // 2, SIDE**2, generator=generator, dtype=F64) / SIDE
    return {**operators(SIDE), "random matrix": Matrix(matrix, shape=(1, SIDE, SIDE))}


def solver(steps: int = 50) -> NoiseAwareREDDiff:
    return NoiseAwareREDDiff.default(steps, realism=1.0)


def boxes() -> Tensor:
    """Weights of means over boxes of 2, 4 and 8 pixels that tile the field, `(boxes, entries)`."""
    index = torch.arange(SIDE)
    found = []
    for side in (2, 4, 8):
        place = (index[:, None] // side) * (SIDE // side) + index // side
        inside = place.flatten() == torch.arange((SIDE // side) ** 2)[:, None]
        found.append(inside.to(F64) / side**2)
    return torch.cat(found)


# ---------------------------------------------------------------------------------- coverage


def covered(name: str, sigma: float, lanes: int) -> Row:
    """Of pixels and boxes: the mean posterior probability of an interval, and of the variance."""
    truth = drawn(FIELD, lanes, (1, SIDE, SIDE))
    problem = Problem.simulate(truth, cells()[name], Gaussian(sigma), seed=1)
    samples = solve(problem, FIELD, solver(), runs=DRAWS, check=False).samples.flatten(2)
    mean = FIELD.posterior(problem).mean.flatten(1)
    a, unit = dense_matrix(problem)[0], torch.eye(SIDE**2, dtype=F64).view(-1, 1, SIDE, SIDE)
    prior = FIELD.covariance(unit).flatten(1)
    cross = a @ prior
    measured = cross @ a.mT + sigma**2 * torch.eye(len(a), dtype=F64)
    cov = prior - cross.mT @ torch.linalg.solve(measured, cross)
    found: Row = {}
    for what, weights, level in (("pixels", None, 0.95), ("boxes", boxes(), 0.9)):
        wide = samples if weights is None else samples @ weights.mT
        center = mean if weights is None else mean @ weights.mT
        variance = cov.diagonal() if weights is None else (weights @ cov * weights).sum(1)
        std = variance.clamp(min=1e-16).sqrt()
        low, high = central_interval(wide, level)
        inside = torch.special.ndtr((high - center) / std) - torch.special.ndtr(
            (low - center) / std
        )
        found[what] = float(inside.mean())
        found[f"{what}, variance"] = float((wide.var(1) / variance).mean())
    return found


def coverage(results: Results, arguments: argparse.Namespace) -> None:
    lanes = 8 if arguments.quick else arguments.lanes
    print(
        f"Probability under the exact posterior, in per cent, of intervals of {DRAWS} draws, mean "
        f"over {lanes} measurements; and the variance of the draws over that of the posterior.\n"
    )
    columns = ("95 % of pixels", "90 % of boxes", "variance, pixels", "boxes")
    printed, off = Table("operator", "sigma_y", *columns), {"pixels": 0.0, "boxes": 0.0}
    for name in [QUICK] if arguments.quick else cells():
        for sigma in SIGMAS:
            key = {"operator": name, "sigma": sigma, "lanes": lanes}
            row = results.cell(partial(covered, name, sigma, lanes), table="coverage", **key)
            shares = [f"{100 * row[what]:.1f}" for what in ("pixels", "boxes")]
            ratios = [f"{row[f'{what}, variance']:.3f}" for what in ("pixels", "boxes")]
            printed.row(name, f"{sigma:g}", *shares, *ratios)
            for what, level in (("pixels", 0.95), ("boxes", 0.9)):
                off[what] = max(off[what], abs(row[what] - level))
    print()
    slack = 3 if arguments.quick else 1
    results.expect("coverage: 95 % of pixels, off by", off["pixels"], most=0.01 * slack)
    results.expect("coverage: 90 % of boxes, off by", off["boxes"], most=0.015 * slack)


# --------------------------------------------------------------------------------------- sbc


def ranked(name: str, count: int) -> Row:
    """p-values and mean ranks of truths: of a pixel, a mean, a spread, and -log p(y | x)."""
    truth = drawn(FIELD, count, (1, SMALL, SMALL), seed=7)
    operator = {**small_operators(), "identity": Identity()}[name]
    problem = Problem.simulate(truth, operator, Gaussian(SIMULATED), seed=7)
    samples = sample_posterior(problem, FIELD, DRAWS, solver=solver(), check=False).samples
    box = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    quantities = {
        "pixel": lambda x: x[:, 0, 4, 4],
        "mean of a box": lambda x: x[box].mean((1, 2, 3)),
        "std of a box": lambda x: x[box].flatten(1).std(1),
        "likelihood": problem.nll,
    }
    tests = sbc(samples, truth, quantities).tests
    return {what: [test.p, test.mean] for what, test in tests.items()}


def calibration(results: Results, arguments: argparse.Namespace) -> None:
    count = 100 if arguments.quick else arguments.problems
    print(
        f"{count} truths, a measurement of each at sigma_y {SIMULATED:g}, {DRAWS} draws. p-values "
        "of the test that ranks are uniform (mean rank over the number of draws, .5 if uniform).\n"
    )
    names = ["mask"] if arguments.quick else [*small_operators(), "identity"]
    printed, least, tests = None, 1.0, 0
    for name in names:
        row = results.cell(partial(ranked, name, count), table="sbc", operator=name, count=count)
        what = [key for key, value in row.items() if isinstance(value, list)]
        printed = Table("operator", *what) if printed is None else printed
        printed.row(name, *[f"{row[k][0]:.2g} ({row[k][1]:.3f})" for k in what])
        least, tests = min(least, *(row[k][0] for k in what)), tests + len(what)
    print()
    results.expect("sbc: least p-value times the number of tests", least * tests, least=LEVEL)


# -------------------------------------------------------------------------------------- time


def timed(side: int, steps: int, draws: int) -> Row:
    """CPU seconds and peak memory in MiB: of the draws that are made together, one, and all."""
    y = Picture((photo("coffee", side) + 0.1 * torch.randn(3, side, side)).clamp(0, 1))
    together = max(1, AT_ONCE // side**2)
    runs = ("batch", min(draws, together), 1), ("one", 1, steps), ("all", draws, steps)
    found: Row = {}
    for name, n, made in runs:
        start = time.process_time()
        restore(y, task="denoise", noise=0.1, steps=made, draws=n)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found[name] = [time.process_time() - start, peak]
    return found


def cost(results: Results, arguments: argparse.Namespace) -> None:
    side, steps, draws = (32, 2, 4) if arguments.quick else (256, 20, 16)
    key = {"side": side, "steps": steps, "draws": draws}
    row = results.cell(partial(timed, side, steps, draws), table="time", **key)
    (one, _), (every, peak), (_, least) = row["one"], row["all"], row["batch"]
    ratio = every / one
    print(
        f"{draws} draws of {steps} evaluations of a picture of {side} x {side}: "
        f"{every:.1f} s of CPU time, {ratio:.2f} times that of one ({one:.1f} s). Peak memory of "
        f"the process: {peak:.0f} MiB, and {least:.0f} MiB after one batch of draws.\n"
    )
    results.expect("time: draws over one, for each draw", ratio / draws, most=16.5 / 16)
    results.expect("time: peak memory over that of one batch", peak / least, most=1.1)


TABLES = {"coverage": coverage, "sbc": calibration, "time": cost}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--lanes", type=int, default=16, help="measurements of a cell")
    options.add_argument("--problems", type=int, default=500, help="of `sbc`")
    return run_tables("intervals", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

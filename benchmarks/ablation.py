"""Noise-aware RED-diff with one choice changed at a time; prints rows in Markdown.

    python benchmarks/ablation.py [fields|photos|unknown|all] [--variants NAMES...]

fields: a Gaussian random field (power spectrum |f|^-2.2, standard deviation 0.5, 64 x 64, double
precision), whose posterior is known: what is lost against the exact posterior mean, in dB of PSNR,
and the variance of last iterates over independent runs against the exact posterior's, in the
coordinates that y leaves open.
photos: PSNR in dB and LPIPS x 1000 with the photo prior; noise in units of [0, 1] pixels. On
`--images`, or on the photos of the package.
unknown: sigma_y as the solver found it, and what not knowing it costs.

A variant is a `Setting` of the loop in `ablation_loop.py`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from ablation_loop import Setting, run
from ablation_updates import View, admm, ball, gradient, proximal, tweedie
from common import (
    F64,
    FIELD,
    PHOTOS,
    SIGMAS,
    FieldCell,
    Results,
    Row,
    Table,
    box_mask,
    chosen,
    parser,
    per_level,
    photo,
    random_mask,
    run_tables,
    weak_operators,
)
from torch import Tensor
from torch.optim import SGD, Adam

from reddiff import Gaussian, Problem, UnknownGaussian, solve
from reddiff.images.io import read_picture
from reddiff.metrics import LPIPS, psnr
from reddiff.operators import (
    BlockMean,
    CircularBlur,
    Operator,
    SpectralOperator,
    gaussian_psf,
    motion_psf,
)
from reddiff.optim import MakeOptimizer
from reddiff.priors import photo_prior
from reddiff.solvers import NoiseAwareREDDiff

SIDE = 64
DRAWS = 8  # of the exact posterior, for its variance

# ------------------------------------------------------------------------------------- variants

MEAN = Setting(beta=0.8, rho=0.0)
FREE = Setting(beta=0.0, matched=False)
ADAM = {f"Adam, lr {lr:g}": partial(Adam, lr=lr) for lr in (0.02, 0.05, 0.1, 0.25, 0.5)}
HEAVY = {
    f"SGD, lr {lr:g}, momentum {m:g}": partial(SGD, lr=lr, momentum=m)
    for lr, m in ((0.1, 0.9), (0.5, 0.5))
}


def descent(make: MakeOptimizer, *, scaled: bool = False, diagonal: bool = False) -> Setting:
    return replace(FREE, update=partial(gradient, make=make, scaled=scaled, diagonal=diagonal))


GRID = ((0, 0.707), (0, 1), (0, 1.414), (0.167, 1), (0.5, 1), (0.5, 0.707), (0.8, 0.632))
VARIANTS: dict[str, Setting] = {
    "default": Setting(),
    **{f"seed {i}": Setting(seed=i) for i in (1, 2)},
    **{f"beta {beta:g}, rho {rho:g}": Setting(beta=beta, rho=rho) for beta, rho in GRID},
    "beta 0.8, rho 0.632, 200 steps": Setting(beta=0.8, rho=0.632, steps=200),
    **{f"rho 0, beta {beta:g}": replace(MEAN, beta=beta) for beta in (0, 0.4, 0.8, 0.9)},
    **{f"zeta {zeta:g}": Setting(zeta=zeta) for zeta in (0.5, 0.2)},
    "zeta 0.5, beta 0": Setting(zeta=0.5, beta=0),
    **{f"4 draws x {n} levels": Setting(draws=4, steps=n) for n in (12, 50)},
    **{f"tail {tail:g}": Setting(tail=tail) for tail in (0.1, 0.2, 0.4)},
    **{f"Karras, {p}": Setting(spacing=p) for p in (3, 7)},
    **{f"first level {first}": Setting(first=first) for first in (80, 5, 2)},
    "last level halved": Setting(last=0.5),
    "last level sigma_y": Setting(in_y=True),
    **{f"{n} steps": Setting(steps=n) for n in (10, 20, 100)},
    **{f"rho 0, beta 0.8, {n} steps": replace(MEAN, steps=n) for n in (10, 20, 100)},
    "hard": Setting(hard=True, update=partial(tweedie, fresh=False)),
    "rho 0, beta 0.8, hard": replace(MEAN, hard=True, update=partial(tweedie, fresh=False)),
    "proximal": Setting(matched=False, update=proximal),
    "rho 0, beta 0.8, proximal": replace(MEAN, matched=False, update=proximal),
    "rho 0, beta 0.8, proximal, halved": replace(MEAN, matched=False, update=proximal, last=0.5),
    "residual ball": Setting(matched=False, update=ball),
    "rho 0, beta 0.8, residual ball": replace(MEAN, matched=False, update=ball),
    **{f"ADMM, rho {rho:g}": replace(FREE, rho=rho, update=admm) for rho in (1, 0.5, 0)},
    **{name: descent(make) for name, make in ADAM.items()},
    **{f"{name}, diagonal": descent(make, diagonal=True) for name, make in ADAM.items()},
    **{f"{name}, scaled": descent(make, scaled=True) for name, make in HEAVY.items()},
    **{f"{name}, diagonal": descent(make, diagonal=True) for name, make in HEAVY.items()},
}


# --------------------------------------------------------------------------------------- tables


def operators(side: int, lanes: int) -> dict[str, SpectralOperator]:
    """All have a spectral form, so the weak ones as functions are left out."""
    found: dict[str, Operator] = {
        "mask": random_mask((side, side), range(lanes)),
        "box": box_mask((side, side)),
        "blur": CircularBlur(gaussian_psf(2.0, 6)),
        "SR x4": BlockMean(4),
        **weak_operators((side, side), 1, functions=False),
    }
    return {name: a.to(F64) for name, a in found.items()}


@dataclass(frozen=True, eq=False)
class Fields:
    """A cell, and the posterior's variance in the coordinates that y leaves open, of each level."""

    cell: FieldCell
    spread: Tensor

    @classmethod
    def of(cls, cell: FieldCell) -> Fields:
        draws = FIELD.posterior(cell.problem).sample(DRAWS)
        off = [x - cell.exact for x in draws.unbind(1)]
        squares = torch.stack([open_part(cell.problem, x).square() for x in off])
        return cls(cell, per_level(squares.mean(0)))

    def measure(self, c: Setting, runs: int) -> Row:
        """Per level the loss in dB, and the variance of last iterates over the posterior's."""
        problem, truth = self.cell.problem, self.cell.truth
        got = [run(c, problem, FIELD, copy) for copy in range(runs)]
        best = psnr(self.cell.exact, truth, 2.0)
        loss = torch.stack([per_level(best - psnr(x, truth, 2.0)) for x, _ in got]).mean(0)
        last = torch.stack([open_part(problem, x) for _, x in got])
        kept = per_level(last.var(0)) / self.spread
        return {"loss": loss.tolist(), "variance": [v if v == v else None for v in kept.tolist()]}


def open_part(problem: Problem, x: Tensor) -> Tensor:
    """x in the unmeasured coordinates, and zero in the others."""
    view = View.of(problem)
    return torch.where(view.seen, 0, view.operator.vt(x))


def fields(results: Results, arguments: argparse.Namespace) -> None:
    """Losses on average over levels, and variances on average over operators."""
    count, runs, side = (1, 2, 16) if arguments.quick else (arguments.fields, arguments.runs, SIDE)
    made = operators(side, len(SIGMAS) * count).items()
    cells = {name: Fields.of(FieldCell.of(name, a, count, side)) for name, a in made}
    variances = [f"variance, {sigma:g}" for sigma in SIGMAS]
    printed, means = Table("variant", *cells, "mean", "largest", *variances), {}
    key = {"table": "fields", "fields": count, "runs": runs, "side": side}
    for name, c in variants(arguments).items():
        rows = [
            results.cell(partial(cell.measure, c, runs), variant=name, operator=where, **key)
            for where, cell in cells.items()
        ]
        lost = torch.tensor([row["loss"] for row in rows])
        kept = [[torch.nan if v is None else v for v in row["variance"]] for row in rows]
        numbers = [*lost.mean(1), lost.mean(), lost.max(), *torch.tensor(kept).nanmean(0)]
        printed.row(name, *[f"{v:.2f}" for v in numbers])
        means[name] = float(lost.mean())
    print()
    if "default" in means:
        results.expect("fields: mean loss of the default, dB", means["default"], most=1.5)
    if "rho 0, beta 0.8" in means:
        zero = means["rho 0, beta 0.8"]
        results.expect("fields: mean loss at realism 0, dB", zero, most=0.1)


Cells = dict[str, Problem]


def photo_problems(arguments: argparse.Namespace) -> tuple[Tensor, Cells]:
    """The pictures in [0, 1], and the problem of each cell, of pictures in [-1, 1]."""
    paths = sorted(map(Path, arguments.images))
    pixels = [read_picture(p).pixels for p in paths] or [photo(name, SIDE) for name in PHOTOS]
    x = torch.stack(pixels)
    side = x.shape[-1]
    mask, sr = random_mask((side, side), range(len(x))), BlockMean(4)
    gaussian, motion = (CircularBlur(k.float()) for k in (gaussian_psf(1.6), motion_psf(9, 30)))
    weak = weak_operators((side, side), 3, functions=False)
    cells: tuple[tuple[str, Operator, float], ...] = (
        ("mask", mask, 0.01),
        ("mask", mask, 0.1),
        ("box", box_mask((side, side)), 0.05),
        ("SR x4", sr, 0.01),
        ("SR x4", sr, 0.1),
        ("blur", gaussian, 0.05),
        ("motion", motion, 0.05),
        *((name, a.float(), 0.05) for name, a in weak.items()),
    )
    problems = {
        f"{name} {noise:g}": Problem.simulate(2 * x - 1, a, Gaussian(2 * noise), seed=1)
        for name, a, noise in (cells[-3:] if arguments.quick else cells)
    }
    return x, problems


def score(x: Tensor, truth: Tensor, lpips: LPIPS) -> Row:
    """PSNR, and LPIPS x 1000."""
    x = ((x + 1) / 2).clamp(0, 1)
    return {"psnr": float(psnr(x, truth).mean()), "lpips": 1000 * float(lpips(x, truth).mean())}


def shown(row: Row) -> str:
    return f"{row['psnr']:.2f} / {row['lpips']:.0f}"


def photos(results: Results, arguments: argparse.Namespace) -> None:
    """PSNR in dB / LPIPS x 1000."""
    (truth, problems), lpips, prior = photo_problems(arguments), LPIPS(), photo_prior()
    printed = Table("variant", *problems, "mean")
    for name, c in variants(arguments).items():
        c = replace(c, steps=3) if arguments.quick else c
        key = {"table": "photos", "variant": name, "steps": c.steps, "images": arguments.images}
        got = [
            results.cell(lambda c=c, p=p: score(run(c, p, prior)[0], truth, lpips), cell=w, **key)
            for w, p in problems.items()
        ]
        mean = {k: sum(row[k] for row in got) / len(got) for k in ("psnr", "lpips")}
        printed.row(name, *map(shown, got), shown(mean))
    print()


def unknown(results: Results, arguments: argparse.Namespace) -> None:
    """The loss where sigma_y is not known."""
    (truth, problems), lpips, prior = photo_problems(arguments), LPIPS(), photo_prior()
    printed = Table("cell", "sigma_y", "found: median (range)", "known", "unknown")
    solver = NoiseAwareREDDiff.for_prior(prior, 10 if arguments.quick else 50)

    def compare(problem: Problem) -> Row:
        given = solve(problem, prior, solver)
        found = solve(replace(problem, noise=UnknownGaussian()), prior, solver)
        scores = {k: score(r.x, truth, lpips) for k, r in (("known", given), ("unknown", found))}
        return {"found": found.noise_level.flatten().tolist(), **scores}

    for name, problem in problems.items():
        key = {"cell": name, "steps": len(solver.schedule), "images": arguments.images}
        row = results.cell(partial(compare, problem), table="unknown", **key)
        sigma, level = torch.tensor(row["found"]), float(problem.noise.sigma)
        text = f"{sigma.median():.3f} ({sigma.min():.3f} to {sigma.max():.3f})"
        printed.row(name, f"{level:g}", text, shown(row["known"]), shown(row["unknown"]))
        off = float(sigma.median()) / level
        results.expect(f"unknown: {name}, found over true sigma_y", off, least=0.5, most=2)
    print()


QUICK = ("default", "rho 0, beta 0.8", "hard", "proximal", "ADMM, rho 1")


def variants(arguments: argparse.Namespace) -> dict[str, Setting]:
    return chosen(VARIANTS, arguments.variants, QUICK if arguments.quick else None)


TABLES = {"fields": fields, "photos": photos, "unknown": unknown}


def main() -> int:
    options = parser(__doc__, TABLES)
    options.add_argument("--images", nargs="+", default=[], metavar="FILE", help="of 64 x 64")
    options.add_argument("--variants", metavar="VARIANT", nargs="+", choices=VARIANTS)
    options.add_argument("--fields", type=int, default=4, help="of a cell (default 4)")
    options.add_argument("--runs", type=int, default=4, help="of each field (default 4)")
    return run_tables("ablation", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

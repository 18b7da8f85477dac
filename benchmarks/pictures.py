"""PSNR, SSIM and LPIPS of picture tasks on the photos in the package, every solver side by side.

All solvers restore the same measurement with the same prior and seed.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import torch
from common import PHOTOS, Results, Row, Table, parser, photo, run_tables, weak_operators

from reddiff import degrade, restore
from reddiff.images.comparison import compare
from reddiff.images.io import Picture
from reddiff.images.masks import make_mask
from reddiff.interop import door
from reddiff.priors import Prior
from reddiff.solvers.catalogue import METHODS

SIDE, QUICK_SIDE, QUICK_STEPS = 256, 64, 5
STRONG: dict[str, dict[str, Any]] = {
    "text mask": {"task": "inpaint", "mask": "text:lorem", "noise": 0.02},
    "70 % mask": {"task": "inpaint", "mask": "random:0.7", "noise": 0.02},
    "SR x4": {"task": "sr", "scale": 4, "noise": 0.02},
    "Gaussian blur 1.6": {"task": "deblur", "kernel": "gaussian:1.6", "noise": 0.02},
    "motion blur 15": {"task": "deblur", "kernel": "motion:15,30", "noise": 0.02},
    "noise": {"task": "denoise", "noise": 0.1},
}
TASKS = [*STRONG, *weak_operators((8, 8), 3)]


def settings(task: str, side: int) -> dict[str, Any]:
    """The arguments of `degrade` and `restore`."""
    if task not in STRONG:
        return {"task": weak_operators((side, side), 3)[task].float(), "noise": 0.02}
    found = dict(STRONG[task])
    if "mask" in found:
        found["mask"] = make_mask(str(found["mask"]), (side, side), seed=0)
    return found


def naive(y: Picture, scale: int) -> Picture:
    """The degraded picture, at the size of the truth."""
    if scale == 1:
        return y
    larger = torch.nn.functional.interpolate(y.pixels[None], scale_factor=scale, mode="bicubic")
    return Picture(larger[0].clamp(0, 1))


def scores(task: str, solver: str | None, steps: int | None, side: int, prior: Prior) -> Row:
    """Means over the photos: of the degraded pictures without a solver."""
    given, rows, evaluations = settings(task, side), [], 0
    for name in PHOTOS:
        truth = Picture(photo(name, side))
        y = degrade(truth, **given, seed=1)
        if solver is None:
            picture = naive(y, given.get("scale", 1))
        else:
            run = restore(y, **given, solver=solver, steps=steps, prior=prior)
            picture, evaluations = run.picture, run.reconstruction.cost.evaluations[0]
        rows.append(compare(picture, truth))
    mean = {k: sum(row[k] for row in rows) / len(rows) for k in rows[0]}
    return {**mean, "evaluations": evaluations}


def quality(results: Results, arguments: argparse.Namespace) -> None:
    side, steps = (QUICK_SIDE, QUICK_STEPS) if arguments.quick else (SIDE, arguments.steps)
    prior = door.prior(arguments.prior)
    print(f"mean over {', '.join(PHOTOS)} ({side} x {side})\n")
    columns = ("evaluations", "PSNR", "SSIM", "LPIPS", "seconds a picture")
    printed = Table("task", "solver", *columns)
    solvers = ["noise-aware"] if arguments.quick else arguments.solvers
    gains = {}
    for task in arguments.tasks:
        found = {}
        for solver in (None, *solvers):
            row = results.cell(
                partial(scores, task, solver, steps, side, prior),
                task=task,
                solver=solver,
                steps=steps,
                side=side,
                prior=arguments.prior,
            )
            found[solver] = row["psnr"]
            values = [f"{row['psnr']:.2f}", f"{row['ssim']:.3f}", f"{row['lpips']:.3f}"]
            seconds = f"{row['seconds'] / len(PHOTOS):.0f}"
            printed.row(task, solver or "degraded", str(row["evaluations"]), *values, seconds)
        if "noise-aware" in found:
            gains[task] = found["noise-aware"] - found[None]
    print()
    if gains:
        worst = min(gains, key=lambda task: gains[task])
        results.expect(f"least gain of noise-aware ({worst}), dB", gains[worst], least=0)


TABLES = {"quality": quality}


def main() -> int:
    options = parser(__doc__, TABLES, threads=torch.get_num_threads())
    options.add_argument("--solvers", nargs="+", default=list(METHODS), choices=list(METHODS))
    options.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    options.add_argument("--steps", type=int, help="instead of each solver's own default")
    options.add_argument("--prior", default="photo")
    return run_tables("pictures", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

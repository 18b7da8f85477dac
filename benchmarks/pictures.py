"""PSNR, SSIM and LPIPS of picture tasks on the photos in the package, every solver side by side.

All solvers see the same measurement, prior and seed. Nothing is chosen by looking at the truth.
"""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files

import torch

from reddiff import degrade, restore
from reddiff.images.comparison import compare
from reddiff.images.io import Picture, read_picture
from reddiff.images.masks import make_mask
from reddiff.images.presets import load_prior
from reddiff.solvers.catalogue import METHODS

PHOTOS = ("astronaut", "chelsea", "coffee")
TASKS = {
    "text mask": {"task": "inpaint", "mask": "text:lorem", "noise": 0.02},
    "70 % mask": {"task": "inpaint", "mask": "random:0.7", "noise": 0.02},
    "SR x4": {"task": "sr", "scale": 4, "noise": 0.02},
    "Gaussian blur 1.6": {"task": "deblur", "kernel": "gaussian:1.6", "noise": 0.02},
    "motion blur 15": {"task": "deblur", "kernel": "motion:15,30", "noise": 0.02},
    "noise": {"task": "denoise", "noise": 0.1},
}


def photo(name: str) -> Picture:
    with as_file(files("reddiff").joinpath(f"assets/photos/{name}.png")) as path:
        return read_picture(path)


def naive(y: Picture, scale: int) -> Picture:
    """The degraded picture, at the size of the truth."""
    if scale == 1:
        return y
    larger = torch.nn.functional.interpolate(y.pixels[None], scale_factor=scale, mode="bicubic")
    return Picture(larger[0].clamp(0, 1))


def row(label: str, values: list[dict[str, float]], evaluations: int, seconds: float) -> str:
    mean = {k: sum(v[k] for v in values) / len(values) for k in values[0]}
    text = f"| {label} | {evaluations} | {mean['psnr']:.2f} | {mean['ssim']:.3f} "
    return text + f"| {mean['lpips']:.3f} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solvers", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--steps", type=int, help="instead of each solver's own default")
    parser.add_argument("--prior", default="photo")
    args = parser.parse_args()
    prior = load_prior(args.prior)
    truths = {name: photo(name) for name in PHOTOS}
    print(f"mean over {', '.join(PHOTOS)} (256 x 256); {torch.get_num_threads()} threads")
    print("| task | solver | evaluations | PSNR | SSIM | LPIPS | seconds a picture |")
    print("|---|---|---|---|---|---|---|")
    for label in args.tasks:
        settings = dict(TASKS[label])
        if "mask" in settings:
            settings["mask"] = make_mask(str(settings["mask"]), (256, 256), seed=0)
        measured = {name: degrade(truth, **settings, seed=1) for name, truth in truths.items()}
        scale = settings.get("scale", 1)
        before = [compare(naive(measured[n], scale), truths[n]) for n in PHOTOS]
        print(row(f"{label} | degraded", before, 0, 0), flush=True)
        for solver in args.solvers:
            runs = {
                name: restore(y, **settings, solver=solver, steps=args.steps, prior=prior)
                for name, y in measured.items()
            }
            values = [compare(runs[n].picture, truths[n]) for n in PHOTOS]
            costs = [run.reconstruction.cost for run in runs.values()]
            seconds = sum(c.seconds for c in costs) / len(costs)
            print(row(f"{label} | {solver}", values, costs[0].evaluations[0], seconds), flush=True)


if __name__ == "__main__":
    main()

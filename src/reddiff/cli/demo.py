"""`reddiff demo`: a photo of which most pixels are lost, restored, in one picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

LOST = 0.7  # of the pixels
LR, WEIGHT = 0.25, 1.0  # the paper's settings for noisy inpainting


class Photo(StrEnum):
    """The photos in the package."""

    ASTRONAUT = "astronaut"
    CHELSEA = "chelsea"
    COFFEE = "coffee"


def demo(
    output: Annotated[Path, typer.Option(help="The folder the picture goes to.")] = Path("demo"),
    photo: Annotated[Photo, typer.Option(help="Which photo.")] = Photo.ASTRONAUT,
    noise: Annotated[
        float, typer.Option(min=0, help="Standard deviation of the noise, pixels in [0, 1].")
    ] = 0.025,
    steps: Annotated[int, typer.Option(min=1, help="Steps, one network evaluation each.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the mask and all noise.")] = 0,
) -> None:
    """Restore a photo from 30 % of its pixels, with noise, by RED-diff as published."""
    import torch

    from reddiff import Gaussian, Problem, solve
    from reddiff.figure import contact_sheet
    from reddiff.hooks import ProgressBar
    from reddiff.metrics import psnr
    from reddiff.operators import Mask
    from reddiff.priors import FFDNetPrior
    from reddiff.solvers import REDDiff

    truth = _load(photo)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(truth.shape[-2:], generator=generator) >= LOST
    problem = Problem.simulate(truth, Mask(kept), Gaussian(2 * noise), seed=seed)  # 2: [-1, 1]
    prior = FFDNetPrior()
    solver = REDDiff.paper(
        steps, lr=LR, weight=WEIGHT, sigma_min=prior.sigma_min, sigma_max=prior.sigma_max
    )
    output.mkdir(parents=True, exist_ok=True)  # before the work, in case it cannot be made
    result = solve(
        problem, prior, solver, seed=seed, hooks=[ProgressBar("restoring", transient=True)]
    )

    before, after = problem.guess().clamp(-1, 1), result.x.clamp(-1, 1)
    dB = [f"PSNR {float(psnr(x, truth, data_range=2)):.2f} dB" for x in (before, after)]
    lost = f"{100 * LOST:.0f} % of the pixels lost, noise {noise:g}"
    sheet = contact_sheet(
        [[_picture(x) for x in (before, after, truth)]],
        [[f"{lost}\n{dB[0]}", f"RED-diff, {steps} steps\n{dB[1]}", photo.value]],
        columns=["Before", "After", "Truth"],
    )
    path = output / "inpainting.png"
    sheet.save(path)
    low, high = prior.sigma_min, prior.sigma_max
    typer.echo(f"photo   {photo.value}, 256 x 256; {lost} (standard deviation, pixels in [0, 1])")
    typer.echo(f"prior   FFDNet, for levels {low:.4f} to {high:.4f} (pixels in [-1, 1])")
    typer.echo(f"solver  RED-diff as published: {steps} steps, lr {LR}, lambda {WEIGHT}")
    typer.echo(f"before  {dB[0]}, lost pixels grey")
    typer.echo(f"after   {dB[1]}, {result.report()}")
    typer.echo(f"saved   {path}")


def _load(photo: Photo) -> Tensor:
    """A photo of the package in [-1, 1], `(1, 3, h, w)`."""
    from importlib.resources import files

    import numpy as np
    import torch
    from PIL import Image

    with files("reddiff").joinpath(f"assets/photos/{photo.value}.png").open("rb") as file:
        pixels = np.asarray(Image.open(file).convert("RGB"))
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1


def _picture(x: Tensor) -> Image.Image:
    """The picture of x `(1, 3, h, w)` in [-1, 1]."""
    from PIL import Image

    pixels = ((x[0] + 1) * 127.5).round().clamp(0, 255).byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())

"""The picture-level door: a degraded picture in, the restored one out, in [0, 1] pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from reddiff.errors import InvalidArgument, require
from reddiff.hooks import Hook, Progress
from reddiff.images.arguments import (
    Kernel,
    Mask,
    Source,
    open_image,
    open_task,
    outside,
    take_number,
    take_prior,
    take_whole,
)
from reddiff.images.gray import for_channels, is_gray
from reddiff.images.io import Picture
from reddiff.images.jpeg_noise import jpeg_noise
from reddiff.images.noise_level import filled, grain, noise_level
from reddiff.images.presets import preset
from reddiff.images.tasks import Task
from reddiff.images.tasks.base import PIXELS
from reddiff.noise import Gaussian
from reddiff.operators import Operator
from reddiff.priors.base import Prior
from reddiff.priors.tiled import TiledPrior
from reddiff.problem import Problem
from reddiff.random import MEASURING, Keys
from reddiff.results import Reconstruction, Status
from reddiff.run.modes import ordinary
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solving import solve

# Half a gray level of 8 bits: no file of 8 bits is cleaner than that. Of finer steps less.
LEAST_ESTIMATE = 0.002
FLAT = 0.02  # the share of a picture from which on flat areas are spoken of
# Windows of 2 x 2 measured pixels, over all channels: the median of fewer is off by a third.
FEWEST_WINDOWS = 12


@dataclass(frozen=True, eq=False)
class Restored:
    """A restored picture.

    Arguments:
        picture: The result, with the alpha channel, bit depth and profile of what was given.
        noise: The noise level used, in [0, 1] pixel units.
        estimated: Whether it was estimated.
        residual_ratio: The rms of y - A(x) over the noise level: near 1 where x explains y, inf for
            a noise level of 0.
        reconstruction: The run.
        notes: What the user should know, in sentences, the warnings of the run included; levels
            are in [0, 1] pixel units there.
    """

    picture: Picture
    noise: float
    estimated: bool
    residual_ratio: float
    reconstruction: Reconstruction
    notes: tuple[str, ...]

    @property
    def pixels(self) -> Float[Tensor, "c h w"]:
        """The result in [0, 1]."""
        return self.picture.pixels


@ordinary
def restore(
    image: Source,
    *,
    task: str | Task | Operator,
    mask: Mask | None = None,
    scale: int | None = None,
    kernel: Kernel | None = None,
    noise: float | None = None,
    solver: str | Solver[Any] = "noise-aware",
    steps: int | None = None,
    realism: float | None = None,
    prior: str | Path | Prior = "photo",
    seed: int = 0,
    device: str | torch.device = "auto",
    tile: int = 512,
    hooks: Sequence[Hook] = (),
    preview: Callable[[int, Float[Tensor, "c h w"]], None] | None = None,
) -> Restored:
    """Restore a degraded picture.

    Arguments:
        image: The degraded picture: a file; a NumPy array `(h, w)` or `(h, w, c)` of uint8,
            uint16 or floats in [0, 1], which noise may carry a little further; a PIL image; a
            tensor `(c, h, w)` of such floats; or a `Picture`. For `inpaint`, missing pixels may
            be NaN or masked (`numpy.ma`).
        task: What was done to it: a name in `tasks.TASKS`, such as `jpeg:10`, a `Task`, or an
            `Operator` on pixels in [0, 1]. `jpeg` alone takes the quality from the file.
        mask: For `inpaint`, where the picture is good: `(h, w)` or `(1, h, w)`, an array or tensor
            of 0 and 1; a PIL image or a file, white where it is good; or a text such as
            `random:0.7`. Missing pixels of `image` are the mask if there is none.
        scale: For `sr`: how many times larger the result is.
        kernel: For `deblur`: the PSF `(kh, kw)` as an array, a tensor, a PIL image or a file; or a
            text such as `gaussian:1.6`.
        noise: The standard deviation of the noise in [0, 1] pixel units. If None it is estimated
            from the picture, or during the run where the picture shows too little. 0 is the limit
            of little noise: what y does not measure comes from the prior.
        solver: A name in `solvers.catalogue.METHODS`, or a `Solver` (in [-1, 1] units).
        steps: The number of steps; if None, the solver's own default, and 1 where `noise-aware`
            denoises at a known level, as more give the same. Not for a `Solver`.
        realism: For `noise-aware`: from 1/2, the most faithful, to 1, a draw from the posterior.
        prior: A name in `catalogue.PRIORS`, a .safetensors file, or a `Prior` on RGB in [-1, 1]
            (of which gray pictures take the `GrayPrior`) or on one channel.
        seed: The seed of all randomness.
        device: `cpu`, `cuda` or another device of torch; `auto` takes CUDA where there is one.
        tile: Larger pictures are shown to the network in overlapping tiles of this side.
        hooks: Called after every step.
        preview: Called with the number of steps made and the estimate in [0, 1], after each.

    Raises:
        InvalidArgument: If an argument cannot be used, before any network evaluation.
        PictureError: If the image cannot.
        WeightsError: If the weights file does not fit.
    """
    notes: list[str] = []
    seed, noise, steps, realism, tile = _numbers(seed, noise, steps, realism, tile)
    opened = open_image(image)
    degraded = opened.picture
    notes += degraded.notes
    task = open_task(
        task, image, opened, mask=mask, scale=scale, kernel=kernel, seed=seed, notes=notes
    )
    where = _device(device)
    pixels, task = _once(degraded, task, notes)
    y, operator = task.data(pixels)[None].to(where), task.operator(pixels).to(where)
    level, estimated = _noise(noise, pixels, degraded, task, notes)
    problem = Problem(y, operator, task.noise(level))
    notes += _doubts(problem, estimated, task.unit) + outside(pixels, task.seen(pixels), level)
    network = take_prior(prior).to(where)
    network = for_channels(network, problem.x_shape)
    method = _solver(solver, steps, realism, task, problem, network)
    if level is None and not method.estimates_noise:
        expected = "a level (--noise), as the picture measures too little to estimate it"
        raise InvalidArgument("noise", expected=expected, got="none")

    def finish(x: Tensor) -> Tensor:
        out = ((task.picture(x, pixels) + 1) / 2).clamp(0, 1).cpu()
        return out.expand(max(len(out), len(degraded.pixels)), -1, -1).contiguous()

    watch = [] if preview is None else [_Preview(preview, finish)]
    tiled = TiledPrior(network, tile, min(64, tile // 4))
    run = solve(problem, tiled, method, seed=seed, hooks=[*hooks, *watch], progress=False)
    if level is None:
        level = PIXELS * float(run.noise_level)
        notes.append(f"The noise was estimated during the run: {level:.4f} in [0, 1] pixel units.")
    notes += _warnings(run, task.unit)
    return Restored(
        picture=replace(
            degraded, pixels=finish(run.x[0]), alpha=_alpha(degraded.alpha, task.scale)
        ),
        noise=level,
        estimated=estimated,
        residual_ratio=float(run.residual_ratio),
        reconstruction=run,
        notes=tuple(notes),
    )


@ordinary
def degrade(
    image: Source,
    *,
    task: str | Task | Operator,
    mask: Mask | None = None,
    scale: int | None = None,
    kernel: Kernel | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Picture:
    """Simulate a measurement of a picture: the task's operator and noise, clipped to [0, 1].

    Noise comes last, but for `hdr`, `quantise` and `jpeg`: before clipping, rounding, compression.

    Arguments:
        image: The picture, as for `restore`.
        task: As for `restore`.
        mask: For `inpaint`, as for `restore`.
        scale: For `sr`.
        kernel: For `deblur`, as for `restore`.
        noise: The standard deviation of the noise in [0, 1] pixel units.
        seed: The seed of the noise.

    Raises:
        InvalidArgument: If an argument cannot be used.
        PictureError: If the image cannot.
    """
    seed, level, _, _, _ = _numbers(seed, noise, None, None, 0)
    noise = 0.0 if level is None else level
    opened = open_image(image)
    picture = opened.picture
    task = open_task(
        task, image, opened, mask=mask, scale=scale, kernel=kernel, seed=seed, notes=[]
    )
    good = math.isfinite(noise) and 0 <= noise <= 1
    require(good, "noise", expected="a level in [0, 1] pixel units", got=noise)
    y = task.sense(picture.pixels, noise, Keys(seed, (0,)).at(MEASURING))
    alpha = picture.alpha
    if alpha is not None and task.scale > 1:
        alpha = task.degrade(alpha)
    return replace(picture, pixels=y.clamp(0, 1), alpha=alpha)


class _Preview(Hook):
    """Hands every estimate on as a picture."""

    def __init__(
        self, show: Callable[[int, Tensor], None], finish: Callable[[Tensor], Tensor]
    ) -> None:
        self.show, self.finish = show, finish

    def __call__(self, progress: Progress) -> None:
        """Show the estimate."""
        self.show(progress.step, self.finish(progress.x[0]))


def _once(picture: Picture, task: Task, notes: list[str]) -> tuple[Tensor, Task]:
    """The channels that were measured, one of a picture that is gray; and the task of them."""
    pixels = picture.pixels
    if not task.adds_colour and len(pixels) == 3:
        seen = task.seen(pixels)
        if picture.alpha is not None:
            seen = seen & (picture.alpha > 0)
        alike = bool((seen == seen[:1]).all())
        if alike and is_gray(pixels, seen):
            apart = float(((pixels.amax(0) - pixels.amin(0)) * seen.all(0)).max())
            how = "equal" if apart == 0 else f"equal up to {255 * apart:.2g} of 255 levels"
            notes.append(f"The three channels are {how}: restored as gray, measured once.")
            pixels = pixels[:1] if apart == 0 else task.gray(pixels)
    return pixels, task.of_gray() if len(pixels) == 1 else task


def _numbers(
    seed: int, noise: float | None, steps: int | None, realism: float | None, tile: int
) -> tuple[int, float | None, int | None, float | None, int]:
    """The same as Python's numbers, whatever kind of number they are."""
    return (
        take_whole("seed", seed) or 0,
        take_number("noise", noise),
        take_whole("steps", steps),
        take_number("realism", realism),
        take_whole("tile", tile) or 0,
    )


def _device(name: str | torch.device) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected = "a device torch can use"
    try:
        device = torch.device(name)
        works = float(torch.ones(1, device=device)) == 1  # `meta` has no values
    except Exception as error:
        raise InvalidArgument("device", expected=expected, got=repr(name)) from error
    require(works, "device", expected=expected, got=repr(name))
    return device


def _noise(
    given: float | None, y: Tensor, picture: Picture, task: Task, notes: list[str]
) -> tuple[float | None, bool]:
    """The level, None if the run has to find it; and whether it was not given."""
    if given is not None:
        good = math.isfinite(given) and 0 <= given <= 1
        require(good, "noise", expected="a level in [0, 1] pixel units", got=given)
        return given, False
    if task.level is not None:
        notes.append(f"Beside what the task does, the noise was taken as {task.level:g}.")
        return task.level, True
    plain, seen = task.plain(y)
    if picture.alpha is not None and plain.shape[1:] == y.shape[1:]:
        seen = seen & (picture.alpha > 0)  # what is transparent may be anything
    if _windows(plain, seen[None]) < FEWEST_WINDOWS:
        if task.otherwise is not None:
            notes.append(f"The picture shows no noise level: it was taken as {task.otherwise:g}.")
        return task.otherwise, True
    level = float(noise_level(plain[None], seen[None]))
    if plain is y:
        coded = jpeg_noise(y, seen, known=picture.format == "JPEG")
        level = level if coded is None else coded
    flat = float((filled(plain, seen) & seen).sum() / seen.sum())
    least = LEAST_ESTIMATE * min(1.0, round(255 * grain(plain, seen), 4))
    if level > least:
        without = f" (without the {flat:.0%} of it that is flat)" if flat > FLAT else ""
        words = f"{level:.4f} in [0, 1] pixel units{without}"
        notes.append(f"The noise was estimated from the picture: {words}.")
        return level, True
    flat_too = f" ({flat:.0%} of it is flat)" if flat > FLAT else ""
    notes.append(
        f"No noise could be estimated: the picture shows none beyond its rounding{flat_too}. "
        f"It was taken as {least:.2g} in [0, 1] pixel units; give the level if there is more."
    )
    return least, True


def _windows(y: Tensor, seen: Tensor) -> int:
    """The windows of 2 x 2 pixels, all of them measured, that `noise_level` can look at."""
    if min(y.shape[-2:]) < 2:
        return 0
    return int((max_pool2d((~seen).to(y), 2) == 0).sum())


def _doubts(problem: Problem, estimated: bool, unit: float) -> list[str]:
    """Notes on a noise level that is not what this y seems to have."""
    if not isinstance(problem.noise, Gaussian):
        return []
    sigma = float(problem.noise.sigma)
    if sigma == 0 and int(problem.count) < math.prod(problem.x_shape):
        return [
            "With noise 0 the result follows the picture exactly where it is measured; the rest "
            "comes from the prior alone."
        ]
    signal = math.sqrt(max(float(problem.y[problem.measured].var(correction=0)) - sigma**2, 0))
    if estimated or sigma <= signal:
        return []
    return [
        f"The noise level given, {unit * sigma:.2g}, is larger than what the picture shows "
        f"beyond it, {unit * signal:.2g}: most of the result comes from the prior."
    ]


def _warnings(run: Reconstruction, unit: float) -> list[str]:
    """What the run has to say, in pixel units."""
    words = [finding.words(unit) for finding in run.findings]
    status = Status(int(run.status))
    if status == Status.DIVERGED:
        words.append(f"diverged at step {int(run.steps)}: {status.sentence.rstrip('.')}")
    return [f"{text[0].upper()}{text[1:]}." for text in words]


def _solver(
    solver: str | Solver[Any],
    steps: int | None,
    realism: float | None,
    task: Task,
    problem: Problem,
    prior: Prior,
) -> Solver[Any]:
    if isinstance(solver, Solver):
        require(steps is None, "steps", expected="None beside a Solver object", got=steps)
        method = solver
    else:
        method = preset(solver, task.name, prior, problem, steps, realism)
    if realism is None:
        return method
    if not isinstance(method, NoiseAwareREDDiff):
        expected = "None beside any solver but noise-aware"
        raise InvalidArgument("realism", expected=expected, got=realism)
    return replace(method, realism=realism)


def _alpha(alpha: Tensor | None, scale: int) -> Tensor | None:
    if alpha is None or scale == 1:
        return alpha
    larger = interpolate(alpha[None], scale_factor=scale, mode="bicubic")
    return larger[0].clamp(0, 1)

"""Restore pictures, with pixels in [0, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff.errors import InvalidArgument, require
from reddiff.hooks import Hook, Progress
from reddiff.images.arguments import Source, keywords, open_image, open_task, outside
from reddiff.images.conversions import take_numbers
from reddiff.images.latents import pictures_of
from reddiff.images.level import choose_level, doubts
from reddiff.images.presets import preset
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings
from reddiff.images.tasks import Task
from reddiff.images.tasks.base import PIXELS
from reddiff.interop import door
from reddiff.operators import Identity, Operator
from reddiff.priors.adapting import adapted
from reddiff.priors.base import Prior
from reddiff.priors.latent import LatentPrior
from reddiff.priors.tiled import TiledPrior
from reddiff.problem import Problem
from reddiff.results import Finding, Reconstruction, Status
from reddiff.run.modes import ordinary
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.solving import solve
from reddiff.uncertainty import sample_posterior

Preview = Callable[[int, Float[Tensor, "c h w"]], None]


@dataclass(frozen=True, kw_only=True)
class _Restoration(Settings):
    """The arguments of `restore`: the settings, and callbacks."""

    hooks: Sequence[Hook] = ()
    preview: Preview | None = None


@keywords(_Restoration)
def restore(image: Source, settings: _Restoration) -> Restored:
    """Restore a degraded picture.

    Arguments:
        image: The degraded picture: a file; a NumPy array `(h, w)` or `(h, w, c)` of uint8,
            uint16 or floats in [0, 1], which noise may carry a little further; a PIL image; a
            tensor `(c, h, w)` of such floats; or a `Picture`. For `inpaint`, missing pixels may
            be NaN or masked (`numpy.ma`), and are the mask if no other is given.
        settings: The fields of `Settings` as keyword arguments; only `task` is required. Beside
            them, `hooks` are called after every step, and `preview` is called after each with the
            number of steps made and the estimate in [0, 1].

    Raises:
        InvalidArgument: If an argument cannot be used, before any network evaluation.
        PictureError: If the image cannot be read.
        WeightsError: If the weights file does not fit.
    """
    return restore_with(image, settings, hooks=settings.hooks, preview=settings.preview)


@ordinary
def restore_with(
    image: Source,
    settings: Settings,
    *,
    hooks: Sequence[Hook] = (),
    preview: Preview | None = None,
    lane: int = 0,
) -> Restored:
    """`restore`, with the settings in one object, and the id of its one lane."""
    settings = take_numbers(settings)
    notes: list[str] = []
    opened = open_image(image, settings)
    degraded = opened.picture
    notes += degraded.notes
    task = open_task(image, opened, settings, notes)
    where = _device(settings.device)
    reading = task.reading(degraded.pixels, degraded.alpha)
    pixels, unit = reading.pixels, reading.unit
    notes += _gray(reading.apart)
    level, estimated = choose_level(settings.noise, pixels, degraded, task, notes)
    problem = task.problem(pixels, level)
    problem = replace(problem, y=problem.y.to(where), operator=problem.operator.to(where))
    notes += doubts(problem, estimated, unit) + outside(pixels, reading.measured, level)
    network = _prior(settings.prior).to(where)
    decode: Operator = Identity()
    if isinstance(network, LatentPrior):
        expected = "none with a prior of latents, whose mean is not that of the pictures"
        require(settings.draws is None, "draws", expected=expected, got=settings.draws)
        decode = pictures_of(network, problem)
        problem = problem.pullback(decode)
    network = adapted(network, problem.x_shape)
    method = _solver(settings, task, problem, network)
    if level is None and not method.estimates_noise:
        expected = "a level (--noise), as too few pixels are measured to estimate it"
        raise InvalidArgument("noise", expected=expected, got="none")

    @torch.no_grad()
    def finish(estimate: Tensor) -> Tensor:
        x = decode(estimate[None])[0]
        out = ((task.image(x, pixels) + 1) / 2).clamp(0, 1).cpu()
        return out.expand(max(len(out), len(degraded.pixels)), -1, -1).contiguous()

    watch = [] if preview is None else [_Preview(preview, finish)]
    if None in network.shape[1:] and not isinstance(network, LatentPrior):
        network = TiledPrior(network, settings.tile, min(64, settings.tile // 4))
    if settings.draws is None:
        run = solve(
            problem,
            network,
            method,
            seed=settings.seed,
            ids=[lane],
            hooks=[*hooks, *watch],
            progress=False,
        )
    else:
        run = sample_posterior(
            problem,
            network,
            settings.draws,
            solver=method,
            seed=settings.seed,
            ids=[lane],
            hooks=[*hooks, *watch],
        )
    if level is None:
        level = PIXELS * float(run.noise_level.nanmean())
        notes.append(f"The noise was estimated during the run: {level:.4f} in [0, 1] pixel units.")
    notes += _warnings(run, unit)
    restored = finish(run.x[0])
    if isinstance(network, LatentPrior):
        made = tuple(n + 1 for n in run.cost.decodings)  # and that of the result
        run = replace(run, cost=replace(run.cost, decodings=made))
    return Restored(
        picture=replace(degraded, pixels=restored, alpha=_resized(degraded.alpha, restored)),
        noise=level,
        estimated=estimated,
        residual_ratio=float(run.residual_ratio.nanmean()),
        reconstruction=run,
        as_pixels=finish,
        notes=tuple(notes),
    )


class _Preview(Hook):
    """Pass every estimate on as a picture."""

    def __init__(self, show: Preview, finish: Callable[[Tensor], Tensor]) -> None:
        self.show, self.finish = show, finish

    def __call__(self, progress: Progress) -> None:
        self.show(progress.step, self.finish(progress.x[0]))


def _prior(source: object) -> Prior:
    try:
        return door.prior(source)
    except InvalidArgument as error:
        if isinstance(source, str | Path) or not callable(source):
            raise
        expected = "a prior: reddiff.prior(network, ...) makes one, which asks for more"
        raise InvalidArgument("prior", expected=expected, got=str(error)) from error


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


def _warnings(run: Reconstruction, unit: float) -> list[str]:
    """The findings of the run, in pixel units."""
    runs = run.status.numel()
    alike: dict[str, list[Finding]] = {}
    for finding in run.findings:
        alike.setdefault(re.sub(r"[\d.]+", "", finding.text), []).append(finding)
    words = []
    for first, *more in alike.values():
        some = "" if first.run is None else f"in {1 + len(more)} of {runs} draws: "
        words.append(some + first.words(unit))
    failed = run.status == Status.DIVERGED
    if bool(failed.any()):
        step, sentence = int(run.steps[failed].min()), Status.DIVERGED.sentence.rstrip(".")
        some = "" if runs == 1 else f"{int(failed.sum())} of {runs} draws, which were left out, "
        words.append(f"{some}diverged at step {step}: {sentence}")
    return [f"{text[0].upper()}{text[1:]}." for text in words]


def _solver(settings: Settings, task: Task, problem: Problem, prior: Prior) -> Solver[Any]:
    solver, steps, realism = settings.solver, settings.steps, settings.realism
    if settings.draws is not None and realism is None and solver == "noise-aware":
        realism = 1.0
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


def _resized(alpha: Tensor | None, like: Tensor) -> Tensor | None:
    """The alpha channel, in the size of the result."""
    size = tuple(like.shape[1:])
    if alpha is None or tuple(alpha.shape[1:]) == size:
        return alpha
    return interpolate(alpha[None], size, mode="bicubic")[0].clamp(0, 1)


def _gray(apart: float | None) -> list[str]:
    if apart is None:
        return []
    how = "equal" if apart == 0 else f"equal up to {255 * apart:.2g} of 255 levels"
    return [f"The three channels are {how}: restored as gray, measured once."]

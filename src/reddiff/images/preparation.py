"""All that precedes the run of a restoration, and what follows it, for one picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff.errors import InvalidArgument, require
from reddiff.images.arguments import Source, open_image, open_task, outside
from reddiff.images.devices import as_device
from reddiff.images.io import Picture
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
from reddiff.solvers.base import Solver
from reddiff.solvers.noise_aware import NoiseAwareREDDiff
from reddiff.uncertainty.information import prior_std


@dataclass(frozen=True, eq=False)
class Ready:
    """A picture as a problem, ready to be solved.

    Arguments:
        problem: The problem, of one lane.
        prior: The prior, adapted to it.
        solver: The method.
        degraded: The degraded picture.
        noise: The noise level in [0, 1] pixel units; None if the run has to estimate it.
        estimated: Whether it was estimated.
        unit: One unit of y, in [0, 1] pixels.
        notes: What there is to say before the run, in sentences.
        finish: From an x of the reconstruction, without the lane axis, to a picture in [0, 1].
    """

    problem: Problem
    prior: Prior
    solver: Solver[Any]
    degraded: Picture
    noise: float | None
    estimated: bool
    unit: float
    notes: tuple[str, ...]
    finish: Callable[[Tensor], Tensor]

    def result(self, run: Reconstruction) -> Restored:
        """The restored picture of a run of one lane."""
        level, notes = self.noise, [*self.notes]
        if level is None:
            level = PIXELS * float(run.noise_level.nanmean())
            notes += [f"The noise was estimated during the run: {level:.4f} in [0, 1] pixel units."]
        notes += _warnings(run, self.unit)
        restored = self.finish(run.x[0])
        if isinstance(self.prior, LatentPrior):
            made = tuple(n + 1 for n in run.cost.decodings)  # and that of the result
            run = replace(run, cost=replace(run.cost, decodings=made))
        alpha = _resized(self.degraded.alpha, restored)
        return Restored(
            picture=replace(self.degraded, pixels=restored, alpha=alpha),
            noise=level,
            estimated=self.estimated,
            residual_ratio=float(run.residual_ratio.nanmean()),
            reconstruction=run,
            as_pixels=self.finish,
            notes=tuple(notes),
            prior_std=prior_std(self.prior, run.x[0]) if run.usable.shape[1] > 1 else None,
        )


def prepare(image: Source, settings: Settings) -> Ready:
    """The problem, prior and solver of a picture.

    Raises:
        InvalidArgument, PictureError, WeightsError: As for `restore`.
    """
    opened = open_image(image, settings)
    degraded, notes = opened.picture, [*opened.picture.notes]
    task = open_task(image, opened, settings, notes)
    where = as_device(settings.device)
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
    def finish(estimate: Tensor) -> Float[Tensor, "c h w"]:
        x = decode(estimate[None])[0]
        out = ((task.image(x, pixels) + 1) / 2).clamp(0, 1).cpu()
        return out.expand(max(len(out), len(degraded.pixels)), -1, -1).contiguous()

    if None in network.shape[1:] and not isinstance(network, LatentPrior):
        network = TiledPrior(network, settings.tile, min(64, settings.tile // 4))
    return Ready(problem, network, method, degraded, level, estimated, unit, tuple(notes), finish)


def _prior(source: object) -> Prior:
    try:
        return door.prior(source)
    except InvalidArgument as error:
        if isinstance(source, str | Path) or not callable(source):
            raise
        expected = "a prior: reddiff.prior(network, ...) makes one, which asks for more"
        raise InvalidArgument("prior", expected=expected, got=str(error)) from error


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
    if bool((failed := run.status == Status.DIVERGED).any()):
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
    if alpha is None or alpha.shape[1:] == like.shape[1:]:
        return alpha
    return interpolate(alpha[None], tuple(like.shape[1:]), mode="bicubic")[0].clamp(0, 1)


def _gray(apart: float | None) -> list[str]:
    if apart is None:
        return []
    how = "equal" if apart == 0 else f"equal up to {255 * apart:.2g} of 255 levels"
    return [f"The three channels are {how}: restored as gray, measured once."]

"""Findings about noise level, weights and range of a network, from its denoising errors."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.priors.paths import Path
from reddiff.probing import behavior
from reddiff.probing.measuring import MOST, Trial, gain, tried
from reddiff.probing.paths import longer
from reddiff.probing.report import Finding
from reddiff.probing.variants import Variant

HIDDEN = 5.0  # noise level, in standard deviations of the images, at which they hardly show
BEYOND = (2.0, 4.0)  # multiples of the highest level to try
TRIVIAL = 1.0  # tolerance in dB relative to linear shrinkage of x


def level(given: Variant, trial: Trial, after: Tensor) -> list[Finding]:
    """Whether the network ignores its noise level; a mistake unless it denoises at all levels."""
    if not behavior.ignores_level(given, trial):
        return []
    lost = -gain(trial.linear(), after.mean(1, keepdim=True))
    worst = int(lost.argmax())
    numbers = {"loss in dB": float(lost[worst]), "at level": float(trial.levels[worst])}
    same = "the output of the network does not depend on the noise level"
    if float(lost[worst]) <= TRIVIAL:
        return [Finding("level", f"{same}: a blind denoiser.", numbers, wrong=False)]
    sentence = (
        f"{same}, and at level {trial.levels[worst]:.3g} its error is {float(lost[worst]):.1f} dB "
        "above that of shrinking x. Is t passed on to it?"
    )
    return [Finding("level", sentence, numbers)]


def nothing_denoises(trial: Trial, after: Tensor) -> list[Finding]:
    """Whether none of the wirings denoises."""
    lost = float(-gain(trial.linear(), after.mean(1, keepdim=True)).mean())
    if lost <= TRIVIAL:
        return []
    sentence = (
        f"no wiring that was tried denoises: the error is {lost:.1f} dB above that of shrinking x. "
        "Are the weights loaded, and are the images like those it was trained on?"
    )
    return [Finding("denoising", sentence, {"loss in dB": lost})]


def range_ends(best: Variant, trial: Trial) -> list[Finding]:
    """Whether the range of levels ends where images are still visible."""
    high, std = best.like.sigma_max, float(trial.images.double().std()) or 1.0
    if high >= HIDDEN * std:
        return []
    numbers = {"highest level": high, "standard deviation of the images": std}
    ends = f"the range ends at level {high:.3g}, where images (of deviation {std:.2g}) still show"
    scale = 1.0 if best.units is None else best.units.scale
    path = longer(best.path, high * scale)
    if path is not None:
        above = [f * high for f in BEYOND if f * high * scale <= path.sigma_max]
        lost = _beyond(best, path, Trial(trial.images, torch.tensor(above, dtype=torch.float64)))
        if lost <= 0:
            sentence = (
                f"{ends}, and the network is good beyond it: up to level {above[-1]:.3g} its "
                f"error is {-lost:.1f} dB or more below that of shrinking x. Give the whole "
                "schedule, or levels=(low, high)."
            )
            return [Finding("range", sentence, numbers | {"gain in dB": -lost})]
    sentence = f"{ends}: solvers that start from noise alone start there."
    return [Finding("range", sentence, numbers, wrong=False)]


def _beyond(best: Variant, path: Path, trial: Trial) -> float:
    """The error relative to that of linear shrinkage of x, in dB at the worst level."""
    prior = Variant(best.net, best.like, best.prediction, path, best.units, best.flipped).prior
    after = tried(trial, prior)
    if after is None or not len(after):
        return MOST
    return float((-gain(trial.linear(), after.mean(1, keepdim=True))).max())

"""The noise level of a restoration: given, estimated from the picture, or left to the run."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import max_pool2d

from reddiff.images.io import Picture
from reddiff.images.noise_estimation import filled, grain, noise_level
from reddiff.images.noise_in_jpeg import jpeg_noise
from reddiff.images.tasks import Task
from reddiff.noise import Gaussian
from reddiff.problem import Problem

# Half a gray level of 8 bits, the least noise of a file of 8 bits; less for finer levels.
LEAST_ESTIMATE = 0.002
FLAT = 0.02  # flat areas are mentioned in the notes if they cover a larger fraction of the picture
# Fewest windows of 2 x 2 measured pixels, over all channels: with fewer, the estimate is off by a
# third.
FEWEST_WINDOWS = 12


def choose_level(
    given: float | None, y: Tensor, picture: Picture, task: Task, notes: list[str]
) -> tuple[float | None, bool]:
    """The noise level (None if the run has to estimate it), and whether it is estimated."""
    if given is not None:
        return given, False
    sample = task.noise_sample(y)
    if sample is None:
        notes.append("Assumed no noise beyond the rounding that the task already models.")
        return 0.0, True
    plain, seen = sample.pixels, sample.measured
    if picture.alpha is not None and plain.shape[1:] == y.shape[1:]:
        seen = seen & (picture.alpha > 0)  # transparent pixels may have any value
    if _windows(plain, seen[None]) < FEWEST_WINDOWS:
        if sample.fallback is not None:
            notes.append(f"No noise level could be estimated: assumed {sample.fallback:g}.")
        return sample.fallback, True
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
        f"Assumed {least:.2g} in [0, 1] pixel units; give the level if there is more noise."
    )
    return least, True


def _windows(y: Tensor, seen: Tensor) -> int:
    """The number of fully measured windows of 2 x 2 pixels, from which `noise_level` estimates."""
    if min(y.shape[-2:]) < 2:
        return 0
    return int((max_pool2d((~seen).to(y), 2) == 0).sum())


def doubts(problem: Problem, estimated: bool, unit: float) -> list[str]:
    """Notes on a noise level that does not fit y."""
    if not isinstance(problem.noise, Gaussian):
        return []
    sigma = float(problem.noise.sigma)
    if sigma == 0 and int(problem.count) < math.prod(problem.x_shape):
        return [
            "With noise 0 the result agrees exactly with the measured pixels; all else is "
            "determined by the prior."
        ]
    signal = math.sqrt(max(float(problem.y[problem.measured].var(correction=0)) - sigma**2, 0))
    if estimated or sigma <= signal:
        return []
    return [
        f"The noise level given, {unit * sigma:.2g}, is larger than the standard deviation of the "
        f"picture without noise, {unit * signal:.2g}: the prior determines most of it."
    ]

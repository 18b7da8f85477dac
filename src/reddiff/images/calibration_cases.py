"""Scores of the intervals of draws, from restored pictures whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.images.places import STRATA, strata
from reddiff.images.restored import Restored
from reddiff.metrics.draws import Interval, central_interval, moments
from reddiff.random import DRAWING, Keys

FLOOR = 0.5 / 255  # added to half widths, so that they are positive where all draws agree
MOST_PIXELS = 20_000  # of a picture whose scores are kept


@dataclass(frozen=True, eq=False)
class Case:
    """The scores of one picture."""

    scores: tuple[Float[Tensor, " _"], ...]  # by stratum
    regions: Float[Tensor, " r"]
    mse: float  # over that predicted
    inside: float  # of the intervals of the draws as they are
    width: float
    widths: tuple[float, ...]  # by stratum, with the floor, over the pixels of the whole picture
    features: Float[Tensor, " f"]


def case_of(result: Restored, truth: Tensor, level: float, seed: int) -> Case:
    """The scores of a restored picture, whose random choices follow from the seed."""
    size = [min(a, b) for a, b in zip(result.pixels.shape, truth.shape, strict=True)]
    c, h, w = size  # enlarged pictures may be larger than the truth
    ends, x = result.interval(level), truth[:c, :h, :w]
    center, below, above = (v[:c, :h, :w] for v in halves(result, ends))
    error = x - center
    ratio = error.abs() / torch.where(error < 0, below, above)
    place = strata(result.pixels)[:h, :w].expand(c, -1, -1)
    rng = Keys(seed, (0,)).at(DRAWING)
    kept = rng.rand_like(torch.empty(1, ratio.numel()))[0] < MOST_PIXELS / ratio.numel()
    flat, where = ratio.flatten(), place.flatten()
    low, high = (end[:c, :h, :w] for end in ends)
    inside = (x >= low) & (x <= high)
    return Case(
        scores=tuple(flat[kept & (where == i)].float() for i in range(len(STRATA))),
        regions=_region_scores(result, truth, level, (h, w), seed),
        mse=float(error.square().mean()) / predicted_mse(result),
        inside=float(inside.double().mean()),
        width=float(ends.width.mean()),
        widths=tuple(
            float((below + above)[place == i].sum()) / place.numel() for i in range(len(STRATA))
        ),
        features=features_of(result),
    )


def halves(result: Restored, ends: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """The center of the intervals of the draws, and the half widths below and above it."""
    center = result.pixels
    below, above = (d.clamp(min=0) + FLOOR for d in (center - ends.low, ends.high - center))
    return center, below, above


def _region_scores(
    result: Restored, truth: Tensor, level: float, size: tuple[int, int], seed: int
) -> Tensor:
    """The score of the mean over a random box, of a side from 4 pixels to half the picture."""
    h, w = size
    u = Keys(seed, (1,)).at(DRAWING).rand_like(torch.empty(1, 3))[0].tolist()
    most = max(4, min(h, w) // 2)
    side = min(h, w, round(4 * (most / 4) ** u[0]))
    top, left = int(u[1] * (h - side + 1)), int(u[2] * (w - side + 1))
    box = (slice(None), slice(top, top + side), slice(left, left + side))
    means = torch.stack([draw[0][box].mean() for draw in result.draws])[None]
    ends = central_interval(means, level, result.usable)
    center, wanted = moments(means, result.usable)[0], truth[box].mean()
    below, above = center - ends.low, ends.high - center
    error = wanted - center
    half = torch.where(error < 0, below, above).clamp(min=1e-6)
    return error.abs() / half


def predicted_mse(result: Restored) -> float:
    """The mean variance of the draws, in [0, 1] pixel units, with the floor of a half width."""
    return float((result.reconstruction.std / 2).square().mean()) + FLOOR**2


def features_of(result: Restored) -> Tensor:
    """Statistics of the result that distinguish kinds of pictures."""
    x = result.pixels.double()
    place = strata(result.pixels)
    gray = x.mean(0)
    fine = [(gray[1:] - gray[:-1]), (gray[:, 1:] - gray[:, :-1])]
    coarse = [(gray[4:] - gray[:-4]), (gray[:, 4:] - gray[:, :-4])]
    energy, far = (
        sum(float(d.square().mean()) for d in pair) / 2 + 1e-6 for pair in (fine, coarse)
    )
    peaked = sum(float(d.abs().mean()) for d in fine) / 2
    numbers = [
        math.log(result.residual_ratio + 1e-3) if math.isfinite(result.residual_ratio) else 0.0,
        math.log(predicted_mse(result)),
        float((place == 0).double().mean()),
        float((place == 1).double().mean()),
        math.log(energy),
        math.log(energy / far),
        math.log(energy / (peaked**2 + 1e-6)),
        float(gray.mean()),
        float(gray.std()),
        float(x.std(0).mean()) if len(x) > 1 else 0.0,
    ]
    return torch.tensor(numbers, dtype=torch.float64)

"""Free-form masks: strokes of a round brush."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.random import DRAWING, Keys, Rng

# A stroke of the brush: its number of lines, their angle to its heading in degrees, and their
# length and the width of the brush as fractions of the picture's side.
LEAST_LINES, MOST_LINES = 4, 12
ANGLE, SPREAD = 72.0, 24.0
SHORT, LONG = 0.05, 0.4
THIN, THICK = 0.04, 0.14


def brush_mask(
    size: tuple[int, int], coverage: tuple[float, float] = (0.1, 0.2), seed: int = 0
) -> Float[Tensor, "1 h w"]:
    """A free-form mask, 0 under a few strokes of a round brush, 1 elsewhere.

    A stroke starts at a random place and zigzags: its lines deviate from its heading by 72 +- 24
    degrees, alternately to the left and right. The last stroke ends early if it would cover too
    much, so the fraction of pixels covered is in the range for every seed.

    Arguments:
        size: (h, w) of the picture in pixels.
        coverage: The smallest and the largest fraction of pixels removed, 0 < low <= high < 1. The
            target fraction is drawn uniformly between the two.
        seed: The random seed.

    Raises:
        InvalidArgument: If the range is not within (0, 1), or contains no whole number of pixels.

    References:
        J. Yu et al., "Free-form image inpainting with gated convolution", 2019, algorithm 1; with
        ranges of coverage, as in C. Saharia et al., "Palette", 2022.
    """
    low, high = coverage
    require(0 < low <= high < 1, "coverage", expected="0 < low <= high < 1", got=coverage)
    pixels = size[0] * size[1]
    least, most = math.ceil(low * pixels - 1e-9), math.floor(high * pixels + 1e-9)
    expected = f"a range with a whole number of the {pixels} pixels in it"
    require(least <= most, "coverage", expected=expected, got=coverage)
    rng = Keys(seed, (0,)).at(DRAWING)
    wanted = least + int(_uniform(rng, 1)[0] * (most - least + 1))
    mask = torch.ones(size)
    flat, covered = mask.view(-1), 0
    while covered < least or covered < wanted - pixels // 100:  # else it would end in a dot
        time = torch.where(mask > 0, _stroke(size, rng), torch.inf).flatten()
        fresh = torch.isfinite(time).nonzero()[:, 0]
        fresh = fresh[time[fresh].argsort(stable=True)][: wanted - covered]
        flat[fresh] = 0
        covered += len(fresh)
    return mask[None]


def _stroke(size: tuple[int, int], rng: Rng) -> Float[Tensor, "h w"]:
    """The time at which a stroke reaches each pixel, in lines; inf where it never does."""
    scale = math.sqrt(size[0] * size[1])
    lines, width, heading, top, left, *draws = _uniform(rng, 5 + 2 * MOST_LINES)
    radius = max(scale * (THIN + (THICK - THIN) * width) / 2, 0.75)
    here = (top * size[0], left * size[1])
    time = torch.full(size, torch.inf, dtype=torch.float64)
    for i in range(LEAST_LINES + int(lines * (MOST_LINES + 1 - LEAST_LINES))):
        spread, length = draws[2 * i : 2 * i + 2]
        away = math.radians(ANGLE + SPREAD * (2 * spread - 1))
        angle = 2 * math.pi * heading + (away if i % 2 else -away)
        reach = scale * (SHORT + (LONG - SHORT) * length)
        there = (here[0] + reach * math.sin(angle), here[1] + reach * math.cos(angle))
        there = (min(max(there[0], 0.0), size[0]), min(max(there[1], 0.0), size[1]))
        low = [max(0, math.floor(min(a, b) - radius)) for a, b in zip(here, there, strict=True)]
        high = [math.ceil(max(a, b) + radius) for a, b in zip(here, there, strict=True)]
        part = time[low[0] : high[0], low[1] : high[1]]
        reached = _arrival(part, low, here, there, radius).clamp(min=0 if i else -1)
        part.copy_(torch.minimum(part, i + reached))
        here = there
    return time


def _arrival(
    like: Tensor,
    corner: Sequence[int],
    start: tuple[float, float],
    stop: tuple[float, float],
    radius: float,
) -> Tensor:
    """The time at which a disk that moves from start (0) to stop (1) covers each pixel's center.

    It is inf where the disk never does, and between -1 and 0 where it does at the start.
    """
    rows, columns = (torch.arange(n, dtype=like.dtype) + 0.5 for n in like.shape)
    y, x = (rows + corner[0] - start[0])[:, None], columns + corner[1] - start[1]
    length = max(math.dist(start, stop), 1e-9)
    dy, dx = (stop[0] - start[0]) / length, (stop[1] - start[1]) / length
    distance = (x**2 + y**2).sqrt()
    along, off = dy * y + dx * x, dx * y - dy * x
    time = (along - (radius**2 - off**2).sqrt()) / length  # nan off the path
    time = torch.where((time >= 0) & (time <= 1), time, torch.inf)
    return torch.where(distance <= radius, distance / radius - 1, time)


def _uniform(rng: Rng, n: int) -> list[float]:
    return rng.rand_like(torch.empty(1, n, dtype=torch.float64))[0].tolist()

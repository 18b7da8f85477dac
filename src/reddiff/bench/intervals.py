"""Bootstrap intervals of means over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 4000
FEWEST = (
    5  # images: with fewer, percentiles, which lie within the range of the values, are too narrow
)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its interval. There is no interval for fewer than five images or equal values."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None

    def holds(self, value: float) -> bool:
        """Whether the value is inside; True if there is no interval."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def interval(values: Sequence[float]) -> Interval:
    """The mean of values and its 95 % bootstrap interval.

    The resamples depend only on the number of images, so differences of solvers are resampled like
    their means. The percentiles are widened for small samples, so that for normal values the
    interval agrees with that of Student's t. There is no interval if all values are equal: from
    five failures, resampling cannot tell how rare success is.

    References:
        | What Teachers Should Know About the Bootstrap (Hesterberg, 2015), section 3.3,
        | https://arxiv.org/abs/1411.5279
    """
    array, n = np.asarray(values, np.float64), len(values)
    mean = float(array.mean())
    if n < FEWEST or not np.isfinite(array).all() or np.ptp(array) == 0:
        return Interval(mean)
    return _percentiles(mean, resamples(n) @ array / n, n)


def interval_of(mean: float, draws: Values, n: int) -> Interval:
    """The interval of a statistic of n images from its values on the rows of `resamples(n)`."""
    known = n >= FEWEST and math.isfinite(mean) and bool(np.isfinite(draws).any())
    return _percentiles(mean, draws[np.isfinite(draws)], n) if known else Interval(mean)


@lru_cache(maxsize=4)
def resamples(n: int) -> Values:
    """The number of times that each resample contains each of n images, `(RESAMPLES, n)`."""
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return counts.astype(np.float64)


def _percentiles(mean: float, draws: Values, n: int) -> Interval:
    t = student(n - 1, (1 + LEVEL) / 2) * math.sqrt(n / (n - 1))
    tail = math.erfc(t / math.sqrt(2)) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


@lru_cache
def student(freedom: int, probability: float) -> float:
    """A quantile of Student's t. With t = sqrt(f) tan(a), the density of a is cos(a)^(f - 1)."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 100_001)
    density = np.cos(angles) ** (freedom - 1)
    steps = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(probability, steps / steps[-1], angles))
    return math.sqrt(freedom) * math.tan(angle)

"""Mean, standard deviation, quantiles and intervals of draws, which may be too many for memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require

BLOCK = 1 << 22  # values that are sorted at once


class Interval(NamedTuple):
    """The ends of a central interval, entry by entry."""

    low: Float[Tensor, "b *n"]
    high: Float[Tensor, "b *n"]

    @property
    def width(self) -> Float[Tensor, "b *n"]:
        """The distance between the ends."""
        return self.high - self.low


def needed_draws(level: float) -> int:
    """The smallest number of draws from which a central interval of this level can be taken.

    Raises:
        InvalidArgument: If the level is not between 0 and 1.
    """
    good = isinstance(level, int | float) and 0 < level < 1
    require(good, "level", expected="a number between 0 and 1, such as 0.9", got=level)
    return math.ceil(2 / (1 - level) - 1 - 1e-9)


def central_interval(
    samples: Float[Tensor, "b S *n"], level: float, used: Bool[Tensor, "b S"] | None = None
) -> Interval:
    """The central interval that contains a further exact draw with this probability.

    Its ends are the `(1 - level) / 2` and `(1 + level) / 2` quantiles, see `quantile`.

    Arguments:
        samples: S draws per lane.
        level: The probability, between 0 and 1.
        used: The draws to use; all by default.

    Raises:
        InvalidArgument: If S is too small for the level: 19 draws are needed for 0.9, 39 for 0.95.
    """
    least = needed_draws(level)
    counts = _counts(samples, used)
    expected = f"at least {least} for an interval of level {level:g}"
    got = f"{min(counts)}" + " that did not diverge" * (min(counts) < samples.shape[1])
    require(min(counts) >= least, "draws", expected=expected, got=got)
    tail = (1 - level) / 2
    return Interval(*_quantiles(samples, (tail, 1 - tail), used))


def quantile(
    samples: Float[Tensor, "b S *n"], q: float, used: Bool[Tensor, "b S"] | None = None
) -> Float[Tensor, "b *n"]:
    r"""The q quantile of the draws of every entry.

    It has rank :math:`q (S + 1)` among the S sorted draws, with linear interpolation. A further
    draw from the same distribution is below it with probability q. This is type 6 of Hyndman and
    Fan; `torch.quantile` is type 7, whose intervals are too narrow for few draws.

    Arguments:
        samples: S draws per lane; they may be on disk (`torch.from_numpy` of a memory map).
        q: The probability.
        used: The draws to use; all by default.

    Raises:
        InvalidArgument: If the rank is below 1 or above S.

    References:
        | Sample Quantiles in Statistical Packages (Hyndman and Fan, 1996)
    """
    return _quantiles(samples, (q,), used)[0]


def _quantiles(samples: Tensor, qs: Sequence[float], used: Tensor | None) -> Tensor:
    """Several quantiles along a first axis; every entry is sorted once."""
    out = samples.new_empty(len(qs), samples.shape[0], *samples.shape[2:])
    for lane, count in enumerate(_counts(samples, used)):
        places = [_place(q, count) for q in qs]
        flat = samples[lane].reshape(samples.shape[1], -1)
        rows = out[:, lane].view(len(qs), -1)
        step = max(1, BLOCK // count)
        for start in range(0, flat.shape[1], step):
            block = flat[:, start : start + step]
            block = block if used is None else block[used[lane].to(block.device)]
            ordered = block.sort(0).values
            for row, (below, above, part) in zip(rows, places, strict=True):
                row[start : start + step] = torch.lerp(ordered[below], ordered[above], part)
    return out


def _place(q: float, count: int) -> tuple[int, int, float]:
    """The sorted draws on either side of a quantile, and its fraction towards the upper one."""
    place = q * (count + 1) - 1
    good = -1e-9 <= place <= count - 1 + 1e-9
    expected = f"enough of them for the quantile {q:g}"
    require(good, "draws", expected=expected, got=count)
    below = min(max(math.floor(place + 1e-9), 0), count - 1)
    return below, min(below + 1, count - 1), min(max(place - below, 0.0), 1.0)


def moments(
    samples: Float[Tensor, "b S *n"], used: Bool[Tensor, "b S"] | None = None
) -> tuple[Float[Tensor, "b *n"], Float[Tensor, "b *n"]]:
    """The mean and standard deviation of every entry; NaN if there are too few draws.

    Arguments:
        samples: S draws per lane; they may be on disk.
        used: The draws to use; all by default.
    """
    mean = samples.new_zeros(samples.shape[0], *samples.shape[2:])
    square, count = torch.zeros_like(mean), mean.new_zeros(len(mean), *[1] * (mean.ndim - 1))
    for i, x in enumerate(samples.unbind(1)):  # Welford's sums, a draw at a time
        now = torch.ones_like(count) if used is None else used[:, i].to(count).view(count.shape)
        count = count + now
        d = torch.where(now > 0, x - mean, 0)
        mean = mean + d / count.clamp(min=1)
        square = square + d * torch.where(now > 0, x - mean, 0)
    mean = torch.where(count > 0, mean, torch.nan)
    return mean, torch.where(count > 1, square / (count - 1).clamp(min=1), torch.nan).sqrt()


def _counts(samples: Tensor, used: Tensor | None) -> list[int]:
    b, s = samples.shape[:2]
    return [s] * b if used is None else used.sum(1).tolist()

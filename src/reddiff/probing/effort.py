"""How many images, levels and pixels a probe takes, by the time of one evaluation."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reddiff.probing.measuring import REFUSED, Trial, trial_levels
from reddiff.probing.variants import Variant

SMALLEST = 32  # sides that images are cut to, in pixels
OTHERS = 12  # evaluations beside those of the trials: gradients, modes, ends of the range
PATHS = 24  # inputs that the search tries at one level,
LEFT = 12  # and at all of them


@dataclass(frozen=True)
class Effort:
    """A number of images and levels, and those of the search."""

    images: int
    levels: int
    quick_images: int
    quick_levels: int

    @property
    def trial(self) -> int:
        """The evaluations of one wiring, each of one image."""
        return self.images * (self.levels + 1)

    @property
    def evaluations(self) -> int:
        """About as many in all, for one mistake."""
        search = PATHS + LEFT * self.quick_images * self.quick_levels
        return 2 * self.trial + search + OTHERS


EFFORTS = (Effort(4, 6, 2, 4), Effort(4, 4, 1, 3), Effort(3, 4, 1, 3), Effort(2, 3, 1, 2))


@dataclass(frozen=True)
class Setup:
    """What a probe does within its time.

    Arguments:
        given: The wiring of the prior, for sides of any length where images were cut.
        trial: The images and levels.
        effort: Their numbers, and those of the search.
        search_until: When the search ends, by `time.monotonic`.
    """

    given: Variant
    trial: Trial
    effort: Effort
    search_until: float


def setup(given: Variant, known: Tensor, seconds: float) -> Setup:
    """Measure the time of one evaluation, and take the most that the time is enough for.

    Where it is not enough, images are cut to half their sides as long as the network takes them,
    and then there are fewer of them, and fewer levels.

    Raises:
        ReddiffError: Or what else the network raises, if it cannot be evaluated.
    """
    start = time.monotonic()
    first = _trial(given, known, EFFORTS[0])
    each = _seconds(given, first)
    while seconds < each * EFFORTS[0].evaluations:
        smaller = _halved(given, known)
        if smaller is None:
            break
        given, known, each = smaller
    fits = [effort for effort in EFFORTS if each * effort.evaluations <= seconds]
    effort = fits[0] if fits else EFFORTS[-1]
    rest = (effort.trial + OTHERS) * each  # after the search
    return Setup(given, _trial(given, known, effort), effort, start + seconds - rest)


def _trial(given: Variant, known: Tensor, effort: Effort) -> Trial:
    levels = trial_levels(given.like, known, effort.levels)
    return Trial(known[: effort.images], levels)


@torch.no_grad()
def _seconds(given: Variant, trial: Trial) -> float:
    """The time of one evaluation of one image, the shorter of two if they are short."""
    one = trial.some(1, 1)
    taken = []
    for _ in range(2):
        start = time.monotonic()
        with given.net.anew():
            one.error(given.prior, 0)
        taken.append(time.monotonic() - start)
        if taken[0] > 1:  # the first is not much longer
            break
    return min(taken)


def _halved(given: Variant, known: Tensor) -> tuple[Variant, Tensor, float] | None:
    """Images of half the sides, and the time of one; None if the network takes none."""
    sides = known.shape[2:]
    least = max(SMALLEST, given.like.multiple)
    halves = [n // 2 // given.like.multiple * given.like.multiple for n in sides]
    if len(sides) != 2 or min(halves) < least:
        return None
    like = copy.copy(given.like)
    like.shape = (like.shape[0], None, None)
    (height, top), (width, left) = ((n, (m - n) // 2) for n, m in zip(halves, sides, strict=True))
    cut = known[..., top : top + height, left : left + width].contiguous()
    smaller = replace(given, like=like)
    try:
        return smaller, cut, _seconds(smaller, _trial(smaller, cut, EFFORTS[0]))
    except REFUSED:
        return None

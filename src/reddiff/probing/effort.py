"""The numbers of images, levels and pixels of a probe, from the time of one evaluation."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reddiff.probing.measuring import REFUSED, Trial, trial_levels
from reddiff.probing.variants import Variant

SMALLEST = 32  # smallest side of cropped images in pixels
OTHERS = 12  # evaluations for gradients, modes and the ends of the range
PATHS = 24  # number of inputs that the search tries at one level
LEFT = 12  # number of inputs that it tries at all levels


@dataclass(frozen=True)
class Effort:
    """The numbers of images and levels for the verdict, and for the search (`quick_`)."""

    images: int
    levels: int
    quick_images: int
    quick_levels: int

    @property
    def trial(self) -> int:
        """The number of evaluations of single images for one wiring."""
        return self.images * (self.levels + 1)

    @property
    def evaluations(self) -> int:
        """The approximate number of evaluations in total, if there is one mistake."""
        search = PATHS + LEFT * self.quick_images * self.quick_levels
        return 2 * self.trial + search + OTHERS


EFFORTS = (Effort(4, 6, 2, 4), Effort(4, 4, 1, 3), Effort(3, 4, 1, 3), Effort(2, 3, 1, 2))


@dataclass(frozen=True)
class Setup:
    """The plan of a probe within its time limit.

    Arguments:
        given: The wiring of the prior, which accepts any size if images were cropped.
        trial: The images and levels.
        effort: Their numbers, and those of the search.
        search_until: The end of the search, in terms of `time.monotonic`.
    """

    given: Variant
    trial: Trial
    effort: Effort
    search_until: float


def setup(given: Variant, known: Tensor, seconds: float) -> Setup:
    """Measure the time of one evaluation, and choose the largest effort within the time limit.

    If the time is not sufficient, the sides of the images are halved as long as the network accepts
    them; after that, the numbers of images and levels are reduced.

    Raises:
        ReddiffError: If the network cannot be evaluated; its own exceptions propagate.
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
    """The time of one evaluation of one image in seconds, the shorter of two if below 1 s."""
    one = trial.some(1, 1)
    taken = []
    for _ in range(2):
        start = time.monotonic()
        with given.net.anew():
            one.error(given.prior, 0)
        taken.append(time.monotonic() - start)
        if taken[0] > 1:  # the overhead of the first one is small
            break
    return min(taken)


def _halved(given: Variant, known: Tensor) -> tuple[Variant, Tensor, float] | None:
    """Images with half the sides, and the time per image; None if the network refuses them."""
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

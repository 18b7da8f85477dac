"""Denoising errors of a prior on known images, and gains of one wiring over another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reddiff.errors import ReddiffError
from reddiff.priors.base import Prior
from reddiff.random import MEASURING, Keys

LOWEST, HIGHEST = 0.1, 8.0  # range of levels, in standard deviations of the images
TOP = 60.0  # a level at which images are invisible, so that the estimate is the training mean
MOST = 20.0  # limit of the gain at one level, in dB
REFUSED = (ReddiffError, RuntimeError, IndexError, TypeError, ValueError, AssertionError)
SEED = 9000  # seed of the noise at the first level, incremented for the others
HUGE = 1e12  # error assigned to estimates that are not finite


class Trial:
    """Known images at several noise levels, with the same noise for all priors.

    Arguments:
        images: `(n, *shape)`, in the units of x.
        levels: Noise levels `(l,)`, in the units of x.
    """

    def __init__(self, images: Tensor, levels: Tensor) -> None:
        self.images, self.levels = images, levels
        ids = tuple(range(len(images)))
        rngs = [Keys(SEED + i, ids).at(MEASURING) for i in range(len(levels))]
        self.noise = [rng.randn_like(images) for rng in rngs]

    @torch.no_grad()
    def errors(self, prior: Prior) -> Tensor:
        """The mean squared error of each image at each level, `(l, n)`."""
        rows = [self.error(prior, i) for i in range(len(self.levels))]
        return torch.stack(rows)

    @torch.no_grad()
    def error(self, prior: Prior, i: int) -> Tensor:
        """The mean squared error of each image at one level, `(n,)`."""
        estimate = prior(self.noisy(i), float(self.levels[i]))
        error = (estimate - self.images).double().flatten(1).square().mean(1)
        return error.nan_to_num(HUGE, HUGE, HUGE).clamp(max=HUGE).cpu()

    def noisy(self, i: int) -> Tensor:
        """The images with noise of level i."""
        return self.images + float(self.levels[i]) * self.noise[i]

    def linear(self) -> Tensor:
        """The error of the best linear shrinkage m + w (x - m) with a scalar w, `(l, 1)`."""
        variance, s2 = float(self.images.double().var(0).mean()) or 1.0, self.levels**2
        variance = max(variance, float(self.images.double().var()))
        return (variance * s2 / (variance + s2))[:, None]

    def some(self, levels: int, images: int) -> Trial:
        """A trial with fewer levels and images."""
        index = torch.linspace(0, len(self.levels) - 1, levels).round().long()
        trial = Trial.__new__(Trial)
        trial.images, trial.levels = self.images[:images], self.levels[index]
        trial.noise = [self.noise[i][:images] for i in index.tolist()]
        return trial


def trial_levels(prior: Prior, images: Tensor, count: int) -> Tensor:
    """Levels at which images are visible, and one at which they are not, in the prior's range."""
    std = float(images.double().std()) or 1.0
    low, high = max(prior.sigma_min, LOWEST * std), min(prior.sigma_max, HIGHEST * std)
    if low >= high:
        low, high = prior.sigma_min or prior.sigma_max / 10, prior.sigma_max
    levels = torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)
    top = min(prior.sigma_max, TOP * std)
    return levels if top < 2 * high else torch.cat([levels, levels.new_tensor([top])])


def gain(before: Tensor, after: Tensor) -> Tensor:
    """The decrease of the errors in dB, `(l, n)`, clipped to `MOST`."""
    decibels = 10 * (before.clamp(min=1e-20) / after.clamp(min=1e-20)).log10()
    return decibels.clamp(-MOST, MOST)


def tried(trial: Trial, prior: Prior) -> Tensor | None:
    """The errors of a prior; None if its network refuses the input."""
    try:
        return trial.errors(prior)
    except REFUSED:
        return None

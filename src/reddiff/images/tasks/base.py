"""The interface of picture tasks. Pixels are in [0, 1]; solvers work on 2 pixels - 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.images.gray import gray_spread
from reddiff.noise import Gaussian, Noise, UnknownGaussian
from reddiff.operators import Operator
from reddiff.problem import Problem
from reddiff.random import Rng

PIXELS = 0.5  # a unit of the solver, which works on 2 pixels - 1, in [0, 1] pixel units
Pixels = Float[Tensor, "_ _ _"]


@dataclass(frozen=True, eq=False)
class NoiseSample:
    """A picture with the noise of y, from which the noise level is estimated.

    Arguments:
        pixels: The picture, in [0, 1].
        measured: Which of its entries are measured.
        fallback: The level to assume if too few entries are measured; None to estimate it during
            the run.
    """

    pixels: Pixels
    measured: Bool[Tensor, "_ _ _"]
    fallback: float | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """The measurements in a degraded picture.

    Arguments:
        pixels: The picture, in [0, 1]; one channel if both it and the result are gray.
        measured: Which of its entries depend on x.
        unit: One unit of y in `Task.problem(pixels)`, in [0, 1] pixels.
        apart: The largest difference between three channels that were merged into one; None if none
            were merged.
    """

    pixels: Pixels
    measured: Bool[Tensor, "_ _ _"]
    unit: float
    apart: float | None = None


class Task(ABC):
    """A degradation of pictures, in [0, 1] pixels `(c, h, w)`.

    A subclass defines `_forward` and `_operator`. It overrides other methods if the noise is not
    additive and Gaussian, or not all pixels are measured.
    """

    name: ClassVar[str]

    def degrade(self, x: Pixels, noise: float = 0.0, rng: Rng | None = None) -> Pixels:
        """Simulate the measurement of a picture.

        Arguments:
            x: The picture.
            noise: The standard deviation of the noise, in [0, 1] pixels. It is added last, except
                where it arises before clipping, rounding or compression.
            rng: The random numbers of one lane; None for no noise.
        """
        y = self._forward(x)
        if rng is None:
            return y
        y = y + noise * rng.randn_like(y[None])[0]
        return torch.where(self._measured(y), y, 0)

    def problem(self, y: Pixels, noise: float | None = 0.0) -> Problem:
        """The inverse problem of one degraded picture, in the units of solvers.

        Arguments:
            y: The degraded picture.
            noise: The standard deviation of the noise in [0, 1] pixels; None if it is unknown.
        """
        return Problem(self._data(y)[None], self._operator(y), self._noise(y, noise))

    def image(self, x: Pixels, y: Pixels) -> Pixels:
        """The restored picture for the degraded picture y, from one x of `problem(y)`."""
        return x

    def noise_sample(self, y: Pixels) -> NoiseSample | None:
        """A picture to estimate the noise level from; None to assume only the task's own noise."""
        return NoiseSample(y, self._measured(y))

    def reading(self, y: Pixels, alpha: Pixels | None = None) -> Reading:
        """The measurements in a degraded picture, without repetitions.

        Arguments:
            y: The degraded picture.
            alpha: Its alpha channel; transparent pixels may have any color.
        """
        apart = self._apart(y, alpha)
        if apart is not None:
            y = y[:1] if apart == 0 else self._gray(y)
        return Reading(y, self._measured(y), self._unit(y), apart)

    @abstractmethod
    def _forward(self, x: Pixels) -> Pixels:
        """The measurement of a picture, without noise."""

    def _measured(self, y: Pixels) -> Bool[Tensor, "_ _ _"]:
        """Which entries of a degraded picture depend on x."""
        return torch.ones_like(y, dtype=torch.bool)

    def _gray(self, y: Pixels) -> Pixels:
        """One channel from three that are nearly equal."""
        return y.mean(0, keepdim=True)

    def _apart(self, y: Pixels, alpha: Pixels | None) -> float | None:
        """The largest difference between the channels of a gray picture; None if not gray."""
        seen = self._measured(y)
        seen = seen if alpha is None else seen & (alpha > 0)
        alike = bool((seen == seen[:1]).all())
        return gray_spread(y, seen) if alike else None

    def _unit(self, y: Pixels) -> float:
        """One unit of the y of `problem(y)`, in [0, 1] pixels."""
        return PIXELS

    @abstractmethod
    def _operator(self, y: Pixels) -> Operator:
        """The forward model, from [-1, 1] to the units of the y of `problem(y)`."""

    def _noise(self, y: Pixels, level: float | None) -> Noise:
        """The noise of the y of `problem(y)`, in its units."""
        return UnknownGaussian() if level is None else Gaussian(level / PIXELS)

    def _measurement(self, y: Pixels) -> Pixels:
        """The degraded picture in the form in which the operator returns it, in [0, 1]."""
        return y

    def _data(self, y: Pixels) -> Tensor:
        """y of the problem, without the lane axis."""
        return 2 * self._measurement(y) - 1

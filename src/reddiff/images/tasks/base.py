"""What a picture task is, in [0, 1] pixels; solvers work on 2 pixels - 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.noise import Gaussian, Noise, UnknownGaussian
from reddiff.operators import Operator
from reddiff.random import Rng

PIXELS = 0.5  # a unit of the solver, which works on 2 pixels - 1, in [0, 1] pixel units
Pixels = Float[Tensor, "_ _ _"]


class Task(ABC):
    """One way a picture is degraded, in [0, 1] pixels `(c, h, w)`."""

    name: ClassVar[str]
    adds_colour: ClassVar[bool] = False  # a grey picture has colours to be found
    otherwise: ClassVar[float | None] = None  # the level where y shows none; None: runs find it

    @abstractmethod
    def degrade(self, x: Pixels) -> Pixels:
        """The measurement of a picture, without noise."""

    @abstractmethod
    def operator(self, y: Pixels) -> Operator:
        """The forward model of `measurement(y)`, for a degraded picture y."""

    def gray(self, y: Pixels) -> Pixels:
        """The one channel that three equal ones, or nearly equal ones, are."""
        return y.mean(0, keepdim=True)

    def of_gray(self) -> Task:
        """The task where y is one channel of gray."""
        return self

    def sense(self, x: Pixels, noise: float, rng: Rng) -> Pixels:
        """`degrade`, with noise where it arises: here at the end.

        Arguments:
            x: The picture.
            noise: The standard deviation, in [0, 1] pixels.
            rng: Where draws come from, of one lane.
        """
        y = self.degrade(x)
        y = y + noise * rng.randn_like(y[None])[0]
        return torch.where(self.seen(y), y, 0)

    def noise(self, level: float | None) -> Noise:
        """The noise of `data`, in its units.

        Arguments:
            level: The standard deviation of the noise in [0, 1] pixels; None if nobody knows it.
        """
        return UnknownGaussian() if level is None else Gaussian(level / PIXELS)

    def measurement(self, y: Pixels) -> Pixels:
        """The degraded picture as the operator sees it."""
        return y

    def data(self, y: Pixels) -> Tensor:
        """What the solver is given of a degraded picture: one y of `operator`."""
        return 2 * self.measurement(y) - 1

    def seen(self, y: Pixels) -> Bool[Tensor, "_ _ _"]:
        """Which entries of a degraded picture say anything of x."""
        return torch.ones_like(y, dtype=torch.bool)

    def plain(self, y: Pixels) -> tuple[Pixels, Bool[Tensor, "_ _ _"]]:
        """A picture with the noise of y, and which of its entries count: to estimate it from."""
        return y, self.seen(y)

    def picture(self, x: Pixels, y: Pixels) -> Pixels:
        """The restored picture for the degraded one, from the solver's x."""
        return x

    @property
    def level(self) -> float | None:
        """The noise to reckon with where nobody says any, in [0, 1] pixels; None: look at y."""
        return None

    @property
    def unit(self) -> float:
        """A unit of `data` in [0, 1] pixels."""
        return PIXELS

    @property
    def scale(self) -> int:
        """How many times larger than y the restored picture is."""
        return 1

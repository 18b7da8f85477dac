"""What a picture task is, in [0, 1] pixels; solvers work on 2 pixels - 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.operators import Operator

Pixels = Float[Tensor, "_ _ _"]


class Task(ABC):
    """One way a picture is degraded, in [0, 1] pixels `(c, h, w)`."""

    name: ClassVar[str]
    lr: ClassVar[float]  # RED-diff's published learning rate for the task
    weight: ClassVar[float] = 0.25  # and its lambda
    adds_colour: ClassVar[bool] = False  # a grey picture has colours to be found

    @abstractmethod
    def degrade(self, x: Pixels) -> Pixels:
        """The measurement of a picture, without noise."""

    @abstractmethod
    def operator(self, y: Pixels) -> Operator:
        """The forward model of `measurement(y)`, for a degraded picture y."""

    def measurement(self, y: Pixels) -> Pixels:
        """The degraded picture as the operator sees it."""
        return y

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
    def scale(self) -> int:
        """How many times larger than y the restored picture is."""
        return 1

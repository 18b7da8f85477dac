"""The tasks that add color: gray and raw pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from reddiff.errors import require
from reddiff.images.tasks.base import NoiseSample, Pixels, Task
from reddiff.operators import Operator, grayscale
from reddiff.operators.mosaic import Bayer


@dataclass(frozen=True)
class Colorize(Task):
    """The luma of a color picture was recorded."""

    name = "colorize"

    def _forward(self, x: Pixels) -> Pixels:
        require(x.shape[0] == 3, "image", expected="a color picture", got="a gray one")
        return grayscale(x.dtype).to(x.device)(x[None])[0]

    def _operator(self, y: Pixels) -> Operator:
        return grayscale(y.dtype)

    def _measurement(self, y: Pixels) -> Pixels:
        """The luma of a picture of three channels; one channel is luma already."""
        return self._forward(y) if y.shape[0] == 3 else y

    def _apart(self, y: Pixels, alpha: Pixels | None) -> None:
        """A gray y has a color x."""


@dataclass(frozen=True)
class Demosaic(Task):
    """The raw picture of a camera: one color at each pixel.

    Arguments:
        sensor: The color filter array.
    """

    sensor: Bayer

    name = "demosaic"

    def _forward(self, x: Pixels) -> Pixels:
        """The colors that the sensor measures; the others are 0."""
        require(x.shape[0] == 3, "image", expected="a color picture", got="a gray one")
        return self.sensor(x[None])[0]

    def _operator(self, y: Pixels) -> Operator:
        return self.sensor

    def _measured(self, y: Pixels) -> Bool[Tensor, "_ _ _"]:
        """One color at each pixel."""
        return self.sensor.measured(y.expand(3, -1, -1)[None])[0, : len(y)]

    def noise_sample(self, y: Pixels) -> NoiseSample:
        """Four pictures, one for each place in a block of 2 x 2: each has one color."""
        raw = self._measurement(y).sum(0)
        h, w = (n - n % 2 for n in raw.shape)
        planes = pixel_unshuffle(raw[None, :h, :w], 2)
        return NoiseSample(planes, torch.ones_like(planes, dtype=torch.bool))

    def _measurement(self, y: Pixels) -> Pixels:
        """Three channels; a raw picture of one channel is spread to the colors of its pixels."""
        return y if y.shape[0] == 3 else self.sensor(y.expand(3, -1, -1)[None])[0]

    def _apart(self, y: Pixels, alpha: Pixels | None) -> None:
        """A gray y has a color x."""

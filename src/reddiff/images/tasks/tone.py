"""The tasks of sensors and coders: overexposed, coarsely quantised and JPEG-compressed pictures.

What happens to a picture is no linear operator, but rounding and clipping are not fitted as one:
they have slopes that say nothing. The solver has the linear part, and the rest is its noise.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from reddiff.errors import require
from reddiff.images.tasks.base import PIXELS, Pixels, Task
from reddiff.noise import Clipped, Gaussian, Noise, Rounded
from reddiff.operators import Diagonal, Identity, JPEGCoefficients, Operator
from reddiff.operators.jpeg.codec import LUMA, extend
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.tone import Clip, Quantise
from reddiff.random import Rng

LEAST = 0.001  # in [0, 1] pixels: a clipped Gaussian has no limit of sigma = 0
# Of `Quantised`: with fewer levels, the bounds that y sets say more than its spread. In dB, Rounded
# against Gaussian: 25.4 and 23.1 with 4 levels, 31.4 and 31.2 with 8, 36.5 and 37.8 with 16.
COARSE = 12
BEFORE = 0.1  # the noise before coarse rounding, in steps: 0.05 and 0.2 lose half a dB or more
SPREAD = 1 / math.sqrt(12)  # that of an error of rounding, in steps
# Of `Compressed`: the spread of an error in a coefficient, in steps. Most are nearer to zero than
# rounding says; 0.1 to 0.2 are equal to 0.1 dB.
CODED = 0.15


class Tone(Task):
    """A task with a nonlinear simulation."""

    @abstractmethod
    def model(self) -> Operator:
        """The simulation, on [-1, 1]."""

    def degrade(self, x: Pixels) -> Pixels:
        """The simulation, from and to [0, 1]."""
        return (self.model().to(x.device)(2 * x[None] - 1)[0] + 1) / 2

    def sense(self, x: Pixels, noise: float, rng: Rng) -> Pixels:
        """`degrade`, after the noise."""
        return self.degrade(x + noise * rng.randn_like(x[None])[0])


@dataclass(frozen=True)
class HDR(Tone):
    """A picture of too much contrast, cut off at black and white.

    Arguments:
        gain: How often larger its contrast is than the sensor's, above 1; 2 in the paper.
    """

    gain: float = 2.0

    name = "hdr"
    otherwise = 0.01

    def __post_init__(self) -> None:
        good = 1 < self.gain < 1000
        require(good, "task", expected="hdr:GAIN, a number above 1", got=self.gain)

    def model(self) -> Operator:
        """clip(gain x, -1, 1)."""
        return Clip(self.gain)

    def sense(self, x: Pixels, noise: float, rng: Rng) -> Pixels:
        """The noise is that of the sensor: after the gain, before the limits."""
        return super().sense(x, noise / self.gain, rng)

    def operator(self, y: Pixels) -> Operator:
        """The gain."""
        return Diagonal(y.new_tensor([self.gain]))

    def noise(self, level: float | None) -> Noise:
        """A sensor that saturates."""
        return Clipped(max(self.otherwise if level is None else level, LEAST) / PIXELS)

    def plain(self, y: Pixels) -> tuple[Pixels, Bool[Tensor, "_ _ _"]]:
        """What is not cut off."""
        return y, (y > 0) & (y < 1)


@dataclass(frozen=True)
class Quantised(Tone):
    """A picture of a few grey levels in each channel.

    Arguments:
        levels: How many, from 2 to 256.
    """

    levels: int

    name = "quantise"

    def __post_init__(self) -> None:
        good = 2 <= self.levels <= 256
        require(good, "task", expected="quantise:LEVELS from 2 to 256", got=self.levels)

    @property
    def level(self) -> float:
        """None but rounding."""
        return 0.0

    def model(self) -> Operator:
        """Rounding."""
        return Quantise(self.levels)

    def operator(self, y: Pixels) -> Operator:
        """The identity."""
        return Identity()

    def noise(self, level: float | None) -> Noise:
        """Rounding to the levels; to many of them, a Gaussian of the same spread."""
        step, before = 2 / (self.levels - 1), (level or 0.0) / PIXELS
        if self.levels < COARSE:
            return Rounded(step, math.hypot(before, BEFORE * step), origin=-1.0)
        return Gaussian(math.hypot(before, SPREAD * step))


@dataclass(frozen=True, eq=False)
class Compressed(Tone):
    """A JPEG picture.

    The solver is given the numbers in its file, as coding it anew finds them, with the error of
    rounding as Gaussian noise. `Rounded` is the exact likelihood, but what the default solver
    draws under it is less near to the truth (1 dB), as it is not where the noise is matched.

    Arguments:
        codec: Its compression.
        monochrome: Whether y is gray: its noise is then that of luma.
    """

    codec: JPEG
    monochrome: bool = False

    name = "jpeg"

    @property
    def level(self) -> float:
        """None but rounding."""
        return 0.0

    @property
    def unit(self) -> float:
        """The finest step of luma."""
        part = 1.0 if self.monochrome else math.hypot(*LUMA)  # the noise of a channel in luma
        return float(self.codec.tables[0].min()) / 255 / part

    def gray(self, y: Pixels) -> Pixels:
        """Luma, which the file holds."""
        return torch.einsum("c,chw->hw", y.new_tensor(LUMA), y)[None]

    def of_gray(self) -> Task:
        return replace(self, monochrome=True)

    def model(self) -> Operator:
        """The codec."""
        return self.codec

    def operator(self, y: Pixels) -> Operator:
        """Its linear part."""
        return JPEGCoefficients(self.codec, len(y)).to(y)

    def noise(self, level: float | None) -> Noise:
        """That of rounding, and the given one as the finest coefficient has it."""
        return Gaussian(math.hypot(CODED, (level or 0.0) / self.unit))

    def measurement(self, y: Pixels) -> Pixels:
        """As the file holds it, extended to whole units of the codec."""
        height, width = JPEGCoefficients.unit_of(self.codec, len(y))
        y = self.codec.orientation.stored(y)
        return extend(y, -y.shape[1] % height, -y.shape[2] % width)

    def data(self, y: Pixels) -> Tensor:
        """The coefficients, in steps."""
        operator = JPEGCoefficients(self.codec, len(y)).to(y)
        return operator.measure(super().data(y)[None])[0]

    def picture(self, x: Pixels, y: Pixels) -> Pixels:
        """Cut to the size of y, and upright."""
        height, width = self.codec.orientation.stored(y).shape[1:]
        return self.codec.orientation.upright(x[:, :height, :width])

"""The nonlinear picture tasks: overexposed, coarsely quantised and JPEG-compressed pictures."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from reddiff.errors import require
from reddiff.operators import Operator
from reddiff.operators.jpeg import JPEG
from reddiff.operators.tone import Clip, Quantise
from reddiff.tasks.base import Pixels, Task


class Tone(Task):
    """A task whose simulation is its operator."""

    lr = 0.5

    @abstractmethod
    def model(self) -> Operator:
        """The operator, on [-1, 1]."""

    def degrade(self, x: Pixels) -> Pixels:
        """The operator, from and to [0, 1]."""
        return (self.model().to(x.device)(2 * x[None] - 1)[0] + 1) / 2

    def operator(self, y: Pixels) -> Operator:
        """The operator."""
        return self.model()


@dataclass(frozen=True)
class HDR(Tone):
    """A picture of too much contrast, cut off at black and white.

    Arguments:
        gain: How often larger its contrast is than the sensor's, above 1; 2 in the paper.
    """

    gain: float = 2.0

    name = "hdr"

    def __post_init__(self) -> None:
        good = 1 < self.gain < 1000
        require(good, "task", expected="hdr:GAIN, a number above 1", got=self.gain)

    def model(self) -> Operator:
        """clip(gain x, -1, 1)."""
        return Clip(self.gain)


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
        """About half the error of rounding: its spread is 0.29 steps, and the model knows it."""
        return 0.15 / (self.levels - 1)

    def model(self) -> Operator:
        """Rounding."""
        return Quantise(self.levels)


@dataclass(frozen=True, eq=False)
class Compressed(Tone):
    """A JPEG picture.

    Arguments:
        codec: Its compression.
    """

    codec: JPEG

    name = "jpeg"

    @property
    def level(self) -> float:
        """A fifth of the quantiser's step of the coarsest details of luma."""
        step = float(self.codec.tables[0, :2, :2].double().mean())
        return 0.2 * step / 255

    def model(self) -> Operator:
        """The codec."""
        return self.codec

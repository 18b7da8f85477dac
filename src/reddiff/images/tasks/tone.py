"""Overexposed, coarsely quantized and JPEG-compressed pictures.

Clipping and rounding are nonlinear, and their derivative is zero almost everywhere. They are
therefore not part of the operator: the solver gets the linear part, and a noise model for the rest.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch

from reddiff.errors import require
from reddiff.images.tasks.base import PIXELS, NoiseSample, Pixels, Task
from reddiff.noise import Clipped, Gaussian, Noise, Rounded
from reddiff.operators import Diagonal, Identity, JPEGCoefficients, Operator
from reddiff.operators.jpeg.color import LUMA, extend
from reddiff.operators.jpeg.jpeg import JPEG
from reddiff.operators.quantise import Quantise
from reddiff.operators.tone import Clip
from reddiff.problem import Problem
from reddiff.random import Rng

FALLBACK = 0.01  # the noise level assumed for `HDR` if all pixels are clipped
LEAST = 0.001  # in [0, 1] pixels: the clipped Gaussian needs sigma > 0
# With fewer levels, `Quantized` uses `Rounded`, otherwise a Gaussian. PSNR in dB with Rounded and
# with a Gaussian: 25.4 and 23.1 for 4 levels, 31.4 and 31.2 for 8, 36.5 and 37.8 for 16.
COARSE = 12
BEFORE = 0.1  # noise before coarse rounding, in steps: 0.05 and 0.2 are worse by half a dB or more
SPREAD = 1 / math.sqrt(12)  # standard deviation of a rounding error, in steps
# For `Compressed`: the standard deviation of an error in a coefficient, in steps. Most errors are
# smaller than rounding errors; values from 0.1 to 0.2 agree to 0.1 dB.
CODED = 0.15


class Tone(Task):
    """A task with a nonlinear simulation."""

    @abstractmethod
    def _model(self) -> Operator:
        """The simulation, on [-1, 1]."""

    def degrade(self, x: Pixels, noise: float = 0.0, rng: Rng | None = None) -> Pixels:
        return self._forward(x if rng is None else x + noise * rng.randn_like(x[None])[0])

    def _forward(self, x: Pixels) -> Pixels:
        return (self._model().to(x.device)(2 * x[None] - 1)[0] + 1) / 2


@dataclass(frozen=True)
class HDR(Tone):
    """A picture whose contrast was increased, and which was then clipped at black and white.

    Arguments:
        contrast: The factor of the contrast, above 1; 2 in the RED-diff paper.
    """

    contrast: float = 2.0

    name = "hdr"

    def __post_init__(self) -> None:
        good = 1 < self.contrast < 1000
        require(good, "task", expected="hdr:CONTRAST, a number above 1", got=self.contrast)

    def _model(self) -> Operator:
        return Clip(self.contrast)

    def degrade(self, x: Pixels, noise: float = 0.0, rng: Rng | None = None) -> Pixels:
        """Simulate the measurement. Noise is added after the amplification and before clipping."""
        return super().degrade(x, noise / self.contrast, rng)

    def _operator(self, y: Pixels) -> Operator:
        return Diagonal(y.new_tensor([self.contrast]))

    def _noise(self, y: Pixels, level: float | None) -> Noise:
        return Clipped(max(FALLBACK if level is None else level, LEAST) / PIXELS)

    def noise_sample(self, y: Pixels) -> NoiseSample:
        return NoiseSample(y, (y > 0) & (y < 1), FALLBACK)


@dataclass(frozen=True)
class Quantized(Tone):
    """A picture with a few gray levels in each channel.

    Arguments:
        levels: The number of levels, from 2 to 256.
    """

    levels: int

    name = "quantize"

    def __post_init__(self) -> None:
        good = 2 <= self.levels <= 256
        require(good, "task", expected="quantize:LEVELS from 2 to 256", got=self.levels)

    def noise_sample(self, y: Pixels) -> None:
        """The only noise is rounding, which the task models."""

    def _model(self) -> Operator:
        return Quantise(self.levels)

    def _operator(self, y: Pixels) -> Operator:
        return Identity()

    def _noise(self, y: Pixels, level: float | None) -> Noise:
        """Rounding; for many levels, a Gaussian of the same standard deviation."""
        step, before = 2 / (self.levels - 1), (level or 0.0) / PIXELS
        if self.levels < COARSE:
            return Rounded(step, math.hypot(before, BEFORE * step), origin=-1.0)
        return Gaussian(math.hypot(before, SPREAD * step))


@dataclass(frozen=True, eq=False)
class Compressed(Tone):
    """A JPEG picture.

    The solver gets the coefficients of the file, which encoding the picture again recovers, with
    the rounding error as Gaussian noise. `Rounded` is the exact likelihood, but the default solver
    is 1 dB worse with it, because its steps are noise-matched for Gaussian noise only.

    Arguments:
        codec: The compression.
    """

    codec: JPEG

    name = "jpeg"

    def noise_sample(self, y: Pixels) -> None:
        """The only noise is rounding, which the task models."""

    def _unit(self, y: Pixels) -> float:
        """The smallest quantization step of luma."""
        part = 1.0 if len(y) == 1 else math.hypot(*LUMA)  # the noise of a channel in luma
        return float(self.codec.tables[0].min()) / 255 / part

    def _gray(self, y: Pixels) -> Pixels:
        """The luma, as stored in the file."""
        return torch.einsum("c,chw->hw", y.new_tensor(LUMA), y)[None]

    def _model(self) -> Operator:
        return self.codec

    def problem(self, y: Pixels, noise: float | None = 0.0) -> Problem:
        """The inverse problem of the cosine coefficients, in quantization steps."""
        operator = self._operator(y)
        return Problem(operator.measure(self._data(y)[None]), operator, self._noise(y, noise))

    def _operator(self, y: Pixels) -> JPEGCoefficients:
        return JPEGCoefficients(self.codec, len(y)).to(y)

    def _noise(self, y: Pixels, level: float | None) -> Noise:
        """Rounding, and the given noise in units of the finest coefficient."""
        return Gaussian(math.hypot(CODED, (level or 0.0) / self._unit(y)))

    def _measurement(self, y: Pixels) -> Pixels:
        """The stored picture, extended to whole blocks of the codec."""
        height, width = JPEGCoefficients.unit_of(self.codec, len(y))
        y = self.codec.orientation.stored(y)
        return extend(y, -y.shape[1] % height, -y.shape[2] % width)

    def image(self, x: Pixels, y: Pixels) -> Pixels:
        """x cropped to the size of y, and upright."""
        height, width = self.codec.orientation.stored(y).shape[1:]
        return self.codec.orientation.upright(x[:, :height, :width])

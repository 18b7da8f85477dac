"""Calibrated intervals: factors found on pictures whose truth is known, and their file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import CalibrationError
from reddiff.files import read_regular
from reddiff.images.calibration_cases import features_of, halves, predicted_mse
from reddiff.images.places import STRATA, strata
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings, words
from reddiff.metrics.draws import Interval
from reddiff.uncertainty.conformal import p_value

FORMAT = 1
MAX_BYTES = 1 << 24
ALARM = 0.05
PATHS = ("seed", "device", "tile", "page", "range", "prior")  # settings that may differ


@dataclass(frozen=True)
class Coverage:
    """The fraction of pixels inside intervals, by cross-validation over the calibration pictures.

    Arguments:
        share: The mean over pictures.
        low: The lower end of its 95 % interval.
        high: The upper end.
    """

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Factors by which the intervals of draws are widened, found on held-out pictures.

    Arguments:
        settings: The settings of the restorations, in the form of a record.
        weights: The hash of the prior's weights.
        level: The level of the intervals.
        images: The number of pictures.
        factors: Stratum -> factor of the half widths of the intervals of pixels.
        region: The factor of the intervals of means over boxes.
        mse: The factor from the variance of the draws to the largest mean squared error.
        coverage: Stratum -> coverage of the calibrated intervals; also `all` for all pixels, and
            `draws` for the uncalibrated intervals.
        widths: The mean width before and after calibration, the latter with the ends that the
            range of pixels would cut off.
        center: The means of the features of half of the pictures.
        spread: The inverse of their covariance.
        distances: The distances of the other half, in increasing order.
        made_by: Versions.
    """

    settings: Mapping[str, Any]
    weights: str
    level: float
    images: int
    factors: Mapping[str, float]
    region: float
    mse: float
    coverage: Mapping[str, Coverage]
    widths: tuple[float, float]
    center: Sequence[float]
    spread: Sequence[Sequence[float]]
    distances: Sequence[float]
    made_by: Mapping[str, str]

    def interval(self, result: Restored) -> Interval:
        """The calibrated interval of every pixel, in [0, 1]."""
        place = strata(result.pixels)
        factors = torch.tensor([self.factors[name] for name in STRATA])[place]
        center, below, above = halves(result, result.interval(self.level))
        low, high = center - factors * below, center + factors * above
        return Interval(low.clamp(0, 1), high.clamp(0, 1))

    def psnr_at_least(self, result: Restored) -> float:
        """A lower bound in dB of the PSNR of the result, which holds with probability `level`."""
        return -10 * math.log10(max(self.mse * predicted_mse(result), 1e-12))

    def p_value(self, result: Restored) -> float | None:
        """The p-value of the hypothesis that the picture is like those of the calibration.

        None if there were too few pictures for this test.
        """
        if not self.distances:
            return None
        d = distance(features_of(result), self.center, self.spread)
        return p_value(torch.tensor(self.distances), d)

    def check(self, settings: Settings, weights: str, level: float) -> None:
        """Check that the calibration is for these settings, this prior and this level.

        Raises:
            CalibrationError: If it is not; the message names what differs.
        """
        given = compared(settings)
        other = {k: v for k, v in self.settings.items() if given.get(k) != v}
        if other:
            was = ", ".join(f"{name} {value}" for name, value in other.items())
            now = ", ".join(f"{name} {given.get(name)}" for name in other)
            raise CalibrationError(f"calibration: expected one of {now}, got one of {was}")
        if self.weights != weights:
            raise CalibrationError("calibration: expected one of this prior, got one of another")
        if self.level != level:
            raise CalibrationError(
                f"calibration: expected one of level {level:g}, got one of {self.level:g}"
            )

    def promise(self) -> str:
        """The guarantee of the intervals, in a sentence."""
        return (
            f"{100 * self.level:g} % of the pixels are inside, on average over pictures like the "
            f"{self.images} of the calibration."
        )

    def as_json(self) -> bytes:
        """The content of a calibration file."""
        entries = {"format": FORMAT, "command": "calibrate"} | asdict(self)
        return json.dumps(entries, indent=1, allow_nan=False).encode()


def read_calibration(path: str | Path) -> Calibration:
    """A calibration from its file.

    Raises:
        PictureError: If the file cannot be read.
        CalibrationError: If it is not a calibration, or has another format.
    """
    try:
        entries = json.loads(read_regular(path, MAX_BYTES))
        number = entries.pop("format")
        if entries.pop("command") != "calibrate" or number != FORMAT:
            raise CalibrationError(
                f"{path}: expected a calibration of format {FORMAT}, got format {number}"
            )
        coverage = {name: Coverage(**entry) for name, entry in entries["coverage"].items()}
        made = Calibration(**entries | {"coverage": coverage})
        finite = [*made.factors.values(), made.region, made.mse, made.level, *made.distances]
        good = set(made.factors) == set(STRATA) and all(math.isfinite(v) for v in finite)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CalibrationError(f"{path}: expected a calibration, got another file") from error
    if not good:
        raise CalibrationError(f"{path}: expected a calibration, got one with wrong entries")
    return made


def distance(features: Tensor, center: Sequence[float], spread: Sequence[Sequence[float]]) -> float:
    """The squared Mahalanobis distance from the center; `spread` is an inverse covariance."""
    d = features - torch.tensor(center, dtype=torch.float64)
    return float(d @ torch.tensor(spread, dtype=torch.float64) @ d)


def compared(settings: Settings) -> dict[str, Any]:
    """The settings that a calibration holds for, as a record has them."""
    return {name: value for name, value in words(settings).items() if name not in PATHS}

"""Intervals that hold: calibrated on pictures whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import CalibrationError, InvalidArgument, require
from reddiff.files import read_regular
from reddiff.images.degradation import degrade_with
from reddiff.images.io import Picture, read_picture
from reddiff.images.places import STRATA, strata
from reddiff.images.records import versions
from reddiff.images.restoration import restore_with
from reddiff.images.restored import Restored
from reddiff.images.settings import Settings, words
from reddiff.interop import door
from reddiff.metrics.draws import Interval, central_interval, moments, needed_draws
from reddiff.priors.photo import weights_hash
from reddiff.random import DRAWING, Keys
from reddiff.uncertainty.conformal import (
    factor_for_cases,
    factor_in_expectation,
    least_cases,
    p_value,
)

FORMAT = 1
MAX_BYTES = 1 << 24
FLOOR = 0.5 / 255  # added to half widths: pixels on which all draws agree have one, too
MOST_PIXELS = 20_000  # of a picture whose scores are kept
FOLDS = 10
ALARM = 0.05
LEAST_ALARM = 40  # pictures; half of them make the reference
PATHS = ("seed", "device", "tile", "page", "range", "prior")  # settings that may differ


@dataclass(frozen=True)
class Coverage:
    """A share of pixels inside intervals, by cross-validation over the calibration pictures.

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
    """What held-out pictures say of the intervals of draws.

    Arguments:
        settings: The settings of the restorations, as a record holds them.
        weights: The hash of the prior's weights.
        level: The level of the intervals.
        images: The number of pictures.
        factors: By stratum, the factor of the half widths.
        region: The factor of the intervals of means over boxes.
        mse: The factor from the variance of the draws to the largest mean squared error.
        coverage: By stratum, and for `all`, of the calibrated intervals; `draws` for those of the
            draws as they are.
        widths: The mean width before and after.
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
        center, below, above = _halves(result, result.interval(self.level))
        low, high = center - factors * below, center + factors * above
        return Interval(low.clamp(0, 1), high.clamp(0, 1))

    def psnr_at_least(self, result: Restored) -> float:
        """The PSNR in dB that the result has at least, with probability `level`."""
        return -10 * math.log10(max(self.mse * _predicted_mse(result), 1e-12))

    def p_value(self, result: Restored) -> float | None:
        """The p-value that the result is of a picture like those of the calibration.

        None if there were too few of them for an alarm.
        """
        if not self.distances:
            return None
        d = _distance(_features(result), self.center, self.spread)
        return p_value(torch.tensor(self.distances), d)

    def check(self, settings: Settings, weights: str, level: float) -> None:
        """Refuse a calibration of other settings, another prior or level.

        Raises:
            CalibrationError: Naming what differs.
        """
        given = _words(settings)
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
        """What the intervals promise, in a sentence."""
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
        CalibrationError: If it is none, or of another format.
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


def calibrate(
    images: Sequence[str | Path],
    settings: Settings,
    *,
    level: float = 0.9,
    size: int | None = None,
    done: Callable[[int, str], None] = lambda _, __: None,
) -> Calibration:
    """Restore degraded versions of pictures, and compare the intervals of draws with the truth.

    Arguments:
        images: Files of pictures that no prior was trained on: at least 9 for a level of 0.9, and
            40 for the alarm on pictures of another kind.
        settings: How they are degraded and restored; `noise` is required. The seed of a picture
            follows from its content.
        level: The level of the intervals.
        size: Crop the pictures to this side around their center; None for whole pictures.
        done: Called after each picture with its number and name.

    Raises:
        InvalidArgument: If there are too few pictures or draws, or a setting cannot be used.
        PictureError: If a file cannot be read.
    """
    least = least_cases(level)
    require(len(images) >= least, "images", expected=f"at least {least}", got=len(images))
    draws = needed_draws(level) if settings.draws is None else settings.draws
    expected = f"at least {needed_draws(level)} for the level {level:g}"
    require(draws >= needed_draws(level), "draws", expected=expected, got=draws)
    require(settings.noise is not None, "noise", expected="the level to add", got="none")
    network = door.prior(settings.prior)
    pictures = [(_cropped(read_picture(path), size), Path(path).name) for path in images]
    cases: dict[str, _Case] = {}
    for number, (picture, name) in enumerate(pictures, 1):
        key = sha256(picture.pixels.contiguous().numpy().tobytes()).hexdigest()
        if key in cases:
            raise InvalidArgument("images", expected="different pictures", got=f"{name} twice")
        seed = int(key[:12], 16) + settings.seed
        given = replace(settings, draws=draws, prior=network, seed=seed)
        y = degrade_with(picture, given)
        result = restore_with(y, given)
        cases[key] = _case(result, picture.pixels, level, seed)
        done(number, name)
    ordered = [cases[key] for key in sorted(cases)]  # by content, which shuffles kinds
    return _calibration(ordered, replace(settings, draws=draws), weights_hash(network), level)


@dataclass(frozen=True, eq=False)
class _Case:
    """What one picture with a truth says."""

    scores: tuple[Float[Tensor, " _"], ...]  # by stratum
    regions: Float[Tensor, " r"]
    mse: float  # over that predicted
    inside: float  # of the intervals of the draws as they are
    width: float
    features: Float[Tensor, " f"]


def _case(result: Restored, truth: Tensor, level: float, seed: int) -> _Case:
    size = [min(a, b) for a, b in zip(result.pixels.shape, truth.shape, strict=True)]
    c, h, w = size  # enlarged pictures may be larger than the truth
    ends, x = result.interval(level), truth[:c, :h, :w]
    center, below, above = (v[:c, :h, :w] for v in _halves(result, ends))
    error = x - center
    ratio = error.abs() / torch.where(error < 0, below, above)
    place = strata(result.pixels)[:h, :w].expand(c, -1, -1)
    rng = Keys(seed, (0,)).at(DRAWING)
    kept = rng.rand_like(torch.empty(1, ratio.numel()))[0] < MOST_PIXELS / ratio.numel()
    flat, where = ratio.flatten(), place.flatten()
    low, high = (end[:c, :h, :w] for end in ends)
    inside = (x >= low) & (x <= high)
    return _Case(
        scores=tuple(flat[kept & (where == i)].float() for i in range(len(STRATA))),
        regions=_region_scores(result, truth, level, (h, w), seed),
        mse=float(error.square().mean()) / _predicted_mse(result),
        inside=float(inside.double().mean()),
        width=float(ends.width.mean()),
        features=_features(result),
    )


def _halves(result: Restored, ends: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """The center of the intervals of the draws, and the half widths below and above it."""
    center = result.pixels
    below, above = (d.clamp(min=0) + FLOOR for d in (center - ends.low, ends.high - center))
    return center, below, above


def _region_scores(
    result: Restored, truth: Tensor, level: float, size: tuple[int, int], seed: int
) -> Tensor:
    """The score of the mean over a random box, of a side from 4 pixels to half the picture."""
    h, w = size
    u = Keys(seed, (1,)).at(DRAWING).rand_like(torch.empty(1, 3))[0].tolist()
    most = max(4, min(h, w) // 2)
    side = min(h, w, round(4 * (most / 4) ** u[0]))
    top, left = int(u[1] * (h - side + 1)), int(u[2] * (w - side + 1))
    box = (slice(None), slice(top, top + side), slice(left, left + side))
    means = torch.stack([draw[0][box].mean() for draw in result.draws])[None]
    ends = central_interval(means, level, result.usable)
    center, wanted = moments(means, result.usable)[0], truth[box].mean()
    below, above = center - ends.low, ends.high - center
    error = wanted - center
    half = torch.where(error < 0, below, above).clamp(min=1e-6)
    return error.abs() / half


def _predicted_mse(result: Restored) -> float:
    """The mean variance of the draws, in [0, 1] units, with the floor of a half width."""
    return float((result.reconstruction.std / 2).square().mean()) + FLOOR**2


def _features(result: Restored) -> Tensor:
    """Numbers that tell kinds of pictures apart, from the result alone."""
    x = result.pixels.double()
    place = strata(result.pixels)
    gray = x.mean(0)
    fine = [(gray[1:] - gray[:-1]), (gray[:, 1:] - gray[:, :-1])]
    coarse = [(gray[4:] - gray[:-4]), (gray[:, 4:] - gray[:, :-4])]
    energy, far = (
        sum(float(d.square().mean()) for d in pair) / 2 + 1e-6 for pair in (fine, coarse)
    )
    peaked = sum(float(d.abs().mean()) for d in fine) / 2
    numbers = [
        math.log(result.residual_ratio + 1e-3) if math.isfinite(result.residual_ratio) else 0.0,
        math.log(_predicted_mse(result)),
        float((place == 0).double().mean()),
        float((place == 1).double().mean()),
        math.log(energy),
        math.log(energy / far),
        math.log(energy / (peaked**2 + 1e-6)),
        float(gray.mean()),
        float(gray.std()),
        float(x.std(0).mean()) if len(x) > 1 else 0.0,
    ]
    return torch.tensor(numbers, dtype=torch.float64)


def _distance(
    features: Tensor, center: Sequence[float], spread: Sequence[Sequence[float]]
) -> float:
    d = features - torch.tensor(center, dtype=torch.float64)
    return float(d @ torch.tensor(spread, dtype=torch.float64) @ d)


def _calibration(cases: list[_Case], settings: Settings, weights: str, level: float) -> Calibration:
    factors = _factors(cases, level)
    coverage = _coverage(cases, level)
    center, spread, distances = _alarm(cases)
    before = _mean([case.width for case in cases])
    regions = torch.cat([case.regions for case in cases])
    mean_factor = _mean(
        [
            sum(f * len(s) for f, s in zip(factors.values(), case.scores, strict=True))
            / max(1, sum(len(s) for s in case.scores))
            for case in cases
        ]
    )
    return Calibration(
        settings=_words(settings),
        weights=weights,
        level=level,
        images=len(cases),
        factors=factors,
        region=factor_for_cases(regions, level),
        mse=factor_for_cases(torch.tensor([case.mse for case in cases]), level),
        coverage=coverage,
        widths=(before, before * mean_factor),
        center=center,
        spread=spread,
        distances=distances,
        made_by=versions(),
    )


def _factors(cases: Sequence[_Case], level: float) -> dict[str, float]:
    """By stratum, from the pictures that have it; where these are too few, from all pixels."""
    found = {}
    for i, name in enumerate(STRATA):
        having = [case.scores[i] for case in cases if len(case.scores[i])]
        if len(having) < least_cases(level):
            having = [torch.cat(case.scores) for case in cases]
        found[name] = factor_in_expectation(having, level)
    return found


def _coverage(cases: Sequence[_Case], level: float) -> dict[str, Coverage]:
    """Of every part of the pictures, with the factors of the rest."""
    found: dict[str, list[float]] = {name: [] for name in (*STRATA, "all")}
    folds = min(FOLDS, len(cases))
    for fold in range(folds):
        rest = [case for i, case in enumerate(cases) if i % folds != fold]
        if len(rest) < least_cases(level):
            continue
        factors = _factors(rest, level)
        for case in cases[fold::folds]:
            inside = [(s <= f).double() for s, f in zip(case.scores, factors.values(), strict=True)]
            for name, values in zip(STRATA, inside, strict=True):
                found[name] += [float(values.mean())] if len(values) else []
            found["all"].append(float(torch.cat(inside).mean()))
    found["draws"] = [case.inside for case in cases]
    return {name: _estimate(values) for name, values in found.items() if values}


def _estimate(values: Sequence[float]) -> Coverage:
    mean = _mean(values)
    if len(values) < 2:
        return Coverage(mean, 0.0, 1.0)
    half = 1.96 * float(torch.tensor(values).std()) / math.sqrt(len(values))
    return Coverage(mean, max(0.0, mean - half), min(1.0, mean + half))


def _alarm(cases: Sequence[_Case]) -> tuple[list[float], list[list[float]], list[float]]:
    """The center and spread of half of the features, and the distances of the other half."""
    if len(cases) < LEAST_ALARM:
        return [], [], []
    features = torch.stack([case.features for case in cases])
    first, rest = features[::2], features[1::2]
    center = first.mean(0)
    cov = torch.cov(first.mT)
    cov = cov + torch.diag(0.1 * cov.diagonal() + 1e-6)
    spread = torch.linalg.inv(cov).tolist()
    return center.tolist(), spread, sorted(_distance(f, center.tolist(), spread) for f in rest)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _words(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in words(settings).items() if name not in PATHS}


def _cropped(picture: Picture, size: int | None) -> Picture:
    pixels = picture.pixels
    if size is None:
        return replace(picture, alpha=None)
    height, width = picture.size
    expected = f"at least {size} pixels on each side"
    require(min(height, width) >= size, "size", expected=expected, got=f"{width}x{height}")
    top, left = (height - size) // 2, (width - size) // 2
    return replace(picture, pixels=pixels[:, top : top + size, left : left + size], alpha=None)

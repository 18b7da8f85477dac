"""Calibrate intervals on pictures whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch

from reddiff.errors import InvalidArgument, require
from reddiff.images.calibration import Calibration, Coverage, compared, distance
from reddiff.images.calibration_cases import Case, case_of
from reddiff.images.degradation import degrade_with
from reddiff.images.io import Picture, read_picture
from reddiff.images.places import STRATA
from reddiff.images.records import versions
from reddiff.images.restoration import restore_with
from reddiff.images.settings import Settings
from reddiff.interop import door
from reddiff.metrics.draws import needed_draws
from reddiff.priors.photo import weights_hash
from reddiff.uncertainty.conformal import factor_for_cases, factor_in_expectation, least_cases

FOLDS = 10
LEAST_ALARM = 40  # pictures; half of them make the reference


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
        images: Files of pictures that the prior was not trained on: at least 9 for a level of 0.9,
            and 40 for the check for unusual pictures.
        settings: How they are degraded and restored; `noise` is required. The seed of a picture is
            computed from its content.
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
    cases: dict[str, Case] = {}
    for number, (picture, name) in enumerate(pictures, 1):
        key = sha256(picture.pixels.contiguous().numpy().tobytes()).hexdigest()
        if key in cases:
            raise InvalidArgument("images", expected="different pictures", got=f"{name} twice")
        seed = int(key[:12], 16) + settings.seed
        given = replace(settings, draws=draws, prior=network, seed=seed)
        y = degrade_with(picture, given)
        result = restore_with(y, given)
        made = int(result.usable.sum())
        got = f"{made} of {draws} that did not diverge, for {name}"
        require(made >= needed_draws(level), "draws", expected=expected, got=got)
        cases[key] = case_of(result, picture.pixels, level, seed)
        done(number, name)
    ordered = [cases[key] for key in sorted(cases)]  # by content, which shuffles kinds
    return _fitted(ordered, replace(settings, draws=draws), weights_hash(network), level)


def _fitted(cases: list[Case], settings: Settings, weights: str, level: float) -> Calibration:
    factors = _factors(cases, level)
    coverage = _coverage(cases, level)
    center, spread, distances = _alarm(cases)
    before = _mean([case.width for case in cases])
    regions = torch.cat([case.regions for case in cases])
    after = sum(
        f * _mean([case.widths[i] for case in cases]) for i, f in enumerate(factors.values())
    )
    return Calibration(
        settings=compared(settings),
        weights=weights,
        level=level,
        images=len(cases),
        factors=factors,
        region=factor_for_cases(regions, level),
        mse=factor_for_cases(torch.tensor([case.mse for case in cases]), level),
        coverage=coverage,
        widths=(before, after),
        center=center,
        spread=spread,
        distances=distances,
        made_by=versions(),
    )


def _factors(cases: Sequence[Case], level: float) -> dict[str, float]:
    """Stratum -> factor, from the pictures that have it, or from all pixels if too few do.

    A picture counts the same in a stratum however many of its pixels are in it, so that the strata
    alone promise nothing of all pixels: if these need more, all factors grow in proportion.
    """
    found = {}
    for i, name in enumerate(STRATA):
        having = [case.scores[i] for case in cases if len(case.scores[i])]
        if len(having) < least_cases(level):
            having = [torch.cat(case.scores) for case in cases]
        found[name] = factor_in_expectation(having, level)
    widened = [
        torch.cat([s / max(f, 1e-12) for s, f in zip(case.scores, found.values(), strict=True)])
        for case in cases
    ]
    common = max(1.0, factor_in_expectation(widened, level))
    return {name: common * factor for name, factor in found.items()}


def _coverage(cases: Sequence[Case], level: float) -> dict[str, Coverage]:
    """The coverage in every fold of the pictures, with the factors of the other folds."""
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


def _alarm(cases: Sequence[Case]) -> tuple[list[float], list[list[float]], list[float]]:
    """The center and spread of half of the features, and the distances of the other half."""
    if len(cases) < LEAST_ALARM:
        return [], [], []
    features = torch.stack([case.features for case in cases])
    first, rest = features[::2], features[1::2]
    center = first.mean(0)
    cov = torch.cov(first.mT)
    cov = cov + torch.diag(0.1 * cov.diagonal() + 1e-6)
    spread = torch.linalg.inv(cov).tolist()
    return center.tolist(), spread, sorted(distance(f, center.tolist(), spread) for f in rest)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cropped(picture: Picture, size: int | None) -> Picture:
    pixels = picture.pixels
    if size is None:
        return replace(picture, alpha=None)
    height, width = picture.size
    expected = f"at least {size} pixels on each side"
    require(min(height, width) >= size, "size", expected=expected, got=f"{width}x{height}")
    top, left = (height - size) // 2, (width - size) // 2
    return replace(picture, pixels=pixels[:, top : top + size, left : left + size], alpha=None)

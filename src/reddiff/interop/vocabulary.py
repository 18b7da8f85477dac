"""The names that `reddiff.prior` accepts for predictions and schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, lookup, require, require_count
from reddiff.priors.paths import Chain, ContinuousVP, EDMInput, Path, Unscaled
from reddiff.priors.predictions import (
    X0,
    EDMOutput,
    Eps,
    Prediction,
    ScaledScore,
    Score,
    V,
    Velocity,
)
from reddiff.priors.straight import Straight
from reddiff.schedules import Schedule, cosine

# Names of predictions in this package; those of diffusers are in `SPELLINGS`.
PREDICTIONS: dict[str, type[Prediction]] = {
    "eps": Eps,
    "v": V,
    "x0": X0,
    "score": Score,
    "scaled-score": ScaledScore,
    "flow": Velocity,
    "edm": EDMOutput,
    "denoiser": X0,
}
SPELLINGS = {
    "epsilon": "eps",
    "noise": "eps",
    "v_prediction": "v",
    "velocity": "flow",
    "flow_prediction": "flow",
    "sample": "x0",
    "denoised": "denoiser",
    "consistency": "denoiser",
}
# Predictions that imply a path.
PATHS: dict[str, Callable[[], Path]] = {
    "flow": Straight,
    "edm": EDMInput,
    "denoiser": partial(Unscaled, 0.002, 80.0),
}


def _linear(
    beta_min: float = 1e-4, beta_max: float = 0.02, steps: int = 1000, integer_time: bool = False
) -> Path:
    require_count("steps", steps, 2)
    beta = torch.linspace(beta_min, beta_max, steps, dtype=torch.float64)
    return Chain(torch.cumprod(1 - beta, 0), integer_time=integer_time)


def _scaled_linear(
    beta_min: float = 0.00085,
    beta_max: float = 0.012,
    steps: int = 1000,
    integer_time: bool = False,
) -> Path:
    require_count("steps", steps, 2)
    root = torch.linspace(beta_min**0.5, beta_max**0.5, steps, dtype=torch.float64)
    return Chain(torch.cumprod(1 - root**2, 0), integer_time=integer_time)


def _cosine(steps: int = 1000, integer_time: bool = False) -> Path:
    alpha = cosine(steps, T=steps).alpha[:-1].flip(0)
    return Chain(alpha**2, integer_time=integer_time)


def _exploding(sigma_min: float = 0.01, sigma_max: float = 50.0, log_time: bool = False) -> Path:
    return Unscaled(sigma_min, sigma_max, log_time=log_time)


# Names of schedules, and the parameters that a dict may have.
SCHEDULES: dict[str, Callable[..., Path]] = {
    "linear": _linear,  # DDPM, ADM: betas from 1e-4 to 0.02
    "scaled-linear": _scaled_linear,  # Stable Diffusion: their roots, 0.00085 to 0.012
    "cosine": _cosine,  # Improved DDPM; diffusers' squaredcos_cap_v2
    "vp": ContinuousVP,  # t in (0, 1]
    "ve": _exploding,  # t = sigma, or ln(sigma / 2)
    "flow": Straight,  # data at t = 0; {"name": "flow", "data_at": 1} for flow matching
    "edm": EDMInput,
}


def prediction_named(
    name: str | Prediction, sigma_data: float | None = None, bound: float | None = None
) -> Prediction:
    """The prediction of this name.

    Arguments:
        name: A name in `PREDICTIONS` or `SPELLINGS`, or the object.
        sigma_data: The standard deviation in EDM's preconditioning, 0.5 by default.
        bound: The bound of EDM's F; none by default.

    Raises:
        InvalidArgument: If the name is unknown, or the prediction does not have this parameter.
    """
    if isinstance(name, Prediction):
        return name
    kind = lookup(PREDICTIONS, "prediction", SPELLINGS.get(name, name))
    given = {"sigma_data": sigma_data, "bound": bound}
    numbers = {key: value for key, value in given.items() if value is not None}
    if kind is EDMOutput:
        return EDMOutput(**numbers)
    expected = f"none for prediction {name!r}, as they are of edm"
    require(not numbers, ", ".join(numbers), expected=expected, got="a value")
    return kind()


def path_of(
    schedule: object, prediction: str | Prediction, sigma_data: float | None = None
) -> Path:
    """The path of a schedule.

    Arguments:
        schedule: A name, a dict of a name and its parameters, a vector of alpha^2 (abar), a VP
            `Schedule`, a `Path`, or None for the path that the prediction implies.
        prediction: The name of the prediction.
        sigma_data: The standard deviation in EDM's preconditioning, 0.5 by default.

    Raises:
        InvalidArgument: If it is none of these, or None for a prediction that implies no path.
    """
    word = SPELLINGS.get(prediction, prediction) if isinstance(prediction, str) else "an object"
    if schedule is None:
        known = word in PATHS
        expected = f"alpha^2 of each step, or one of {', '.join(SCHEDULES)}"
        require(known, "schedule", expected=expected, got=f"none for prediction {word!r}")
        return EDMInput(sigma_data=sigma_data) if sigma_data is not None else PATHS[word]()
    if isinstance(schedule, Path):
        return schedule
    if isinstance(schedule, Schedule):
        return Chain(_abar(schedule))
    if isinstance(schedule, str):
        return _named(schedule, {})
    if isinstance(schedule, Mapping):
        numbers = dict(schedule)
        return _named(str(numbers.pop("name", "none")), numbers)
    table: Any = schedule
    return Chain(table)


def _named(name: str, numbers: Mapping[str, Any]) -> Path:
    name = name.replace("_", "-").replace("squaredcos-cap-v2", "cosine")
    make = lookup(SCHEDULES, "schedule", name)
    try:
        return make(**numbers)
    except TypeError as error:
        got = ", ".join(f"{k}={v}" for k, v in numbers.items())
        raise InvalidArgument("schedule", expected=f"the numbers of {name!r}", got=got) from error


def _abar(schedule: Schedule) -> Tensor:
    """The alpha^2 of the levels of a VP schedule, cleanest first."""
    alpha, sigma = schedule.alpha[:-1], schedule.sigma[:-1]
    off = float((alpha**2 + sigma**2 - 1).abs().max())
    expected = "a VP schedule, alpha^2 + sigma^2 = 1, or the path itself"
    require(off < 1e-3, "schedule", expected=expected, got=f"a sum {off:.2g} from 1")
    return (alpha**2 / (alpha**2 + sigma**2)).flip(0)

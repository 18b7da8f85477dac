"""The prediction, path and pixels of a network, from the config of its diffusers scheduler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.errors import lookup, require
from reddiff.interop.wiring import Wiring
from reddiff.priors.paths import Chain, EDMInput, Path, Unscaled
from reddiff.priors.predictions import EDMOutput, Prediction, V
from reddiff.priors.straight import Straight

Config = Mapping[str, Any]
T = TypeVar("T")


def read_scheduler(config: Config, *, integer_time: bool = False) -> Wiring:
    """How a network was trained, as the config of its scheduler describes it.

    Only settings of the training are used. Settings of the sampling are ignored: the spacing of
    steps, `shift`, `clip_sample` and `thresholding` (solvers need the unmodified estimate).

    Arguments:
        config: With `_class_name`, as in `scheduler_config.json`.
        integer_time: Whether the network looks up its time in a table.

    Raises:
        InvalidArgument: If its class, `prediction_type` or `beta_schedule` is unknown.
    """
    name = str(config.get("_class_name", "a scheduler without a _class_name"))
    for part, read in _READERS.items():
        if part in name:
            return read(config)
    known = "beta_schedule" in config or "trained_betas" in config
    expected = "a scheduler with betas, or an EDM, flow-matching, VE or consistency scheduler"
    require(known, "schedule", expected=expected, got=name)
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return _flow(config)
    prediction = _prediction(config, _CHAIN)
    if config.get("timestep_type") == "continuous" and prediction == "v":
        path = EDMInput(*_levels(config, 0.002, 700.0), sigma_data=1.0)
        return Wiring(prediction=V(), schedule=path)
    chain = Chain(alphas_bar(config), integer_time=integer_time)
    return Wiring(prediction=prediction, schedule=chain)


def alphas_bar(config: Config) -> Float64[Tensor, " T"]:
    """The alpha^2 of the chain, with a last 0 where the terminal signal-to-noise ratio is zero."""
    steps = int(config.get("num_train_timesteps", 1000))
    low, high = (float(config.get(k, v)) for k, v in (("beta_start", 1e-4), ("beta_end", 0.02)))
    trained = config.get("trained_betas")
    if trained is not None:
        betas = torch.as_tensor(trained, dtype=torch.float64)
        require(betas.ndim == 1, "trained_betas", expected="a vector", got=tuple(betas.shape))
    else:
        name = str(config.get("beta_schedule", "linear"))
        betas = lookup(_BETAS, "beta_schedule", name)(steps, low, high)
    abar = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):
        alpha = abar.sqrt()
        abar = ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2
    return abar


@dataclass(frozen=True)
class NegatedEDMOutput(EDMOutput):
    """EDM's F with the opposite sign, the "v_prediction" of diffusers' EDM schedulers."""

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        return super().x_0(-out, x, s, path)


@dataclass(frozen=True)
class ConsistencyOutput(Prediction):
    r"""A consistency model's F: the estimate is x itself at the lowest level.

    Arguments:
        sigma_min: The lowest level.
        sigma_data: The standard deviation of the data.

    References:
        | Consistency Models (Song et al., 2023), Appendix C, https://arxiv.org/abs/2303.01469
    """

    sigma_min: float
    sigma_data: float

    def x_0(self, out: Tensor, x: Tensor, s: Tensor, path: Path) -> Tensor:
        above, var = s - self.sigma_min, self.sigma_data**2
        skip = var / (above**2 + var)
        return skip * x + above * self.sigma_data * torch.rsqrt(s**2 + var) * out


class ConsistencyInput(EDMInput):
    """EDM's input with 1000 times its c_noise."""

    def time(self, s: Tensor) -> Tensor:
        return 1000 * super().time(s)


def _edm(config: Config) -> Wiring:
    data = float(config.get("sigma_data", 0.5))
    kinds = {"epsilon": EDMOutput(data), "v_prediction": NegatedEDMOutput(data)}
    path = EDMInput(*_levels(config, 0.002, 80.0), sigma_data=data)
    return Wiring(prediction=_prediction(config, kinds), schedule=path)


def _flow(config: Config) -> Wiring:
    steps = int(config.get("num_train_timesteps", 1000))
    at = 1 if config.get("invert_sigmas") else 0
    path = Straight(1 / steps, 1 - 1 / steps, data_at=at, times=steps)
    return Wiring(prediction="flow", schedule=path)


def _ve(config: Config) -> Wiring:
    path = Unscaled(*_levels(config, 0.01, 1348.0))
    return Wiring(prediction="score", schedule=path, values=(0, 1))


def _consistency(config: Config) -> Wiring:
    data, levels = float(config.get("sigma_data", 0.5)), _levels(config, 0.002, 80.0)
    path = ConsistencyInput(*levels, sigma_data=data)
    return Wiring(prediction=ConsistencyOutput(levels[0], data), schedule=path)


_CHAIN = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "original_sample": "x0"}
_READERS: dict[str, Callable[[Config], Wiring]] = {  # by a part of the class's name
    "EDM": _edm,
    "CosineDPMSolver": _edm,
    "FlowMatch": _flow,
    "ScoreSdeVe": _ve,
    "CMStochasticIterative": _consistency,
}


def _prediction(config: Config, kinds: Mapping[str, T]) -> T:
    name = str(config.get("prediction_type") or "epsilon")
    return lookup(kinds, "prediction_type", name)


def _levels(config: Config, low: float, high: float) -> tuple[float, float]:
    """sigma_min and sigma_max, which may be null."""
    given = (config.get("sigma_min"), config.get("sigma_max"))
    return float(given[0] or low), float(given[1] or high)


def _even(steps: int, low: float, high: float) -> Tensor:
    return torch.linspace(low, high, steps, dtype=torch.float64)


def _squared(steps: int, low: float, high: float) -> Tensor:
    return _even(steps, low**0.5, high**0.5) ** 2


def _sigmoid(steps: int, low: float, high: float) -> Tensor:
    return _even(steps, -6, 6).sigmoid() * (high - low) + low


def _ratios(alpha_bar: Callable[[float], float]) -> Callable[[int, float, float], Tensor]:
    """The betas, 0.999 at most, of a continuous alpha^2 of t in [0, 1]."""

    def betas(steps: int, low: float, high: float) -> Tensor:
        values = [alpha_bar(t / steps) for t in range(steps + 1)]
        ratios = [b / a for a, b in pairwise(values)]
        return torch.tensor([min(1 - r, 0.999) for r in ratios], dtype=torch.float64)

    return betas


_BETAS: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": _even,
    "scaled_linear": _squared,
    "squaredcos_cap_v2": _ratios(lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2),
    "exp": _ratios(lambda t: math.exp(-12 * t)),
    "sigmoid": _sigmoid,
}

r"""Noise paths: the scale of a network's input x_t and the network's time, at noise level s.

The noise level of a prior is :math:`s = \sigma / \alpha`. A network was trained on
:math:`x_t = \alpha(t)\,x_0 + \sigma(t)\,n`; a path maps s to the corresponding alpha and t.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.priors.networks import read_abar


class Path(nn.Module, ABC):
    """The inputs that a network was trained on, as functions of the noise level s.

    Arguments:
        sigma_min: The lowest s of the path.
        sigma_max: The highest s of the path.
    """

    bounded: ClassVar[bool] = True  # whether other levels have no input

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    @abstractmethod
    def alpha(self, s: Tensor) -> Tensor:
        """The scale alpha of the network's input x_t = alpha (x_0 + s n), with the shape of s."""

    @abstractmethod
    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        """The network's time at noise level s."""

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        r"""(p, q) such that x_0 = p x + q u, for the velocity :math:`u = \alpha' x_0 + \sigma' n`.

        Raises:
            InvalidArgument: If the path has no differentiable time.
        """
        expected, got = "one other than the velocity for this path", type(self).__name__
        raise InvalidArgument("prediction", expected=expected, got=got)


class Chain(Path):
    """The T steps of a variance-preserving (VP) chain, as in DDPM.

    Arguments:
        abar: The T values of alpha^2, decreasing, as a tensor, an array or a list. A last value of
            0 (zero terminal SNR) is dropped.
        integer_time: Whether to round t to the nearest integer, for networks that look it up in a
            table; otherwise t, from 0 to T - 1, is interpolated in log s.

    Raises:
        InvalidArgument: If `abar` does not decrease within (0, 1).
    """

    log_levels: Tensor

    def __init__(
        self, abar: Tensor | NDArray[Any] | Sequence[float], *, integer_time: bool = False
    ) -> None:
        values = read_abar(abar)
        levels = ((1 - values) / values).sqrt()
        super().__init__(float(levels[0]), float(levels[-1]))
        self.integer_time = integer_time
        if isinstance(abar, Tensor):
            levels = levels.to(abar.device)
        self.register_buffer("log_levels", levels.log(), persistent=False)

    def alpha(self, s: Tensor) -> Tensor:
        return torch.rsqrt(1 + s**2)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        """The step t at which the chain has noise level s."""
        log_s, levels = s.double().log(), self.log_levels.double()
        i = torch.searchsorted(levels, log_s).clamp(1, len(levels) - 1)
        t = i - 1 + (log_s - levels[i - 1]) / (levels[i] - levels[i - 1])
        t = t.clamp(0, len(levels) - 1)
        return t.round().long() if self.integer_time else t.to(s.dtype)


class ContinuousVP(Path):
    r"""The variance-preserving SDE: :math:`\alpha^2 = e^{-B(t)}`, t in (0, 1].

    .. math:: B(t) = \beta_{min}\, t + (\beta_{max} - \beta_{min})\, t^2 / 2

    Arguments:
        beta_min: The rate at t = 0.
        beta_max: The rate at t = 1.
        t_min: The smallest t that the network was trained for, between 0 and 1.
        times: The network receives `times` * t; 999 for networks of the authors' code.

    References:
        | Score-Based Generative Modeling through SDEs (Song et al., 2021), Equation 32,
        | https://arxiv.org/abs/2011.13456
    """

    def __init__(
        self,
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        *,
        t_min: float = 1e-3,
        times: float = 1.0,
    ) -> None:
        good = 0 < beta_min < beta_max < math.inf
        got = f"{beta_min}, {beta_max}"
        require(good, "beta_min, beta_max", expected="0 < beta_min < beta_max", got=got)
        require(0 < t_min < 1, "t_min", expected="a number between 0 and 1", got=t_min)
        b = [beta_min * t + (beta_max - beta_min) * t**2 / 2 for t in (t_min, 1)]
        super().__init__(*(math.sqrt(math.expm1(v)) for v in b))
        self.beta_min, self.beta_max, self.times = beta_min, beta_max, times

    def alpha(self, s: Tensor) -> Tensor:
        return torch.rsqrt(1 + s**2)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        return (self.times * self._t(s)).to(s.dtype)

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """(p, q) from alpha' = -beta alpha / 2 and sigma' = beta alpha^2 / (2 sigma)."""
        alpha = self.alpha(s)
        beta = self.beta_min + (self.beta_max - self.beta_min) * self._t(s).to(s.dtype)
        return from_rates(s, -beta * alpha / 2, beta * alpha / (2 * s))

    def _t(self, s: Tensor) -> Tensor:
        """The positive root of B(t) = ln(1 + s^2)."""
        b, rise = torch.log1p(s.double() ** 2), self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + (self.beta_min**2 + 2 * rise * b).sqrt())


class Unscaled(Path):
    """The input x_0 + sigma n, with alpha = 1, of variance-exploding models and denoisers.

    Arguments:
        sigma_min: The lowest noise level that the network was trained for.
        sigma_max: The highest noise level that the network was trained for.
        log_time: Whether the network's time is ln(sigma / 2), as in EDM's VE; otherwise sigma.
    """

    bounded = False

    def __init__(self, sigma_min: float, sigma_max: float, *, log_time: bool = False) -> None:
        super().__init__(sigma_min, sigma_max)
        self.log_time = log_time

    def alpha(self, s: Tensor) -> Tensor:
        return torch.ones_like(s)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        return (s / 2).log() if self.log_time else s

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """(p, q) for time sigma, for which the velocity is n."""
        expected = "one other than the velocity, because the time is a logarithm"
        require(not self.log_time, "prediction", expected=expected, got="a velocity")
        return torch.ones_like(s), -s


def from_rates(s: Tensor, alpha_rate: Tensor, sigma_rate: Tensor) -> tuple[Tensor, Tensor]:
    """(p, q) of `Path.from_velocity`, from the time derivatives of alpha and sigma."""
    total = s * alpha_rate - sigma_rate
    return -sigma_rate / total, s / total


class EDMInput(Path):
    """The input of EDM preconditioning: c_in x, with time c_noise = ln(sigma) / 4.

    Arguments:
        sigma_min: The lowest noise level that the network was trained for.
        sigma_max: The highest noise level that the network was trained for.
        sigma_data: The standard deviation of the training data.
    """

    bounded = False

    def __init__(
        self, sigma_min: float = 0.002, sigma_max: float = 80.0, sigma_data: float = 0.5
    ) -> None:
        super().__init__(sigma_min, sigma_max)
        good = sigma_data > 0 and math.isfinite(sigma_data)
        require(good, "sigma_data", expected="a positive number", got=sigma_data)
        self.sigma_data = sigma_data

    def alpha(self, s: Tensor) -> Tensor:
        return torch.rsqrt(s**2 + self.sigma_data**2)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        return s.log() / 4

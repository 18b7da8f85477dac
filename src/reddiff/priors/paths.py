r"""Where a network expects its input: the scale of x_t and the network's own time, at a level s.

A prior's level is :math:`s = \sigma / \alpha`. A network was trained on
:math:`x_t = \alpha(t)\,x_0 + \sigma(t)\,n`; a path finds the t, and the alpha, that belong to s.
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
    """The inputs a network was trained on, as a function of the level s.

    Arguments:
        sigma_min: The lowest level s of the path.
        sigma_max: The highest.
    """

    bounded: ClassVar[bool] = True  # there are no inputs for other levels

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    @abstractmethod
    def alpha(self, s: Tensor) -> Tensor:
        """The scale of the network's input x_t = alpha (x_0 + s n), of the shape of s."""

    @abstractmethod
    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        """The network's time at the level s."""

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        r"""(p, q) such that x_0 = p x + q u, of the velocity :math:`u = \alpha' x_0 + \sigma' n`.

        Raises:
            InvalidArgument: If the path is a table, or has no time to differentiate by.
        """
        expected, got = "one that the path has, and no velocity", type(self).__name__
        raise InvalidArgument("prediction", expected=expected, got=got)


class Chain(Path):
    """The T steps of a variance-preserving chain (DDPM).

    Arguments:
        abar: The T values of alpha^2, decreasing; a tensor, an array or a list. Where the last is 0
            (a terminal signal-to-noise ratio of zero) that step is left out.
        integer_time: Round t to the nearest trained step, for networks that look it up; else t,
            from 0 to T - 1, is interpolated in log s.

    Raises:
        InvalidArgument: If abar is not a decreasing vector between 0 and 1.
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
        """The step t at which the chain has the level s."""
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
        t_min: The least t the network is good for.
        times: The network is given `times` t; 999 for those of the authors' code.

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
        """With alpha' = -beta alpha / 2 and sigma' = beta alpha^2 / 2 sigma, by t in (0, 1]."""
        alpha = self.alpha(s)
        beta = self.beta_min + (self.beta_max - self.beta_min) * self._t(s).to(s.dtype)
        return from_rates(s, -beta * alpha / 2, beta * alpha / (2 * s))

    def _t(self, s: Tensor) -> Tensor:
        """The positive root of B(t) = ln(1 + s^2)."""
        b, rise = torch.log1p(s.double() ** 2), self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + (self.beta_min**2 + 2 * rise * b).sqrt())


class Unscaled(Path):
    """x itself and its noise level: the input of variance-exploding models and of denoisers.

    Arguments:
        sigma_min: The lowest level the network is good for.
        sigma_max: The highest.
        log_time: The network is given ln(sigma / 2), as those of EDM's VE are; else sigma.
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
        """The velocity by sigma is n."""
        expected = "by sigma, and not by its logarithm"
        require(not self.log_time, "prediction", expected=expected, got="a velocity")
        return torch.ones_like(s), -s


def from_rates(s: Tensor, alpha_rate: Tensor, sigma_rate: Tensor) -> tuple[Tensor, Tensor]:
    """(p, q) of `Path.from_velocity`, from the derivatives of alpha and sigma."""
    total = s * alpha_rate - sigma_rate
    return -sigma_rate / total, s / total


class EDMInput(Path):
    """EDM's c_in x, and c_noise = ln(sigma) / 4.

    Arguments:
        sigma_min: The lowest level the network is good for.
        sigma_max: The highest.
        sigma_data: The standard deviation of the data the network was trained with.
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

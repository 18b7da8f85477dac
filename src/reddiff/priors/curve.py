"""A path given by alpha(t) and sigma(t)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.priors.paths import Path, from_rates

_POINTS = 1025  # entries of the table of times
_BISECTIONS = 60
_REFINEMENTS = 4  # each divides the error by about a hundred


class Curve(Path):
    """A path given by two functions of the network's time t.

    Arguments:
        alpha_of: Maps t `(n,)`, float64, to alpha > 0.
        sigma_of: Maps t to sigma > 0; sigma / alpha must be strictly monotonic.
        t_min: The smallest time that the network was trained for.
        t_max: The largest time that the network was trained for.

    Raises:
        InvalidArgument: If sigma / alpha is not strictly monotonic, finite and positive, or if
            t_min is not below t_max.
    """

    times: Tensor  # at levels evenly spaced in log s

    def __init__(
        self,
        alpha_of: Callable[[Tensor], Tensor],
        sigma_of: Callable[[Tensor], Tensor],
        t_min: float,
        t_max: float,
    ) -> None:
        require(t_min < t_max, "t_min, t_max", expected="t_min < t_max", got=f"{t_min}, {t_max}")
        t = torch.linspace(t_min, t_max, _POINTS, dtype=torch.float64)
        levels = (sigma_of(t) / alpha_of(t)).log()
        if levels[-1] < levels[0]:
            t, levels = t.flip(0), levels.flip(0)
        good = bool(torch.isfinite(levels).all()) and bool((levels.diff() > 0).all())
        got = f"sigma / alpha from {float(levels[0].exp()):.4g} to {float(levels[-1].exp()):.4g}"
        expected = "sigma / alpha finite, positive and strictly monotonic"
        require(good, "alpha_of, sigma_of", expected=expected, got=got)
        super().__init__(float(levels[0].exp()), float(levels[-1].exp()))
        self.alpha_of, self.sigma_of = alpha_of, sigma_of
        self.log_min, self.log_step = float(levels[0]), float(levels[-1] - levels[0]) / (len(t) - 1)
        even = torch.linspace(float(levels[0]), float(levels[-1]), len(t), dtype=torch.float64)
        i = torch.searchsorted(levels, even).clamp(1, len(t) - 1)
        low, high = t[i - 1], t[i]
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self._log_level(middle) < even
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        self.register_buffer("times", (low + high) / 2, persistent=False)

    def alpha(self, s: Tensor) -> Tensor:
        return self.alpha_of(self._t(s)).to(s.dtype)

    def time(self, s: Float[Tensor, " b"]) -> Tensor:
        return self._t(s).to(s.dtype)

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """(p, q) by automatic differentiation of both functions."""
        rates = []
        with torch.enable_grad():
            t = self._t(s).detach().requires_grad_()
            for function in (self.alpha_of, self.sigma_of):
                (rate,) = torch.autograd.grad(function(t).sum(), t)
                rates.append(rate.to(s.dtype))
        return from_rates(s, *rates)

    def _log_level(self, t: Tensor) -> Tensor:
        return (self.sigma_of(t) / self.alpha_of(t)).log()

    def _t(self, s: Tensor) -> Tensor:
        """The time at level s: interpolated in the table, then refined by the chord method."""
        times = self.times.double()
        ends = math.log(self.sigma_min), math.log(self.sigma_max)
        log_s = s.double().log().clamp(*ends)
        at = (log_s - self.log_min) / self.log_step
        i = at.floor().long().clamp(0, len(times) - 2)
        first, width = times[i], times[i + 1] - times[i]
        t = first + (at - i) * width
        for _ in range(_REFINEMENTS):
            t = t + (log_s - self._log_level(t)) / self.log_step * width
        return t

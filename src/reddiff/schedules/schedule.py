r"""Noise schedules :math:`x_k = \alpha_k x_0 + \sigma_k n`, noisiest level first.

The input of a denoiser depends on :math:`s = \sigma / \alpha` alone. VP, VE (EDM) and flow
schedules are therefore equivalent, and any solver accepts any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.errors import require, require_count

SLACK = 1e-3  # relative tolerance of ranges, for tables in float32


@dataclass(frozen=True, eq=False)
class Schedule:
    """K noise levels, noisiest first, and the final level after the last step.

    Arguments:
        alpha: The K + 1 signal scales, positive.
        sigma: The K + 1 noise scales, positive; only the last may be zero.
        remake: For a preset, builds as many levels within another range (sigma_min, sigma_max).
            None for levels that must not be changed.

    Raises:
        InvalidArgument: If a value is not finite or not positive, or sigma / alpha increases.
    """

    alpha: Tensor
    sigma: Tensor
    remake: Callable[[float, float], Schedule] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).double())
        alpha, sigma = self.alpha, self.sigma
        same = alpha.ndim == 1 and alpha.shape == sigma.shape and len(alpha) >= 2
        shapes = f"{tuple(alpha.shape)} and {tuple(sigma.shape)}"
        require(same, "alpha, sigma", expected="two vectors of equal length >= 2", got=shapes)
        finite = torch.isfinite(alpha) & torch.isfinite(sigma)
        got = f"alpha {_first(alpha, bad := ~finite | (alpha <= 0))}, sigma {_first(sigma, bad)}"
        require(not bad.any(), "alpha", expected="finite values above 0, sigma finite", got=got)
        bad = torch.cat([sigma[:-1] <= 0, sigma[-1:] < 0])
        expected = "values above 0 (the last: 0 or more)"
        require(not bad.any(), "sigma", expected=expected, got=_first(sigma, bad))
        levels = self.levels
        rises = torch.cat([levels[:1] < 0, levels[1:] > levels[:-1] * (1 + 1e-12)])
        got = f"{_first(levels, rises)} after {_first(levels, rises.roll(-1))}"
        require(not rises.any(), "sigma / alpha", expected="noisiest first, no increase", got=got)

    def __len__(self) -> int:
        return len(self.sigma) - 1

    def __call__(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma), each `(b,)`, at step indices `k` `(b,)`, 0 <= k <= K."""
        return self.alpha[k], self.sigma[k]

    @property
    def levels(self) -> Float64[Tensor, " entries"]:
        """The K + 1 noise levels s = sigma / alpha."""
        return self.sigma / self.alpha

    def to(self, device: torch.device | str) -> Schedule:
        """A copy of the schedule on another device."""
        return Schedule(self.alpha.to(device), self.sigma.to(device), self.remake)

    def inside(self, sigma_min: float, sigma_max: float) -> bool:
        """Whether all levels except the final one are in a range, with a tolerance of 0.1 %."""
        s = self.levels[:-1]
        return float(s.min()) >= sigma_min * (1 - SLACK) and float(s.max()) <= sigma_max * (
            1 + SLACK
        )

    def within(self, sigma_min: float, sigma_max: float) -> Schedule:
        """The schedule, built again for a range if it is a preset that leaves this range.

        Raises:
            InvalidArgument: If a preset has no level in the range.
        """
        if self.remake is None or self.inside(sigma_min, sigma_max):
            return self
        return self.remake(sigma_min, sigma_max)

    def subsample(self, steps: int) -> Schedule:
        """Exactly `steps` of the K levels, evenly spaced by index, including both ends.

        Raises:
            InvalidArgument: If `steps` is below 1 or above K.
        """
        require_count("steps", steps)
        require(steps <= len(self), "steps", expected=f"at most {len(self)} levels", got=steps)
        index = torch.linspace(0, len(self) - 1, steps, dtype=torch.float64).round().long()
        index = torch.cat([index, torch.tensor([len(self)])]).to(self.alpha.device)
        return Schedule(self.alpha[index], self.sigma[index])

    def restrict(self, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
        """The levels with sigma_min <= s <= sigma_max, to 0.1 %, and the final level.

        Raises:
            InvalidArgument: If no level is left.
        """
        s = self.levels[:-1]
        keep = (s >= sigma_min * (1 - SLACK)) & (s <= sigma_max * (1 + SLACK))
        require(
            bool(keep.any()),
            "sigma_min, sigma_max",
            expected=f"a range that meets the levels {float(s.min()):.4g} to {float(s.max()):.4g}",
            got=f"{sigma_min:.4g} to {sigma_max:.4g}",
        )
        keep = torch.cat([keep, keep.new_ones(1)])
        return Schedule(self.alpha[keep], self.sigma[keep])


def preset(
    make: Callable[[float, float], Schedule], sigma_min: float = 0.0, sigma_max: float = math.inf
) -> Schedule:
    """A preset: make(sigma_min, sigma_max), which `solve` builds again for a smaller range.

    Arguments:
        make: Maps (sigma_min, sigma_max) to a schedule within that range.
        sigma_min: The lower end of the range of s.
        sigma_max: The upper end of the range of s.
    """
    return replace(make(sigma_min, sigma_max), remake=_Narrower(make, sigma_min, sigma_max))


@dataclass(frozen=True)
class _Narrower:
    """`make` for the intersection of two ranges."""

    make: Callable[[float, float], Schedule]
    sigma_min: float
    sigma_max: float

    def __call__(self, sigma_min: float, sigma_max: float) -> Schedule:
        low, high = max(sigma_min, self.sigma_min), min(sigma_max, self.sigma_max)
        return preset(self.make, low, high)


def in_words(wanted: tuple[float, float], got: tuple[float, float]) -> tuple[str, str]:
    """Two ranges as text, with enough digits to distinguish ends that differ."""
    texts = [("", ""), ("", "")]
    for digits in range(4, 18):
        texts = [(f"{low:.{digits}g}", f"{high:.{digits}g}") for low, high in (wanted, got)]
        pairs = zip(wanted, got, *texts, strict=True)
        if all(one == other or this != that for one, other, this, that in pairs):
            break
    first, second = (f"{low} to {high}" for low, high in texts)
    return first, second


def _first(values: Tensor, bad: Tensor) -> str:
    """The first bad entry and its position, or the number of entries if there is none."""
    if not bad.any():
        return f"{len(values)} values"
    i = int(bad.nonzero()[0])
    return f"{float(values[i]):.6g} (entry {i} of {len(values)})"

r"""Noise levels: :math:`x_k = \alpha_k x_0 + \sigma_k n`, noisiest first.

What a denoiser sees depends on :math:`s = \sigma / \alpha` alone, so VP, VE (EDM) and flow
schedules are coordinates of one thing, and any solver runs on any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from reddiff.errors import require, require_count

SLACK = 1e-3  # of a prior's range that levels may leave: tables in float32 are that far apart


@dataclass(frozen=True, eq=False)
class Schedule:
    """K noise levels, noisiest first, and the level where the last step arrives.

    Arguments:
        alpha: The K + 1 signal scales, positive.
        sigma: The K + 1 noise scales; positive, only the last may be zero.
        remake: Of a preset: as many levels for a prior of limited range (sigma_min, sigma_max).
            None for levels that are meant as they are.

    Raises:
        InvalidArgument: If a table is not finite, not positive, or sigma / alpha ever increases.
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
        """The scales (alpha, sigma) at step index `k` `(b,)`, 0 <= k <= K: two `(b,)` tensors."""
        return self.alpha[k], self.sigma[k]

    @property
    def levels(self) -> Float64[Tensor, " entries"]:
        """The noise levels s = sigma / alpha of all K + 1 entries."""
        return self.sigma / self.alpha

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule with its tables on another device."""
        return Schedule(self.alpha.to(device), self.sigma.to(device), self.remake)

    def inside(self, sigma_min: float, sigma_max: float) -> bool:
        """Whether all levels but the arrival are in a range, or within 0.1 % of its ends."""
        s = self.levels[:-1]
        return float(s.min()) >= sigma_min * (1 - SLACK) and float(s.max()) <= sigma_max * (
            1 + SLACK
        )

    def within(self, sigma_min: float, sigma_max: float) -> Schedule:
        """A preset whose levels leave a range, made anew for it; any other as it is.

        Raises:
            InvalidArgument: If a preset has no level in the range.
        """
        if self.remake is None or self.inside(sigma_min, sigma_max):
            return self
        return self.remake(sigma_min, sigma_max)

    def subsample(self, steps: int) -> Schedule:
        """Exactly `steps` of the K levels, evenly by index, both ends kept.

        Raises:
            InvalidArgument: If `steps` is below 1 or above K.
        """
        require_count("steps", steps)
        require(steps <= len(self), "steps", expected=f"at most {len(self)} levels", got=steps)
        index = torch.linspace(0, len(self) - 1, steps, dtype=torch.float64).round().long()
        index = torch.cat([index, torch.tensor([len(self)])]).to(self.alpha.device)
        return Schedule(self.alpha[index], self.sigma[index])

    def restrict(self, sigma_min: float = 0.0, sigma_max: float = math.inf) -> Schedule:
        """Only the levels with sigma_min <= s <= sigma_max, to 0.1 %; the arrival level stays.

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
    """make(sigma_min, sigma_max), made anew by `solve` for priors of a smaller range.

    Arguments:
        make: (sigma_min, sigma_max) to a schedule within.
        sigma_min: No level is below it.
        sigma_max: And none above.
    """
    return replace(make(sigma_min, sigma_max), remake=_Narrower(make, sigma_min, sigma_max))


@dataclass(frozen=True)
class _Narrower:
    """`make` for a range within another."""

    make: Callable[[float, float], Schedule]
    sigma_min: float
    sigma_max: float

    def __call__(self, sigma_min: float, sigma_max: float) -> Schedule:
        low, high = max(sigma_min, self.sigma_min), min(sigma_max, self.sigma_max)
        return preset(self.make, low, high)


def in_words(wanted: tuple[float, float], got: tuple[float, float]) -> tuple[str, str]:
    """Two ranges, with as many digits as it takes for ends that differ to look different."""
    texts = [("", ""), ("", "")]
    for digits in range(4, 18):
        texts = [(f"{low:.{digits}g}", f"{high:.{digits}g}") for low, high in (wanted, got)]
        pairs = zip(wanted, got, *texts, strict=True)
        if all(one == other or this != that for one, other, this, that in pairs):
            break
    first, second = (f"{low} to {high}" for low, high in texts)
    return first, second


def _first(values: Tensor, bad: Tensor) -> str:
    """The first entry that is bad, and where; or how many entries there are."""
    if not bad.any():
        return f"{len(values)} values"
    i = int(bad.nonzero()[0])
    return f"{float(values[i]):.6g} (entry {i} of {len(values)})"

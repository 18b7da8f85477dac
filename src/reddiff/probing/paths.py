"""Alternative noise paths for a network."""

from __future__ import annotations

import torch
from torch import Tensor

from reddiff.errors import ReddiffError
from reddiff.interop.vocabulary import path_of
from reddiff.priors.paths import Chain, ContinuousVP, EDMInput, Path, Unscaled
from reddiff.priors.straight import Straight

SHIFTS = (0.25, 0.5, 2.0, 4.0)


class Retimed(Path):
    """Base class of paths with another time.

    Arguments:
        path: The original path.
        factor: The factor on its level or time.
    """

    def __init__(self, path: Path, factor: float = 1.0) -> None:
        super().__init__(path.sigma_min, path.sigma_max)
        self.path, self.factor = path, factor

    def alpha(self, s: Tensor) -> Tensor:
        return self.path.alpha(s)


class Shifted(Retimed):
    """A path with the time for level `factor` * s in place of s."""

    def time(self, s: Tensor) -> Tensor:
        level = (s * self.factor).clamp(self.sigma_min, self.sigma_max)
        return self.path.time(level)

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return self.path.from_velocity(s)


class Reversed(Retimed):
    """A chain whose steps are counted from the noisy end."""

    path: Chain

    def time(self, s: Tensor) -> Tensor:
        return len(self.path.log_levels) - 1 - self.path.time(s)


class Rescaled(Retimed):
    """A path with its time multiplied by `factor`."""

    def time(self, s: Tensor) -> Tensor:
        return self.path.time(s) * self.factor


def other_paths(given: Path) -> list[Path]:
    """Alternatives to a path."""
    table = isinstance(given, Chain)
    integer = isinstance(given, Chain) and given.integer_time
    steps = len(given.log_levels) if isinstance(given, Chain) else 1000
    found: list[Path] = []
    for name in ("linear", "scaled-linear", "cosine"):
        numbers = {"name": name, "steps": steps, "integer_time": integer}
        found.append(path_of(numbers, "eps"))
    found += [Shifted(given, factor) for factor in SHIFTS]
    if isinstance(given, Chain):
        found.append(Reversed(given))
    if not integer:
        found += [Rescaled(given, 1 / (steps if table else 1000)), Rescaled(given, 1000 / steps)]
        found += [ContinuousVP(), ContinuousVP(times=999), Unscaled(0.002, 80.0)]
        found += [Straight(), Straight(times=1000), Straight(data_at=1)]
        found += [EDMInput(), EDMInput(sigma_data=1.0)]
    return [path for path in found if not same_path(path, given)]


def same_path(a: Path, b: Path) -> bool:
    """Whether two paths are the same in the range that they share."""
    low, high = max(a.sigma_min, b.sigma_min, 1e-2), min(a.sigma_max, b.sigma_max, 50.0)
    if low >= high:
        return False
    s = torch.logspace(0, 1, 9, base=high / low, dtype=torch.float64) * low
    try:
        pairs = [(p.alpha(s).double(), p.time(s).double()) for p in (a, b)]
    except ReddiffError:
        return False
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-4) for x, y in zip(*pairs, strict=True))


def longer(path: Path, sigma_max: float) -> Path | None:
    """The path with a range beyond a level, or None if it is not known."""
    if path.sigma_max > 1.5 * sigma_max:
        return path
    if isinstance(path, Chain):
        for name in ("linear", "scaled-linear", "cosine"):
            for steps in (1000, 4000):
                whole = path_of({"name": name, "steps": steps}, "eps")
                if whole.sigma_max > 1.5 * sigma_max and same_path(whole, path):
                    return whole
    return None

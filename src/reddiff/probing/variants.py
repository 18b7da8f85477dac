"""Ways to wire one network: what it predicts, on which path, in which pixels and channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, ReddiffError
from reddiff.interop.vocabulary import path_of
from reddiff.priors.around import Around
from reddiff.priors.base import Prior
from reddiff.priors.conditions import ConditionalPrior
from reddiff.priors.network_prior import NetworkPrior, Units
from reddiff.priors.networks import LEARNED_SIGMA
from reddiff.priors.paths import Chain, ContinuousVP, EDMInput, Path, Straight, Unscaled
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
from reddiff.probing.remembered import Remembered

SHIFTS = (0.25, 0.5, 2.0, 4.0)


class Retimed(Path):
    """A path whose network is told another time.

    Arguments:
        path: The path.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.sigma_min, path.sigma_max)
        self.path = path

    def alpha(self, s: Tensor) -> Tensor:
        return self.path.alpha(s)


class Shifted(Retimed):
    """A path whose network is told the level `factor` s in place of s.

    Arguments:
        path: The path.
        factor: The factor.
    """

    def __init__(self, path: Path, factor: float) -> None:
        super().__init__(path)
        self.factor = factor

    def time(self, s: Tensor) -> Tensor:
        level = (s * self.factor).clamp(self.sigma_min, self.sigma_max)
        return self.path.time(level)

    def from_velocity(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return self.path.from_velocity(s)


class Reversed(Retimed):
    """A chain whose network counts its steps from the noisy end."""

    path: Chain

    def time(self, s: Tensor) -> Tensor:
        return len(self.path.log_levels) - 1 - self.path.time(s)


class Rescaled(Retimed):
    """A path whose network is told its time multiplied.

    Arguments:
        path: The path.
        factor: The factor.
    """

    def __init__(self, path: Path, factor: float) -> None:
        super().__init__(path)
        self.factor = factor

    def time(self, s: Tensor) -> Tensor:
        return self.path.time(s) * self.factor


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to wire a network.

    Arguments:
        net: The network.
        like: The prior as given: shape, multiple and precision are kept.
        prediction: What the network predicts.
        path: Its path.
        units: Its pixels, if they are not x itself.
        flipped: Whether its channels are in reverse order.
        second: Whether the second half of its output is the estimate.
    """

    net: Remembered
    like: NetworkPrior
    prediction: Prediction
    path: Path
    units: Units | None = None
    flipped: bool = False
    second: bool = False

    @cached_property
    def prior(self) -> NetworkPrior:
        """The network under this wiring."""
        net: nn.Module = self.net
        if self.flipped or self.second:
            net = _Rearranged(self.net, self.flipped, self.second)
        return NetworkPrior(
            net,
            self.like.shape,
            self.prediction,
            self.path,
            units=self.units,
            multiple=self.like.multiple,
            compute=self.like.compute,
        )

    @property
    def parts(self) -> tuple[object, ...]:
        """What may be changed."""
        return self.prediction, self.path, self.units, self.flipped, self.second

    def changes(self, other: Variant) -> int:
        """The number of parts in which another one differs."""
        return sum(a is not b for a, b in zip(self.parts, other.parts, strict=True))


class _Rearranged(nn.Module):
    """A network with its channels reversed, or the halves of its output exchanged."""

    def __init__(self, net: Remembered, flipped: bool, second: bool) -> None:
        super().__init__()
        self.net, self.flipped, self.second = net, flipped, second

    def forward(self, x: Tensor, t: Tensor) -> object:
        out = self.net(x.flip(1) if self.flipped else x, t)
        if not isinstance(out, Tensor):
            return out
        channels = x.shape[1]
        if self.second and out.shape[1] == LEARNED_SIGMA * channels:
            out = out[:, channels:]
        return out[:, :channels].flip(1) if self.flipped else out


def as_given(prior: Prior) -> Variant:
    """The wiring of a prior; of one that is no network, that of its denoiser D(x, sigma)."""
    while isinstance(prior, Around):
        prior = prior.inner
    condition = None
    if isinstance(prior, ConditionalPrior):
        condition, prior = prior.condition[:1], prior.inner
    if not isinstance(prior, NetworkPrior):
        low, high = prior.sigma_min, min(prior.sigma_max, 80.0)
        path = Unscaled(low, high)
        prior = NetworkPrior(_Denoiser(prior), prior.shape, X0(), path)
    elif condition is None and prior.conditions is not None:
        condition = prior.conditions.without()
        if condition is None:
            expected = "prior.given(label=...), as the network takes a condition"
            raise InvalidArgument("prior", expected=expected, got="none")
    net = Remembered(prior.net, condition)
    return Variant(net, prior, prior.prediction, prior.path, prior.units)


class _Denoiser(nn.Module):
    """D(x, sigma) of a prior as a network."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        estimate: Tensor = self.prior(x, sigma)
        return estimate


class Choices:
    """The paths and units that a network may have, and what was tried of them.

    Arguments:
        given: The wiring as given.
    """

    def __init__(self, given: Variant) -> None:
        self.given = given
        self.paths = paths(given.path)
        others = (None, Units.of_range(0, 1), Units.of_range(0, 255))
        self.units = [given.units, *(u for u in others if not _same_units(u, given.units))]
        self.known: set[tuple[object, ...]] = set()

    def neighbors(self, variant: Variant) -> Iterator[list[Variant]]:
        """Variants in one part, or in prediction and path, that were not tried before.

        Those of a list share the inputs of the network.
        """
        for group in self._neighbors(variant):
            new = [v for v in group if v.parts not in self.known]
            self.known.update(v.parts for v in new)
            if new:
                yield new

    def _neighbors(self, variant: Variant) -> Iterator[list[Variant]]:
        given = self.given
        own = [] if variant.path is given.path else [given.path]
        for path in [variant.path, *own, *self.paths]:
            yield [replace(variant, prediction=p, path=path) for p in predictions(path, given)]
        for units in self.units:
            if units is not variant.units:
                yield [replace(variant, units=units)]
                # a shift of the levels may have made up for the range
                yield [replace(variant, units=units, path=path) for path in own]
        if variant.like.shape[0] == 3:
            yield [replace(variant, flipped=not variant.flipped)]
        yield [replace(variant, second=not variant.second)]


def predictions(path: Path, given: Variant) -> list[Prediction]:
    """What a network may predict on a path."""
    found: list[Prediction] = [] if path is not given.path else [given.prediction]
    if isinstance(path, EDMInput):
        found.append(EDMOutput(path.sigma_data))
    for prediction in (Eps(), V(), X0(), Score(), ScaledScore(), Velocity()):
        known = path is given.path and type(prediction) is type(given.prediction)
        odd = isinstance(prediction, Velocity) and not isinstance(path, Straight)
        if known or (odd and path is not given.path):
            continue
        try:
            one = torch.ones(1, dtype=torch.float64)
            prediction.x_0(one, one, one * path.sigma_max / 2, path)
        except ReddiffError:
            continue
        found.append(prediction)
    return found


def paths(given: Path) -> list[Path]:
    """Other paths than the given one."""
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
    """Whether two paths give a network the same inputs."""
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
    """The same path beyond a level, if it is known."""
    if path.sigma_max > 1.5 * sigma_max:
        return path
    if isinstance(path, Chain):
        for name in ("linear", "scaled-linear", "cosine"):
            for steps in (1000, 4000):
                whole = path_of({"name": name, "steps": steps}, "eps")
                if whole.sigma_max > 1.5 * sigma_max and same_path(whole, path):
                    return whole
    return None


def _same_units(a: Units | None, b: Units | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.scale == b.scale and torch.equal(a.offset, b.offset)

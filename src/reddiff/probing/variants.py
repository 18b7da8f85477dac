"""Wirings of a network: its training target, path, pixel units and channel order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, ReddiffError
from reddiff.priors.around import Around
from reddiff.priors.base import Prior
from reddiff.priors.conditions import ConditionalPrior
from reddiff.priors.network_prior import NetworkPrior, Units
from reddiff.priors.networks import LEARNED_SIGMA
from reddiff.priors.paths import EDMInput, Path, Unscaled
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
from reddiff.probing.paths import other_paths
from reddiff.probing.remembered import Remembered


@dataclass(frozen=True, eq=False)
class Variant:
    """One wiring of a network.

    Arguments:
        net: The network.
        like: The given prior, for shape, multiple and precision.
        prediction: The training target.
        path: The noise path.
        units: The units of the network, if they are not those of x.
        flipped: Whether the channels are in reverse order.
        second: Whether the second half of the output is the estimate.
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
        """The prior with this wiring."""
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
        """The parts that can be changed."""
        return self.prediction, self.path, self.units, self.flipped, self.second

    def changes(self, other: Variant) -> int:
        """The number of parts that differ from another variant."""
        return sum(a is not b for a, b in zip(self.parts, other.parts, strict=True))


class _Rearranged(nn.Module):
    """A network with reversed channels, or with the second half of its output."""

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
    """The wiring of a prior. A prior that is not a network is treated as a denoiser D(x, sigma).

    Raises:
        InvalidArgument: If the network needs a condition.
    """
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
            expected = "prior.given(label=...), because the network takes a condition"
            raise InvalidArgument("prior", expected=expected, got="none")
    net = Remembered(prior.net, condition)
    return Variant(net, prior, prior.prediction, prior.path, prior.units)


class _Denoiser(nn.Module):
    """The denoiser D(x, sigma) of a prior, as a network."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        estimate: Tensor = self.prior(x, sigma)
        return estimate


class Choices:
    """The paths and units that a network can have, and the variants tried so far.

    Arguments:
        given: The given wiring.
    """

    def __init__(self, given: Variant) -> None:
        self.given = given
        self.paths = other_paths(given.path)
        others = (None, Units.of_range(0, 1), Units.of_range(0, 255))
        self.units = [given.units, *(u for u in others if not _same_units(u, given.units))]
        self.known: set[tuple[object, ...]] = set()

    def neighbors(self, variant: Variant) -> Iterator[list[Variant]]:
        """Variants that differ in one part, or in prediction and path, and were not tried before.

        The variants of a list share the inputs of the network.
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
                # shifted levels may have compensated for wrong units
                yield [replace(variant, units=units, path=path) for path in own]
        if variant.like.shape[0] == 3:
            yield [replace(variant, flipped=not variant.flipped)]
        yield [replace(variant, second=not variant.second)]


def predictions(path: Path, given: Variant) -> list[Prediction]:
    """The training targets that a network can have on a path."""
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


def _same_units(a: Units | None, b: Units | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.scale == b.scale and torch.equal(a.offset, b.offset)

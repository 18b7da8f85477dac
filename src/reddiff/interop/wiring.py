"""How a network was trained, as declared by a caller or read from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.interop.vocabulary import path_of, prediction_named
from reddiff.priors.conditions import Conditions
from reddiff.priors.network_prior import NetworkPrior, Units
from reddiff.priors.networks import Network
from reddiff.priors.paths import EDMInput
from reddiff.priors.predictions import EDMOutput, Prediction

PIXELS = (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Wiring:
    """How a network was trained. None means the value of the source, or the default.

    In the metadata of a weights file it is a JSON object of the fields that are set; a schedule is
    then a name, an object of a name and its parameters, or the list of alpha^2.

    Arguments:
        prediction: A name in `vocabulary.PREDICTIONS`, diffusers' name for it, or the object.
        schedule: See `vocabulary.path_of`.
        shape: The shape of one x, with None for sides of any length.
        values: The range of pixel values of the network, (-1, 1) by default; (-inf, inf) for data
            other than pictures.
        mean: Instead of values: the network was trained on (pixel - mean) / std, for pixels in [0,
            1].
        std: See mean; the same number for all channels.
        multiple: The network requires sides that are multiples of this number.
        levels: The lowest and the highest sigma / alpha, in the network's units; by default those
            of the schedule.
        sigma_data: The standard deviation in EDM's preconditioning, 0.5 by default.
        bound: The bound of EDM's F; see `EDMPrior`.
        classes: The number of class labels.
        embedding: The shape of one embedding, instead of labels.
        null: The unconditional label, or embedding.
    """

    prediction: str | Prediction | None = None
    schedule: Any = None
    shape: Sequence[int | None] | None = None
    values: Sequence[float] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    multiple: int | None = None
    levels: Sequence[float] | None = None
    sigma_data: float | None = None
    bound: float | None = None
    classes: int | None = None
    embedding: Sequence[int | None] | None = None
    null: Any = None

    def __post_init__(self) -> None:
        """Convert lists and arrays to tuples.

        Raises:
            InvalidArgument: If a field is none of these, or has the wrong length.
        """
        sides = "a tuple of sides, None for any, such as (3, None, None)"
        for name, wanted, expected in (
            ("shape", None, sides),
            ("embedding", None, sides),
            ("values", 2, "two numbers, the range of pixels"),
            ("levels", 2, "two numbers, the lowest and the highest level"),
            ("mean", None, "a tuple of numbers, one per channel"),
            ("std", None, "a tuple of numbers, one per channel"),
        ):
            value = getattr(self, name)
            if value is not None:
                found = _numbers(value, sides=expected is sides)
                good = found is not None and wanted in (None, len(found))
                require(good, name, expected=expected, got=repr(value))
                object.__setattr__(self, name, found)

    def over(self, other: Wiring) -> Wiring:
        """The fields that are set here, and those of the other wiring for the rest."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: value for name, value in own.items() if value is not None}
        if "mean" in given or "values" in given:
            other = replace(other, values=None, mean=None, std=None)
        return replace(other, **given)

    def prior(self, net: Network) -> NetworkPrior:
        """The prior of a network.

        Raises:
            InvalidArgument: If something is missing or does not fit.
        """
        require(
            self.shape is not None, "shape", expected="that of one x, (3, None, None)", got="none"
        )
        shape = tuple(self.shape or ())
        expected = "what the network predicts, such as eps, v, x0, flow, edm or denoiser"
        require(self.prediction is not None, "prediction", expected=expected, got="none")
        word = self.prediction or ""
        prediction = prediction_named(word, self.sigma_data, self.bound)
        path = path_of(self.schedule, word, self.sigma_data)
        same = isinstance(prediction, EDMOutput) == isinstance(path, EDMInput)
        same = same or isinstance(word, Prediction)  # which was made for the path
        expected = "that of EDM for prediction 'edm', and for no other"
        require(same, "schedule", expected=expected, got=type(path).__name__)
        prior = NetworkPrior(
            net,
            shape,
            prediction,
            path,
            units=self._units(shape),
            levels=None if self.levels is None else (self.levels[0], self.levels[1]),
            multiple=1 if self.multiple is None else self.multiple,
            conditions=self._conditions(),
        )
        if self.values is None or math.isfinite(self.values[0]):
            prior.values = PIXELS
        return prior

    def to_json(self) -> dict[str, Any]:
        """The fields that are set, as JSON has them.

        Raises:
            InvalidArgument: If the schedule is an object that JSON cannot represent.
        """
        found = {f.name: _plain(f.name, getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Wiring:
        """The inverse of `to_json`.

        Raises:
            InvalidArgument: If an entry is unknown.
        """
        names = [f.name for f in fields(cls)]
        unknown = [name for name in entries if name not in names]
        require(not unknown, "wiring", expected=f"entries among {', '.join(names)}", got=unknown)
        return cls(**entries)

    def _units(self, shape: tuple[int | None, ...]) -> Units | None:
        if self.mean is not None or self.std is not None:
            both = self.mean is not None and self.std is not None and self.values is None
            require(both, "mean, std", expected="both, and no values", got="others")
            mean, std = (list(v) for v in (self.mean or (), self.std or ()))
            same = len(mean) == len(std) == shape[0]
            got = f"{len(mean)} and {len(std)}"
            require(same, "mean, std", expected=f"{shape[0]} of each", got=got)
            return Units.of_moments(mean, std)
        low, high = PIXELS if self.values is None else self.values
        if (low, high) == PIXELS or not math.isfinite(low):
            return None
        return Units.of_range(low, high)

    def _conditions(self) -> Conditions | None:
        if self.classes is None and self.embedding is None:
            return None
        embedding = None if self.embedding is None else tuple(self.embedding)
        return Conditions(self.classes, embedding, self.null)


def _numbers(value: Any, *, sides: bool) -> tuple[Any, ...] | None:
    """A tuple of Python numbers, or of sides; None if the value is neither."""
    try:
        items = [] if isinstance(value, str) else list(value)
    except TypeError:
        return None
    if sides:
        good = all(n is None or (isinstance(n, Integral) and int(n) >= 1) for n in items)
    else:
        good = all(isinstance(n, Real) for n in items)
    kind = int if sides else float
    return tuple(None if n is None else kind(n) for n in items) or None if good else None


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if value is None or isinstance(value, str | int | float | list | Mapping):
        return value
    if isinstance(value, Sequence):
        return list(value)
    raise InvalidArgument(
        name, expected="a value that JSON can represent", got=type(value).__name__
    )

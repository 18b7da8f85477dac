"""The posterior of a number that is computed from x: a mean, a flux, a width, a position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.metrics.draws import central_interval, moments, needed_draws


@runtime_checkable
class HasDraws(Protocol):
    """What `functional` takes: a `Reconstruction` of several runs, or a `Restored` with draws."""

    @property
    def draws(self) -> Iterable[Float[Tensor, "b *n"]]:
        """The draws of all lanes, one after the other."""

    @property
    def usable(self) -> Bool[Tensor, "b S"]:
        """Which draws did not diverge."""


@dataclass(frozen=True, eq=False)
class Functional:
    """The posterior of a number, from draws.

    Arguments:
        values: f of every draw; NaN of one that diverged.
        usable: The draws that did not diverge.
        level: The level of the interval.
        factor: What widens the interval about the mean, such as that of a calibration.
    """

    values: Float[Tensor, "b S"]
    usable: Bool[Tensor, "b S"]
    level: float
    factor: float = 1.0

    @property
    def mean(self) -> Float[Tensor, " b"]:
        """The mean over the draws."""
        return moments(self.values, self.usable)[0]

    @property
    def std(self) -> Float[Tensor, " b"]:
        """The standard deviation over the draws."""
        return moments(self.values, self.usable)[1]

    @property
    def low(self) -> Float[Tensor, " b"]:
        """The lower end of the central interval, widened by `factor`."""
        end = central_interval(self.values, self.level, self.usable).low
        return self.mean + self.factor * (end - self.mean)

    @property
    def high(self) -> Float[Tensor, " b"]:
        """The upper end of the central interval, widened by `factor`."""
        end = central_interval(self.values, self.level, self.usable).high
        return self.mean + self.factor * (end - self.mean)

    def widened(self, factor: float) -> Functional:
        """The same with an interval that is so many times as wide about the mean."""
        return replace(self, factor=self.factor * factor)

    def histogram(self, bins: int = 10) -> tuple[Float[Tensor, "b bins"], Float[Tensor, "b edges"]]:
        """The counts of the draws in equal bins from the least to the largest value, per lane.

        Returns:
            The counts, and the bins + 1 edges.
        """
        counts, edges = [], []
        for row, used in zip(self.values, self.usable, strict=True):
            found = torch.histogram(row[used].cpu(), bins)
            counts.append(found.hist)
            edges.append(found.bin_edges)
        return torch.stack(counts), torch.stack(edges)

    def sentence(self, lane: int = 0) -> str:
        """The mean and the interval of a lane, such as `12.3 (11.8, 12.9), 90 % of 32 draws`."""
        low, high, mean = (float(v[lane]) for v in (self.low, self.high, self.mean))
        digits = _digits(high - low)
        text = ", ".join(f"{v:.{digits}f}" for v in (low, high))
        count = int(self.usable[lane].sum())
        return f"{mean:.{digits}f} ({text}), {100 * self.level:g} % of {count} draws"

    def __str__(self) -> str:
        return "\n".join(self.sentence(lane) for lane in range(len(self.values)))


def functional(
    result: HasDraws, f: Callable[[Tensor], float | Tensor], *, level: float = 0.9
) -> Functional:
    """The posterior of f(x), from the draws of a result.

    Arguments:
        result: A `Reconstruction` of several runs (`sample_posterior`, or `solve` with `runs`), in
            the units of the prior; or a `Restored` with draws, in pixels of [0, 1].
        f: From one x, such as `(c, h, w)`, to one finite number.
        level: The level of the interval.

    Raises:
        InvalidArgument: If there are too few draws for the level, f is not finite, gives no number,
            or differs between two calls on one x.
    """
    usable = result.usable
    least, most = needed_draws(level), int(usable.sum(1).min())
    expected = f"a result of at least {least} draws for an interval of level {level:g}"
    require(most >= least, "result", expected=expected, got=f"one of {most}")
    columns: list[Tensor] = []
    for index, draw in enumerate(result.draws):
        values = [
            _number(f, x, index) if bool(used) else math.nan
            for x, used in zip(draw, usable[:, index], strict=True)
        ]
        columns.append(torch.tensor(values, dtype=torch.float64))
        if index == 0:
            _require_same(f, draw, columns[0])
    return Functional(torch.stack(columns, 1), usable.cpu(), level)


def _number(f: Callable[[Tensor], float | Tensor], x: Tensor, index: int) -> float:
    made = f(x)
    size = made.numel() if isinstance(made, Tensor) else 1
    require(size == 1, "f", expected="one number for one x", got=f"{size} numbers")
    try:
        value = float(made)
    except (TypeError, ValueError) as error:
        got = type(made).__name__
        raise InvalidArgument("f", expected="one number for one x", got=got) from error
    require(math.isfinite(value), "f", expected="finite numbers", got=f"{value} of draw {index}")
    return value


def _require_same(f: Callable[[Tensor], float | Tensor], draw: Tensor, first: Tensor) -> None:
    again = [_number(f, x, 0) for x, value in zip(draw, first, strict=True) if value == value]
    before = [value for value in first.tolist() if not math.isnan(value)]
    expected = "the same number at every call on one x"
    require(again == before, "f", expected=expected, got=f"{before[:1]}, then {again[:1]}")


def _digits(width: float) -> int:
    """Decimals that show a width to two digits."""
    if not width > 0:
        return 3
    return max(0, 1 - math.floor(math.log10(width)))

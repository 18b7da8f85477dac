"""The posterior of a scalar computed from x, such as a mean, a flux, a width or a position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.metrics.draws import Interval, central_interval, moments, needed_draws


@runtime_checkable
class HasDraws(Protocol):
    """The interface that `functional` needs: a `Reconstruction`, or a `Restored` with draws."""

    @property
    def draws(self) -> Iterable[Float[Tensor, "b *n"]]:
        """An iterator over the draws, each with all lanes."""

    @property
    def usable(self) -> Bool[Tensor, "b S"]:
        """The draws that did not diverge."""


@dataclass(frozen=True, eq=False)
class Functional:
    """The posterior of a scalar f(x), from draws.

    Arguments:
        values: f(x) of every draw; NaN for draws that diverged.
        usable: The draws that did not diverge.
        level: The level of the interval, between 0 and 1.
        factor: A factor on the width of the interval around the mean, such as that of a
            calibration.
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
        return self._ends.low

    @property
    def high(self) -> Float[Tensor, " b"]:
        """The upper end of the central interval, widened by `factor`."""
        return self._ends.high

    @property
    def _ends(self) -> Interval:
        ends, mean = central_interval(self.values, self.level, self.usable), self.mean
        if self.factor == 1:
            return ends
        # the mean of very skewed draws can lie outside: an end beyond it is moved to it
        below, above = (d.clamp(min=0) for d in (mean - ends.low, ends.high - mean))
        return Interval(mean - self.factor * below, mean + self.factor * above)

    def widened(self, factor: float) -> Functional:
        """A copy whose interval is wider by a factor, around the mean."""
        return replace(self, factor=self.factor * factor)

    def histogram(self, bins: int = 10) -> tuple[Float[Tensor, "b bins"], Float[Tensor, "b edges"]]:
        """The histogram of the draws per lane, in equal bins from the smallest to the largest.

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
        """Mean and interval of a lane: `12.3 (11.8, 12.9), 90 % interval of 32 draws`."""
        low, high, mean = (float(v[lane]) for v in (self.low, self.high, self.mean))
        digits = _digits(high - low)
        text = ", ".join(f"{v:.{digits}f}" for v in (low, high))
        count = int(self.usable[lane].sum())
        return f"{mean:.{digits}f} ({text}), {100 * self.level:g} % interval of {count} draws"

    def __str__(self) -> str:
        return "\n".join(self.sentence(lane) for lane in range(len(self.values)))


def functional(
    result: HasDraws, f: Callable[[Tensor], float | Tensor], *, level: float = 0.9
) -> Functional:
    """The posterior of f(x), from the draws of a result.

    Arguments:
        result: A `Reconstruction` with several runs (from `sample_posterior`, or from `solve` with
            `runs`), in the units of the prior; or a `Restored` with draws, with pixels in [0, 1].
        f: A function from one x, such as `(c, h, w)`, to one finite number.
        level: The level of the interval, between 0 and 1.

    Raises:
        InvalidArgument: If there are too few draws for the level, or if f does not return a
            finite number, or not the same number for the same x.
    """
    usable = result.usable
    least, most = needed_draws(level), int(usable.sum(1).min())
    expected = f"a result with at least {least} draws for an interval of level {level:g}"
    require(most >= least, "result", expected=expected, got=f"one with {most}")
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
    made = f(x.clone())  # f may change its argument in place
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
    expected = "the same number at every call for the same x"
    require(again == before, "f", expected=expected, got=f"{before[:1]}, then {again[:1]}")


def _digits(width: float) -> int:
    """The number of decimals that shows two significant digits of a width."""
    if not width > 0:
        return 3
    return max(0, 1 - math.floor(math.log10(width)))

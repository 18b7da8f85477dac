"""An inverse problem: y = A(x) + noise, one independent problem per lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import repeat
from reddiff.noise import Gaussian, Noise, UnknownGaussian
from reddiff.operators.base import Operator
from reddiff.operators.precision import lowered
from reddiff.operators.simplify import simplified
from reddiff.problem.changes import levels_of, stacked, weighted
from reddiff.problem.likelihood import Likelihood
from reddiff.problem.text import in_lines, in_short
from reddiff.problem.validation import check_place
from reddiff.random import MEASURING, Keys


@dataclass(frozen=True, eq=False)
class Problem(Likelihood):
    """Measurements, and how they came about.

    Entries of y that the operator does not measure are set to zero (they may be anything, NaN
    too); the tensor given is not changed.

    Arguments:
        y: The measurements `(b, ...)`, floating point, on the device of the operator.
        operator: A. Parameters of a higher precision than y, such as a PSF in float64, are taken in
            that of y.
        noise: The noise of y, in the units of y.

    Raises:
        InvalidArgument: If y has a wrong type, shape, dtype or device, or NaN or inf where it is
            measured; names what came and what was expected.
    """

    def __post_init__(self) -> None:
        y, operator, noise = self.y, self.operator, self.noise
        require(isinstance(y, Tensor), "y", expected="a torch.Tensor", got=type(y).__name__)
        expected = "a floating-point dtype; complex data as two channels, torch.view_as_real"
        require(y.is_floating_point(), "y", expected=expected, got=y.dtype)
        require(y.ndim >= 2, "y", expected="shape (b, ...)", got=tuple(y.shape))
        require(y.numel() > 0, "y", expected="at least one lane and entry", got=tuple(y.shape))
        is_operator = isinstance(operator, Operator)
        require(is_operator, "operator", expected="an Operator", got=type(operator).__name__)
        is_noise = isinstance(noise, Noise)
        expected = "a Noise, such as Gaussian(sigma)"
        require(is_noise, "noise", expected=expected, got=type(noise).__name__)
        operator = lowered(operator, y.dtype)
        object.__setattr__(self, "operator", operator)
        check_place(y, operator)
        operator.x_shape(tuple(y.shape[1:]))
        fits = operator.lanes in (None, len(y))
        require(fits, "y", expected=f"{operator.lanes} lanes, as the operator", got=tuple(y.shape))
        y = torch.where(self.measured, y, 0)
        bad = (~torch.isfinite(y)).flatten(1).any(1).nonzero().flatten().tolist()
        require(not bad, "y", expected="finite values", got=f"nan or inf in lanes {bad}")
        noise.check(y)
        object.__setattr__(self, "y", y)

    @classmethod
    def simulate(
        cls,
        x: Float[Tensor, "b *n"],
        operator: Operator,
        noise: Noise,
        *,
        seed: int = 0,
        ids: Sequence[int] | None = None,
    ) -> Problem:
        """The problem of a known x: measures it, and adds noise drawn from (seed, lane id).

        Raises:
            InvalidArgument: If x does not fit the operator, or there is not one id per lane.
        """
        ids = tuple(range(len(x))) if ids is None else tuple(ids)
        require(len(ids) == len(x), "ids", expected=f"{len(x)} ids", got=f"{len(ids)} ids")
        fits = operator.lanes in (None, len(x))
        require(fits, "x", expected=f"{operator.lanes} lanes, as the operator", got=tuple(x.shape))
        operator = lowered(operator, x.dtype)
        with torch.no_grad():
            y = noise.sample(operator(x), Keys(seed, ids).at(MEASURING))
        return cls(y, operator, noise)

    def __repr__(self) -> str:
        return in_short(self)

    def __str__(self) -> str:
        """Four lines: lanes, y, operator, noise."""
        return in_lines(self)

    def select(self, index: Tensor) -> Problem:
        """The problems of some of the lanes (or some of them repeated), in the order given."""
        operator, noise = self.operator.select(index), self.noise.select(index)
        return self.derived(y=self.y[index], operator=operator, noise=noise)

    def repeated(self, times: int) -> Problem:
        """Each lane `times` times, the copies of one lane side by side. It is made once."""
        if times == 1:
            return self
        if times not in self._copies:
            lanes = torch.arange(len(self), device=self.y.device)
            self._copies[times] = self.select(repeat(lanes, times))
        return self._copies[times]

    @cached_property
    def _copies(self) -> dict[int, Problem]:
        return {}

    def derived(
        self,
        *,
        y: Tensor | None = None,
        operator: Operator | None = None,
        noise: Noise | None = None,
    ) -> Problem:
        """This problem with other parts that are sound because they were made from its own.

        Nothing is validated, so that it costs nothing within a step. What the operator does not
        measure must be zero in y.
        """
        new = object.__new__(Problem)
        parts = {
            "y": self.y if y is None else y,
            "operator": self.operator if operator is None else operator,
            "noise": self.noise if noise is None else noise,
        }
        new.__dict__.update(parts)
        if operator is None:  # what is measured does not depend on the values of y
            known = {k: v for k, v in self.__dict__.items() if k in ("measured", "count")}
            new.__dict__.update(known)
        return new

    @classmethod
    def stack(cls, problems: Sequence[Problem]) -> Problem:
        """Several measurements of the same x as one, each with its own operator and noise.

        y is `(b, M)`: the measurements, flattened, one after the other.

        Raises:
            InvalidArgument: If there is none, or they are of different lanes or x.
        """
        return cls(*stacked(problems))

    def whitened(self) -> Problem:
        """The same problem with Gaussian noise of level 1, where it is Gaussian of several levels.

        y and A are divided by the levels, entry by entry; the likelihood of x stays as it is.
        `solve` does it by itself. Other problems are returned as they are.
        """
        levels = levels_of(self.noise, self.y)
        if levels is None:
            return self
        operator = weighted(self.operator, (1 / levels).expand(len(levels), *self.y.shape[1:]))
        return self.derived(y=self.y / levels, operator=operator, noise=Gaussian(1.0))

    def simplified(self) -> Problem:
        """The same problem with the closed form of A, where `operators.simplify` finds one."""
        operator = simplified(self.operator, self.y)
        return self if operator is self.operator else self.derived(operator=operator)

    def smoothed(self) -> Problem:
        """The same problem with an A that jumps replaced by the smooth one near it.

        Their difference counts as Gaussian noise beside that of y. Other problems, and other noise,
        are returned as they are.
        """
        near = self.operator.surrogate()
        if near is None or not isinstance(self.noise, Gaussian | UnknownGaussian):
            return self
        operator, apart = near
        if isinstance(self.noise, UnknownGaussian):  # which is found with it
            return self.derived(operator=operator)
        levels = (torch.as_tensor(v, dtype=self.y.dtype) for v in (self.noise.sigma, apart))
        sigma, apart = (level.to(self.y.device) for level in levels)
        return self.derived(operator=operator, noise=Gaussian((sigma**2 + apart**2).sqrt()))

    def pullback(self, decoder: Operator) -> Problem:
        """The problem of z with x = decoder(z): a latent problem."""
        return Problem(self.y, self.operator @ decoder, self.noise)

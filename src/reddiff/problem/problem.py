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
    """b inverse problems y = A(x) + noise: measurements, operator and noise model.

    Entries of y that A does not measure are set to zero. They may have any value, including NaN.
    The tensor passed in is not modified.

    Arguments:
        y: The measurements `(b, ...)`, floating point, on the device of the operator.
        operator: A. Parameters of higher precision than y, such as a PSF in float64, are cast to
            the dtype of y.
        noise: The noise of y, in the units of y.

    Raises:
        InvalidArgument: If y has the wrong type, shape, dtype or device, or NaN or inf at measured
            entries.
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
        """Simulate the measurement of a known x.

        Arguments:
            x: The true x, `(b, ...)`.
            operator: A.
            noise: The noise, which is drawn from (seed, lane id).
            seed: Random seed.
            ids: One integer per lane; 0 to b - 1 by default.

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
        """The problems of the lanes at these indices, in this order; indices may repeat."""
        operator, noise = self.operator.select(index), self.noise.select(index)
        return self.derived(y=self.y[index], operator=operator, noise=noise)

    def repeated(self, times: int) -> Problem:
        """The problem with each lane repeated `times` times in a row; the result is cached."""
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
        """This problem with some parts replaced, without validation, for use within steps.

        The new parts must be consistent, and entries of y that are not measured must be zero.
        """
        new = object.__new__(Problem)
        parts = {
            "y": self.y if y is None else y,
            "operator": self.operator if operator is None else operator,
            "noise": self.noise if noise is None else noise,
        }
        new.__dict__.update(parts)
        if operator is None:  # do not depend on the values of y
            known = {k: v for k, v in self.__dict__.items() if k in ("measured", "count")}
            new.__dict__.update(known)
        return new

    @classmethod
    def stack(cls, problems: Sequence[Problem]) -> Problem:
        """Combine several measurements of the same x, each with its own operator and noise.

        y is `(b, M)`, the concatenation of the flattened measurements.

        Raises:
            InvalidArgument: If the list is empty, or the problems differ in the number of lanes or
                the shape of x.
        """
        return cls(*stacked(problems))

    def whitened(self) -> Problem:
        """An equivalent problem with noise level 1, for Gaussian noise with a level per entry.

        y and A are divided by the levels, which does not change the likelihood of x up to a
        constant. Other problems are returned unchanged. `solve` calls this method.
        """
        levels = levels_of(self.noise, self.y)
        if levels is None:
            return self
        operator = weighted(self.operator, (1 / levels).expand(len(levels), *self.y.shape[1:]))
        return self.derived(y=self.y / levels, operator=operator, noise=Gaussian(1.0))

    def simplified(self) -> Problem:
        """An equivalent problem with the closed form of A, if `operators.simplify` finds one."""
        operator = simplified(self.operator, self.y)
        return self if operator is self.operator else self.derived(operator=operator)

    def smoothed(self) -> Problem:
        """The problem with a piecewise constant A replaced by its smooth approximation.

        The error of the approximation is added to the Gaussian noise. Problems with a smooth A or
        with other noise are returned unchanged.
        """
        near = self.operator.surrogate()
        if near is None or not isinstance(self.noise, Gaussian | UnknownGaussian):
            return self
        operator, apart = near
        if isinstance(self.noise, UnknownGaussian):  # its estimate includes the error
            return self.derived(operator=operator)
        levels = (torch.as_tensor(v, dtype=self.y.dtype) for v in (self.noise.sigma, apart))
        sigma, apart = (level.to(self.y.device) for level in levels)
        return self.derived(operator=operator, noise=Gaussian((sigma**2 + apart**2).sqrt()))

    def pullback(self, decoder: Operator) -> Problem:
        """The problem for z, where x = decoder(z): a problem in latent space."""
        return Problem(self.y, self.operator @ decoder, self.noise)

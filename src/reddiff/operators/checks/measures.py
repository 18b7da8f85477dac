"""The dot-product test, the linearity test and the lane test, with their tolerances.

| relative error of | tolerance | float64 | float32 |
|---|---|---|---|
| one A(x) computed in two ways | `exact`: 100 eps | 2e-14 | 1e-5 |
| adjoint, linearity, lanes | `accurate`: sqrt(eps) | 1.5e-8 | 3.5e-4 |
| derivatives by finite differences | `coarse`: eps^(1/4) | 1.2e-4 | 0.019 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff.lanes import dot, norm

TINY = 1e-30
COMBINATIONS = ((1.0, 0.0), (-2.0, 1.0), (100.0, -1.0))  # (c, d) of c u + d v


def exact(dtype: torch.dtype) -> float:
    """Tolerance between two ways to compute the same thing."""
    return float(100 * torch.finfo(dtype).eps)


def accurate(dtype: torch.dtype) -> float:
    """Tolerance of the dot-product test, the linearity test and the lane test."""
    return float(torch.finfo(dtype).eps ** 0.5)


def coarse(dtype: torch.dtype) -> float:
    """Tolerance of the dot-product test for derivatives by finite differences."""
    return float(torch.finfo(dtype).eps ** 0.25)


@dataclass(frozen=True, eq=False)
class DotTest:
    """The dot-product test: <A x, y>, <x, A^T y> and ||A x|| ||y||, per lane."""

    one: Tensor
    other: Tensor
    size: Tensor

    @classmethod
    def of(cls, a: Tensor, y: Tensor, x: Tensor, back: Tensor) -> DotTest:
        """The test for a = A x and back = A^T y."""
        return cls(dot(a, y), dot(x, back), norm(a) * norm(y))

    def and_(self, more: DotTest) -> DotTest:
        """The lanes of both tests."""
        pairs = ((self.one, more.one), (self.other, more.other), (self.size, more.size))
        return DotTest(*map(torch.cat, pairs))

    @property
    def errors(self) -> Tensor:
        """|<A x, y> - <x, A^T y>| / (||A x|| ||y||), per lane."""
        return (self.one - self.other).abs() / self.size.clamp(min=TINY)

    @property
    def error(self) -> float:
        """The largest of `errors`; infinite if one is NaN."""
        return float(self.errors.nan_to_num(torch.inf).max())


def nonlinearity(
    forward: Callable[[Tensor], Tensor], u: Tensor, v: Tensor, a: Tensor | None = None
) -> float:
    """The largest ||A(c u + d v) - c A u - d A v|| / ||c A u + d A v|| over `COMBINATIONS`.

    `a` is A u, if it has been computed already.
    """
    a = forward(u.clone()) if a is None else a
    b, worst = forward(v.clone()), 0.0
    for c, d in COMBINATIONS:
        wanted = c * a + d * b
        worst = max(worst, relative(forward(c * u + d * v) - wanted, wanted))
    return worst


def lane_error(a: Tensor, alone: Callable[[int], Tensor], lanes: Iterable[int]) -> float:
    """The largest relative difference between A(x) of single lanes, `alone(i)`, and a[i:i+1]."""
    worst = 0.0
    for i in lanes:
        one, among = alone(i).nan_to_num(), a[i : i + 1].nan_to_num()
        if one.shape != among.shape:
            return float("inf")
        worst = max(worst, relative(one - among, among))
    return worst


def relative(difference: Tensor, to: Tensor) -> float:
    """The maximum over lanes of ||difference|| / ||to||; infinite if one is NaN."""
    ratio = norm(difference) / norm(to).clamp(min=TINY)
    return float(ratio.nan_to_num(torch.inf).max())

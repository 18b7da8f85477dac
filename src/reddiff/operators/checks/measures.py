"""The dot test, the linearity test and the lane test, and the one table of their tolerances.

| error of | allowed, relative | float64 | float32 |
|---|---|---|---|
| one A(x) computed in two ways | `exact`: 100 eps | 2e-14 | 1e-5 |
| adjoint, linearity, lanes | `accurate`: sqrt(eps) | 1.5e-8 | 3.5e-4 |
| derivatives by differences | `coarse`: eps^(1/4) | 1.2e-4 | 0.019 |
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
    """Allowed between two ways to compute one thing."""
    return float(100 * torch.finfo(dtype).eps)


def accurate(dtype: torch.dtype) -> float:
    """Allowed of the dot test, the linearity test and the lane test."""
    return float(torch.finfo(dtype).eps ** 0.5)


def coarse(dtype: torch.dtype) -> float:
    """Allowed of the dot test for derivatives by differences."""
    return float(torch.finfo(dtype).eps ** 0.25)


@dataclass(frozen=True, eq=False)
class DotTest:
    """<A x, y> and <x, A^T y> of every lane, and ||A x|| ||y||."""

    one: Tensor
    other: Tensor
    size: Tensor

    @classmethod
    def of(cls, a: Tensor, y: Tensor, x: Tensor, back: Tensor) -> DotTest:
        """The test of a = A x and back = A^T y."""
        return cls(dot(a, y), dot(x, back), norm(a) * norm(y))

    def and_(self, more: DotTest) -> DotTest:
        """Both tests as one."""
        pairs = ((self.one, more.one), (self.other, more.other), (self.size, more.size))
        return DotTest(*map(torch.cat, pairs))

    @property
    def errors(self) -> Tensor:
        """|<A x, y> - <x, A^T y>| / (||A x|| ||y||) of every lane."""
        return (self.one - self.other).abs() / self.size.clamp(min=TINY)

    @property
    def error(self) -> float:
        """The largest of them; infinite if one is NaN."""
        return float(self.errors.nan_to_num(torch.inf).max())


def nonlinearity(
    forward: Callable[[Tensor], Tensor], u: Tensor, v: Tensor, a: Tensor | None = None
) -> float:
    """The largest of ||A(c u + d v) - c A u - d A v|| / ||c A u + d A v||, with c of 1 to 100.

    A u is taken from `a` where it is known.
    """
    a = forward(u.clone()) if a is None else a
    b, worst = forward(v.clone()), 0.0
    for c, d in COMBINATIONS:
        wanted = c * a + d * b
        worst = max(worst, relative(forward(c * u + d * v) - wanted, wanted))
    return worst


def lane_error(a: Tensor, alone: Callable[[int], Tensor], lanes: Iterable[int]) -> float:
    """How far A(x) of a lane alone, `alone(i)`, is from that among others, a[i:i+1]."""
    worst = 0.0
    for i in lanes:
        one, among = alone(i).nan_to_num(), a[i : i + 1].nan_to_num()
        if one.shape != among.shape:
            return float("inf")
        worst = max(worst, relative(one - among, among))
    return worst


def relative(difference: Tensor, to: Tensor) -> float:
    """The largest over lanes of ||difference|| / ||to||; infinite if one is NaN."""
    ratio = norm(difference) / norm(to).clamp(min=TINY)
    return float(ratio.nan_to_num(torch.inf).max())

"""Covariance matrices of x with known eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import per_lane

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Covariance:
    """A covariance matrix C per lane, with known eigenvectors.

    Arguments:
        variance: The eigenvalues, with as many axes as the result of `to`, to which they
            broadcast.
        to: Maps x to its coordinates along the eigenvectors.
        back: The inverse of `to`.
    """

    variance: Tensor
    to: Map
    back: Map

    def __call__(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C v."""
        return self.back(self.variance * self.to(v))

    def root(self, v: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """C^(1/2) v, which for white noise v is a draw from N(0, C)."""
        return self.back(self.variance.sqrt() * self.to(v))

    def given(self, s: Float[Tensor, " b"]) -> Covariance:
        """(C^-1 + s^-2 I)^-1: the covariance of a Gaussian x given x + s n, one level per lane."""
        s2 = per_lane(s.to(self.variance) ** 2, self.variance)
        return Covariance(self.variance * s2 / (self.variance + s2), self.to, self.back)

    def before(self, s: Float[Tensor, " b"]) -> Covariance:
        """(C^-1 - s^-2 I)^-1, the inverse of `given`, for eigenvalues of C below s^2."""
        s2 = per_lane(s.to(self.variance) ** 2, self.variance)
        least = torch.finfo(s2.dtype).eps * s2
        return Covariance(
            self.variance * s2 / (s2 - self.variance).clamp(min=least), self.to, self.back
        )

    def scaled(self, factor: Float[Tensor, " b"]) -> Covariance:
        """C times a factor per lane."""
        return Covariance(per_lane(factor, self.variance) * self.variance, self.to, self.back)


def white(variance: float, like: Float[Tensor, "b *n"]) -> Covariance:
    """A multiple of the identity, variance * I."""
    return Covariance(like.new_full((1,) * like.ndim, variance), _same, _same)


def isotropic(s: Float[Tensor, " b"], like: Float[Tensor, "b *n"]) -> Covariance:
    """s^2 / (1 + s^2) I, the covariance of the error if x has independent entries of variance 1."""
    return white(1.0, like).given(s)


def _same(v: Tensor) -> Tensor:
    return v

"""Where a variational mean starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.lanes import dot, per_lane
from reddiff.operators.linear import LinearOperator
from reddiff.problem import Problem
from reddiff.random import Rng

Init = Callable[[Problem, Rng], Tensor]


def pinv(problem: Problem, rng: Rng) -> Tensor:
    """The initial estimate of the operator: A^+ y where A is linear."""
    return problem.initial_estimate()


def adjoint(problem: Problem, rng: Rng) -> Tensor:
    """A^T y."""
    return problem.adjoint()


def scaled_adjoint(problem: Problem, rng: Rng) -> Tensor:
    """A^T y times the number that fits y best, for a linear A; else the initial estimate.

    It has the brightness of a picture, as A^T y of a blur or a mask has: A^T y of block means is
    too dark by the number of pixels in a block. And it is as smooth as A^T y: A^+ y amplifies the
    noise of what A damps.
    """
    if not isinstance(problem.operator, LinearOperator):
        return problem.initial_estimate()
    x = problem.adjoint()
    a = torch.where(problem.measured, problem.operator(x), 0)
    size = dot(a, a)
    return per_lane(dot(a, problem.y) / torch.where(size > 0, size, 1), x) * x


def zeros(problem: Problem, rng: Rng) -> Tensor:
    """Zeros: mid-gray for images in [-1, 1]."""
    return problem.y.new_zeros(len(problem), *problem.x_shape)


def noise(problem: Problem, rng: Rng) -> Tensor:
    """Standard normal noise."""
    return rng.randn_like(zeros(problem, rng))


@dataclass(frozen=True, eq=False)
class Given:
    """A start of the user's own.

    Arguments:
        x: The start `(b, ...)`, or one `(1, ...)` for all lanes.

    Raises:
        InvalidArgument: When called, if x does not have the problem's shape, or is not finite.
    """

    x: Tensor

    def __call__(self, problem: Problem, rng: Rng) -> Tensor:
        """The x given."""
        shape = (len(problem), *problem.x_shape)
        fits = tuple(self.x.shape) in (shape, (1, *shape[1:]))
        require(fits, "x", expected=f"shape {shape}", got=tuple(self.x.shape))
        require(bool(torch.isfinite(self.x).all()), "x", expected="finite values", got="nan or inf")
        return self.x.to(problem.y).expand(shape)

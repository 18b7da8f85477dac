"""Initial estimates of x."""

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
    """The initial estimate of the operator, an approximation of A^+ y if A is linear."""
    return problem.initial_estimate()


def adjoint(problem: Problem, rng: Rng) -> Tensor:
    """A^T y."""
    return problem.adjoint()


def scaled_adjoint(problem: Problem, rng: Rng) -> Tensor:
    """A^T y, scaled to fit y best, for a linear A; otherwise the initial estimate.

    The scaling corrects the brightness: for block means, A^T y is too dark by the number of pixels
    in a block. Unlike A^+ y, it does not amplify noise in components that A attenuates.
    """
    if not isinstance(problem.operator, LinearOperator):
        return problem.initial_estimate()
    x = problem.adjoint()
    a = torch.where(problem.measured, problem.operator(x), 0)
    size = dot(a, a)
    return per_lane(dot(a, problem.y) / torch.where(size > 0, size, 1), x) * x


def zeros(problem: Problem, rng: Rng) -> Tensor:
    """Zeros, which are mid-gray for images in [-1, 1]."""
    return problem.y.new_zeros(len(problem), *problem.x_shape)


def noise(problem: Problem, rng: Rng) -> Tensor:
    """Standard normal noise."""
    return rng.randn_like(zeros(problem, rng))


@dataclass(frozen=True, eq=False)
class Given:
    """An initial estimate given by the user.

    Arguments:
        x: The initial x `(b, ...)`, or one `(1, ...)` for all lanes.

    Raises:
        InvalidArgument: When called, if x does not have the problem's shape, or is not finite.
    """

    x: Tensor

    def __call__(self, problem: Problem, rng: Rng) -> Tensor:
        shape = (len(problem), *problem.x_shape)
        fits = tuple(self.x.shape) in (shape, (1, *shape[1:]))
        require(fits, "x", expected=f"shape {shape}", got=tuple(self.x.shape))
        require(bool(torch.isfinite(self.x).all()), "x", expected="finite values", got="nan or inf")
        return self.x.to(problem.y).expand(shape)

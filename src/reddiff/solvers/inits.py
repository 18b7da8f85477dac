"""Where a variational mean starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.problem import Problem
from reddiff.random import Rng

Init = Callable[[Problem, Rng], Tensor]


def pinv(problem: Problem, rng: Rng) -> Tensor:
    """The initial estimate of the operator: A^+ y where A is linear."""
    return problem.initial_estimate()


def adjoint(problem: Problem, rng: Rng) -> Tensor:
    """A^T y."""
    return problem.adjoint()


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

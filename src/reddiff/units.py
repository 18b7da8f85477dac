"""Conversion between pixels in [0, 1], of measurements, and pixels in [-1, 1], of priors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.noise import Noise
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.problem import Problem


class FromPixels(Operator):
    """x -> (x + 1) / 2: from [-1, 1] to [0, 1]."""

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        return to_pixels(x)

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return 2 * y - 1


def from_pixels(y: Tensor, operator: Operator, noise: Noise) -> Problem:
    r"""The problem for x in [-1, 1], given a measurement y = A(p) + noise of pixels p in [0, 1].

    If A is linear and the noise does not depend on A(p), only units change:

    .. math:: 2 y - A(1) = A(2 p - 1) + 2\,\mathrm{noise}

    Otherwise A is composed with x -> (x + 1) / 2, which is not linear.

    Arguments:
        y: The measurements, in their original units.
        operator: A, for pixels in [0, 1].
        noise: The noise of y, in the units of y.

    Returns:
        The problem; `to_pixels` converts its solution to [0, 1].

    Raises:
        InvalidArgument: As for `Problem`.
    """
    problem = Problem(y, operator, noise)
    added = noise.scaled(2.0)
    if added is None or not isinstance(operator, LinearOperator):
        return Problem(y, operator @ FromPixels(), noise)
    with torch.no_grad():
        white = operator(y.new_ones(len(y), *problem.x_shape))
    return Problem(2 * problem.y - white, operator, added)


def to_pixels(x: Tensor) -> Tensor:
    """(x + 1) / 2: from [-1, 1] to [0, 1]."""
    return (x + 1) / 2

"""Every noise but the Gaussian. To add one, write one entry in NOISES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reddiff import noise as noises
from reddiff.operators import Matrix, Operator
from reddiff.operators.base import Shape
from zoo.tensors import F64, randn

LANES = 3  # that fields with one value per lane are for


class Rates(Operator):
    """x -> exp(x / 2), for photons."""

    def forward(self, x: Tensor) -> Tensor:
        """exp(x / 2)."""
        return (x / 2).exp()

    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of y."""
        return y_shape


def matrix() -> Matrix:
    """5 x 6."""
    return Matrix(randn(5, 6, seed=41))


@dataclass(frozen=True)
class NoiseCase:
    """A noise of 3 lanes, and an operator from 6 numbers whose values it takes as means."""

    name: str
    noise: noises.Noise
    operator: Callable[[], Operator] = matrix


NOISES = [
    NoiseCase("diagonal", noises.DiagonalGaussian(0.1 + randn(LANES, 5, seed=8).abs())),
    NoiseCase("laplace", noises.Laplace(0.2)),
    NoiseCase("huber", noises.Huber(torch.tensor([0.1, 0.2, 0.4], dtype=F64))),
    NoiseCase("camera", noises.PoissonGaussian(20.0, 0.1), Rates),
    NoiseCase("counts", noises.Poisson(20.0), Rates),
    NoiseCase("speckle", noises.Speckle(4.0), Rates),
    NoiseCase("speckle-few-looks", noises.Speckle(0.5), Rates),
    NoiseCase("rounded", noises.Rounded(torch.tensor([0.5, 1.0, 2.0], dtype=F64), 0.2)),
    NoiseCase("clipped", noises.Clipped(0.2)),
]

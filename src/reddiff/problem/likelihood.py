"""The likelihood of x given y, its gradients and residuals, one value per lane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import Unsupported
from reddiff.lanes import dot
from reddiff.noise import Gaussian, Noise
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Likelihood:
    """p(y | x) of y = A(x) + noise; `Problem` validates its parts."""

    y: Tensor
    operator: Operator
    noise: Noise

    def __len__(self) -> int:
        return len(self.y)

    @property
    def x_shape(self) -> Shape:
        """The shape of one x."""
        return self.operator.x_shape(tuple(self.y.shape[1:]))

    @property
    def linear(self) -> LinearOperator:
        """A, where it is linear.

        Raises:
            Unsupported: If it is not.
        """
        if not isinstance(self.operator, LinearOperator):
            got = type(self.operator).__name__
            raise Unsupported(f"operator: expected a LinearOperator, got {got}")
        return self.operator

    @property
    def sigma_y(self) -> float | Tensor:
        """The standard deviation of Gaussian noise, one number or one per lane.

        Raises:
            Unsupported: If the noise is of another law, or its level is not known.
        """
        if not isinstance(self.noise, Gaussian):
            got = type(self.noise).__name__
            raise Unsupported(f"noise: expected Gaussian(sigma), got {got}")
        return self.noise.sigma

    @property
    def linear_gaussian(self) -> bool:
        """Whether A is linear and the noise Gaussian, of a known level per lane."""
        return isinstance(self.operator, LinearOperator) and isinstance(self.noise, Gaussian)

    @cached_property
    def measured(self) -> Bool[Tensor, "b *m"]:
        """Which entries of y carry a measurement."""
        return self.operator.measured(self.y)

    @cached_property
    def count(self) -> Float[Tensor, " b"]:
        """M, the number of measured entries per lane."""
        return self.measured.flatten(1).sum(1).to(self.y.dtype)

    def residual(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """y - A(x), zero where nothing is measured, or y is a bound that A(x) meets."""
        return torch.where(self.measured, self.noise.residual(self.y, self.operator(x)), 0)

    def misfit(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """||y - A(x)||^2 / 2 of `residual`, a sum per lane that ignores the noise level."""
        r = self.residual(x)
        return 0.5 * dot(r, r)

    def misfit_grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `misfit`."""
        a, pullback = self.operator.vjp(x)
        return pullback(torch.where(self.measured, -self.noise.residual(self.y, a), 0))

    def nll(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """-log p(y | x) in nats, summed over y, per lane.

        Raises:
            Unsupported: If the noise is Gaussian with sigma 0.
        """
        return self.noise.nll(self.y, self.operator(x), self.measured)

    def grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `nll`.

        Raises:
            Unsupported: If the noise is Gaussian with sigma 0.
        """
        a, pullback = self.operator.vjp(x)
        return pullback(self.noise.grad(self.y, a, self.measured))

    def standardised(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """`Noise.residual` / std(y given a): 0 where nothing is measured, inf where sigma is 0."""
        std = self.noise.std(a)
        z = torch.where(std > 0, self.noise.residual(self.y, a) / std, torch.inf)
        return torch.where(self.measured, z, 0)

    def residual_ratio(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """The rms of (y - A(x)) / std(y given A(x)) over the measured entries; inf for sigma 0.

        1, with fluctuations of 1 / sqrt(2 M), of a draw from the posterior, less of its mean.
        """
        z = self.standardised(self.operator(x))
        return (dot(z, z) / self.count.clamp(min=1)).sqrt()

    def initial_estimate(self) -> Float[Tensor, "b *n"]:
        """A first x from y alone: A^+ y where A is linear."""
        return self.operator.initial_estimate(self.y)

    def adjoint(self) -> Float[Tensor, "b *n"]:
        """A^T y; for a nonlinear A, its pullback at zero."""
        if isinstance(self.operator, LinearOperator):
            return self.operator.adjoint(self.y)
        return self.operator.vjp(self.y.new_zeros(len(self), *self.x_shape))[1](self.y)

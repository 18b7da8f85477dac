"""The likelihood p(y | x), its gradients and residuals, per lane."""

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
    """The likelihood p(y | x) of y = A(x) + noise. Use `Problem`, which validates its parts."""

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
        """A, if it is linear.

        Raises:
            Unsupported: If A is not a `LinearOperator`.
        """
        if not isinstance(self.operator, LinearOperator):
            got = type(self.operator).__name__
            raise Unsupported(f"operator: expected a LinearOperator, got {got}")
        return self.operator

    @property
    def sigma_y(self) -> float | Tensor:
        """The standard deviation of Gaussian noise in units of y, one number or one per lane.

        Raises:
            Unsupported: If the noise is not `Gaussian`.
        """
        if not isinstance(self.noise, Gaussian):
            got = type(self.noise).__name__
            raise Unsupported(f"noise: expected Gaussian(sigma), got {got}")
        return self.noise.sigma

    @property
    def linear_gaussian(self) -> bool:
        """Whether A is linear and the noise Gaussian with a known level per lane."""
        return isinstance(self.operator, LinearOperator) and isinstance(self.noise, Gaussian)

    @cached_property
    def measured(self) -> Bool[Tensor, "b *m"]:
        """The entries of y that are measured."""
        return self.operator.measured(self.y)

    @cached_property
    def count(self) -> Float[Tensor, " b"]:
        """M, the number of measured entries per lane."""
        return self.measured.flatten(1).sum(1).to(self.y.dtype)

    def residual(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """y - A(x), zero where y is not measured, or is a bound that A(x) satisfies."""
        return torch.where(self.measured, self.noise.residual(self.y, self.operator(x)), 0)

    def misfit(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """||residual||^2 / 2 per lane, regardless of the noise level."""
        r = self.residual(x)
        return 0.5 * dot(r, r)

    def misfit_grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `misfit`."""
        a, pullback = self.operator.vjp(x)
        return pullback(torch.where(self.measured, -self.noise.residual(self.y, a), 0))

    def nll(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """-log p(y | x) in nats, summed over the measured entries of y, per lane.

        Raises:
                Unsupported: If the noise is Gaussian with sigma = 0.
        """
        return self.noise.nll(self.y, self.operator(x), self.measured)

    def grad(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """The gradient of `nll` with respect to x.

        Raises:
            Unsupported: If the noise is Gaussian with sigma 0.
        """
        a, pullback = self.operator.vjp(x)
        return pullback(self.noise.grad(self.y, a, self.measured))

    def standardised(self, a: Float[Tensor, "b *m"]) -> Float[Tensor, "b *m"]:
        """`Noise.residual` / std(y | a): 0 where y is not measured, inf if sigma = 0."""
        std = self.noise.std(a)
        z = torch.where(std > 0, self.noise.residual(self.y, a) / std, torch.inf)
        return torch.where(self.measured, z, 0)

    def residual_ratio(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, " b"]:
        """The rms of (y - A(x)) / std(y | A(x)) over the measured entries; inf if sigma = 0.

        For the true x it is 1 with fluctuations of 1 / sqrt(2 M), approximately also for a draw
        from the posterior; for the posterior mean it is smaller.
        """
        z = self.standardised(self.operator(x))
        return (dot(z, z) / self.count.clamp(min=1)).sqrt()

    def initial_estimate(self) -> Float[Tensor, "b *n"]:
        """An estimate of x from y alone; if A is linear, an approximation of A^+ y."""
        return self.operator.initial_estimate(self.y)

    def adjoint(self) -> Float[Tensor, "b *n"]:
        """A^T y; for a nonlinear A, J^T y with the Jacobian J at x = 0."""
        if isinstance(self.operator, LinearOperator):
            return self.operator.adjoint(self.y)
        return self.operator.vjp(self.y.new_zeros(len(self), *self.x_shape))[1](self.y)

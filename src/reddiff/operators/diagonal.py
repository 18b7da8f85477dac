"""Entrywise weights, such as detector sensitivities or the inverse of a noise level."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.mask import Mask, multiplied
from reddiff.operators.shapes import check_broadcast
from reddiff.operators.spectral import SpectralOperator


class Diagonal(SpectralOperator):
    r""":math:`A = \mathrm{diag}(w)`: y has the shape of x. Entries with w = 0 are not measured.

    Arguments:
        weights: w, finite, of either sign. Shared by all lanes, of any shape that broadcasts to
            one x; or, with `per_lane`, `(b, ...)` with all axes of x.
        per_lane: Whether axis 0 of the weights is the lane axis.

    Raises:
        InvalidArgument: If a weight is not finite, if all weights are zero, or, when applied, if
            they do not broadcast to x.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        real = weights.is_floating_point() and weights.numel() > 0
        require(real, "weights", expected="floating-point numbers", got=tuple(weights.shape))
        finite = bool(torch.isfinite(weights).all())
        require(finite, "weights", expected="finite values", got="nan or inf")
        some = bool(weights.reshape(len(weights) if per_lane else 1, -1).any(1).all())
        require(some, "weights", expected="at least one that is not zero", got="all zero")
        self.register_buffer("weights", weights)
        self.batched = ("weights",) if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        self._check(y_shape)
        return y_shape

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return (self.weights != 0).expand_as(y)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        self._check(tuple(x.shape[1:]))
        return self.weights * x

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self(y)

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return self.weights.abs()

    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        return z

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        return x

    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        """sign(w) z, with sign(0) = 0."""
        return self.weights.sign() * z

    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        return self.weights.sign() * y

    @property
    def T(self) -> LinearOperator:
        return self

    def product_with(self, inner: Operator) -> Operator | None:
        """The product with a diagonal or a mask is a diagonal."""
        if isinstance(inner, Diagonal):
            return self._times(inner.weights, bool(inner.batched), bool(inner.batched))
        return self._times(inner.mask, bool(inner.batched)) if isinstance(inner, Mask) else None

    def product_after(self, outer: Operator) -> Operator | None:
        return self.product_with(outer) if isinstance(outer, Mask) else None

    def _times(self, other: Tensor, per_lane: bool, full: bool = False) -> Diagonal | None:
        """The product with weights or a mask; `full` if those have all axes of x."""
        both = multiplied(self.weights, other, bool(self.batched), per_lane)
        if both is None or not (self.batched or per_lane):
            return Diagonal(both) if both is not None and bool(both.any()) else None
        ranks = [t.ndim for t, known in ((self.weights, self.batched), (other, full)) if known]
        nonzero = bool(both.flatten(1).any(1).all())
        return Diagonal(both, per_lane=True) if both.ndim in ranks and nonzero else None

    def _check(self, wanted: Shape) -> None:
        shape = tuple(self.weights.shape[1:] if self.batched else self.weights.shape)
        full = not self.batched or len(shape) == len(wanted)
        expected = f"shape (b, *{wanted}), or 1 in place of a size"
        require(full, "weights", expected=expected, got=tuple(self.weights.shape))
        check_broadcast("weights", shape, wanted)

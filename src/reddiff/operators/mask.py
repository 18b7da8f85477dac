"""Masks, for inpainting: only some entries of x are measured."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.shapes import check_broadcast
from reddiff.operators.spectral import SpectralOperator


class Selection(SpectralOperator):
    r""":math:`A = \mathrm{diag}(m)`, :math:`m \in \{0, 1\}`: y has the shape of x.

    A subclass implements `x_shape`, and `spectrum`, which returns m.
    """

    @abstractmethod
    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        """The mask, broadcastable with z.

        Raises:
            InvalidArgument: If there is no mask for this shape.
        """

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        return (self.spectrum(y) != 0).expand_as(y)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """x where it is measured, 0 elsewhere."""
        return self.spectrum(x) * x

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        return self.spectrum(y) * y

    @property
    def T(self) -> LinearOperator:
        return self

    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        return z

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        return x

    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        return self.spectrum(z) * z

    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        return self.spectrum(y) * y


class Mask(Selection):
    r""":math:`A = \mathrm{diag}(m)`, :math:`m \in \{0, 1\}`: y has the shape of x.

    Arguments:
        mask: m, 1 (or True) where x is measured. Shared by all lanes, of any shape that
            broadcasts to one x, such as `(h, w)` or `(1, h, w)` for images; or, with `per_lane`,
            `(b, ...)`.
        per_lane: Whether axis 0 of the mask is the lane axis.

    Raises:
        InvalidArgument: If an entry is neither 0 nor 1, if a mask keeps no entry, or, when
            applied, if it does not broadcast to x.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, per_lane: bool = False) -> None:
        super().__init__()
        mask = torch.as_tensor(mask)
        mask = mask if mask.is_floating_point() else mask.to(torch.get_default_dtype())
        ranked = mask.ndim >= 2 or not per_lane
        require(ranked, "mask", expected="shape (b, ...)", got=tuple(mask.shape))
        require(mask.numel() > 0, "mask", expected="at least one entry", got=tuple(mask.shape))
        binary = bool(((mask == 0) | (mask == 1)).all())
        require(binary, "mask", expected="entries 0 or 1", got=_extremes(mask))
        each = mask.flatten(1) if per_lane else mask.reshape(1, -1)
        kept = each.any(1)
        got = f"none kept in lanes {(~kept).nonzero().flatten().tolist()}"
        require(bool(kept.all()), "mask", expected="at least one kept entry", got=got)
        self.register_buffer("mask", mask)
        self.batched = ("mask",) if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        self._check_shape(y_shape)
        return y_shape

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        self._check_shape(tuple(z.shape[1:]))
        if not self.batched:
            return self.mask
        gap = z.ndim - self.mask.ndim  # a mask (b, h, w) applies to all channels of (b, c, h, w)
        return self.mask.reshape(len(self.mask), *[1] * gap, *self.mask.shape[1:])

    def _check_shape(self, wanted: Shape) -> None:
        shape = tuple(self.mask.shape[1:] if self.batched else self.mask.shape)
        check_broadcast("mask", shape, wanted)

    def product_with(self, inner: Operator) -> Operator | None:
        """The product of two masks is the mask of the entries that both keep."""
        if not isinstance(inner, Mask):
            return None
        both = multiplied(self.mask, inner.mask, bool(self.batched), bool(inner.batched))
        if both is None:
            return None
        per_lane = bool(self.batched or inner.batched)
        kept = (both.flatten(1) if per_lane else both.reshape(1, -1)).any(1)
        return Mask(both, per_lane=per_lane) if bool(kept.all()) else None

    def extra_repr(self) -> str:
        return f"{tuple(self.mask.shape)}, {float(self.mask.mean()):.0%} measured"


def multiplied(a: Tensor, b: Tensor, a_per_lane: bool, b_per_lane: bool) -> Tensor | None:
    """a * b for two tensors that multiply x entrywise; None if they do not broadcast."""
    rank = max(a.ndim - a_per_lane, b.ndim - b_per_lane)
    a, b = (
        t.reshape(len(t), *[1] * (rank + 1 - t.ndim), *t.shape[1:]) if per_lane else t
        for t, per_lane in ((a, a_per_lane), (b, b_per_lane))
    )
    pairs = zip(reversed(a.shape), reversed(b.shape), strict=False)
    return a * b if all(m == n or 1 in (m, n) for m, n in pairs) else None


def _extremes(mask: Tensor) -> str:
    return f"values from {float(mask.min()):.4g} to {float(mask.max()):.4g}"


class Identity(Selection):
    """A = I, for denoising."""

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        return z.new_ones(())

    def product_with(self, inner: Operator) -> Operator | None:
        return inner

    def product_after(self, outer: Operator) -> Operator | None:
        return outer

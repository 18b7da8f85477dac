"""An operator given by a dense matrix, for problems with few unknowns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from reddiff.errors import require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.linear import LinearOperator
from reddiff.operators.shapes import check_y_shape
from reddiff.operators.spectral import SpectralOperator


class Matrix(SpectralOperator):
    """y = A x for a dense matrix A, whose singular value decomposition is computed once.

    Arguments:
        a: The matrix `(m, n)`, or one per lane `(b, m, n)` with `per_lane`.
        shape: The shape of one x, with n entries in total; `(n,)` by default. y is `(b, m)`.
        per_lane: Whether axis 0 of the matrix is the lane axis.

    Raises:
        InvalidArgument: If the matrix has the wrong number of axes, is not finite or is zero, or
            if `shape` does not have n entries.
    """

    a: Tensor
    left: Tensor
    right: Tensor
    s: Tensor

    def __init__(self, a: Tensor, *, shape: Shape | None = None, per_lane: bool = False) -> None:
        super().__init__()
        form = "(b, m, n)" if per_lane else "(m, n)"
        right_rank = a.ndim == (3 if per_lane else 2)
        require(right_rank, "a", expected=f"shape {form}", got=tuple(a.shape))
        require(bool(torch.isfinite(a).all()), "a", expected="finite values", got="nan or inf")
        require(bool(a.any()), "a", expected="a matrix that is not zero", got="zeros")
        m, n = a.shape[-2:]
        self.shape = (n,) if shape is None else tuple(shape)
        require(math.prod(self.shape) == n, "shape", expected=f"{n} entries", got=self.shape)
        left, s, right = torch.linalg.svd(a, full_matrices=True)
        s = torch.where(s > s.amax(-1, keepdim=True) * max(m, n) * torch.finfo(a.dtype).eps, s, 0)
        self.register_buffer("a", a)
        self.register_buffer("left", left[..., : min(m, n)])
        self.register_buffer("right", right)
        self.register_buffer("s", pad(s, (0, n - s.shape[-1])))
        self.batched = ("a", "left", "right", "s") if per_lane else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        m = self.a.shape[-2]
        check_y_shape(y_shape, 1, f"{m}")
        require(y_shape == (m,), "y", expected=f"shape (b, {m})", got=f"(b, {y_shape[0]})")
        return self.shape

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        got = tuple(x.shape[1:])
        require(got == self.shape, "x", expected=f"shape (b, *{self.shape})", got=f"(b, *{got})")
        return _apply(self.a, x.flatten(1))

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        return _apply(self.a.mT, y).unflatten(1, self.shape)

    @property
    def T(self) -> LinearOperator:
        if self.shape != (self.a.shape[-1],):
            return super().T  # x would not be flat, but y of a Matrix is
        return Matrix(self.a.mT, per_lane=bool(self.batched))

    def product_with(self, inner: Operator) -> Operator | None:
        """The product of two matrices is a matrix."""
        if not isinstance(inner, Matrix) or self.a.shape[-1] != inner.a.shape[-2]:
            return None
        a, per_lane = self.a @ inner.a, bool(self.batched or inner.batched)
        return Matrix(a, shape=inner.shape, per_lane=per_lane) if bool(a.any()) else None

    def extra_repr(self) -> str:
        return f"a={tuple(self.a.shape)}"

    def spectrum(self, z: Float[Tensor, "b n"]) -> Tensor:
        """The singular values, zero-padded to length n."""
        return self.s

    def v(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b *n"]:
        return _apply(self.right.mT, z).unflatten(1, self.shape)

    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b n"]:
        return _apply(self.right, x.flatten(1))

    def u(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        return _apply(self.left, torch.where(self.s > 0, z, 0)[:, : self.left.shape[-1]])

    def ut(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b n"]:
        """U^T y, zero where s = 0."""
        z = _apply(self.left.mT, y)
        z = pad(z, (0, self.right.shape[-1] - z.shape[1]))
        return torch.where(self.s > 0, z, 0)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)

"""Sparse and very large dense matrices, which have no singular value decomposition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reddiff.errors import require
from reddiff.operators.base import Shape
from reddiff.operators.custom.gradients import linear
from reddiff.operators.linear import LinearOperator


class Dense(LinearOperator):
    """y = A x for a dense matrix that is too large for a singular value decomposition.

    Arguments:
        a: The matrix `(m, n)`; y is `(b, m)`. For a small one see `Matrix`.
        shape: The shape of one x, with n entries in total; `(n,)` by default.

    Raises:
        InvalidArgument: If an entry is not finite, or `shape` does not have n entries.
    """

    a: Tensor

    def __init__(self, a: Tensor, shape: Shape | None = None) -> None:
        super().__init__()
        require(bool(torch.isfinite(a).all()), "a", expected="finite values", got="nan or inf")
        self.shape = _x_shape(a.shape[1], shape)
        self.register_buffer("a", a)

    def x_shape(self, y_shape: Shape) -> Shape:
        _check_y(y_shape, len(self.a))
        return self.shape

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        _check_x(x, self.shape)
        return x.flatten(1) @ self.a.mT

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        return (y @ self.a).unflatten(1, self.shape)


class Sparse(LinearOperator):
    """y = A x for a sparse matrix in coordinate format; y is `(b, m)`.

    Duplicate entries are added. Sums have a fixed order, so that results are reproducible bit for
    bit, also on GPUs.

    Arguments:
        rows: The row of every entry, integers `(k,)`.
        columns: The column of every entry, integers `(k,)`.
        values: The value of every entry `(k,)`, real floating point.
        size: (m, n).
        shape: The shape of one x, with n entries in total; `(n,)` by default.

    Raises:
        InvalidArgument: If there are no entries, if an entry is not finite or lies outside the
            matrix, or if `shape` does not have n entries.
    """

    values: Tensor
    columns: Tensor
    counts: Tensor
    order: Tensor
    rows_t: Tensor
    counts_t: Tensor

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        values: Tensor,
        size: tuple[int, int],
        *,
        shape: Shape | None = None,
    ) -> None:
        super().__init__()
        (m, n), self.m = size, size[0]
        self.shape = _x_shape(n, shape)
        real = values.is_floating_point() and bool(torch.isfinite(values).all())
        require(real, "values", expected="real and finite values", got=values.dtype)
        require(len(values) > 0, "values", expected="at least one entry", got="none")
        for name, index, end in (("rows", rows, m), ("columns", columns, n)):
            inside = bool(((index >= 0) & (index < end)).all())
            require(inside, name, expected=f"numbers from 0 to {end - 1}", got=index)
        place = torch.argsort(rows * n + columns, stable=True)
        rows, columns, values = rows[place], columns[place], values[place]
        order = torch.argsort(columns * m + rows, stable=True)
        self.register_buffer("values", values)
        self.register_buffer("columns", columns)
        self.register_buffer("counts", torch.bincount(rows, minlength=m))
        self.register_buffer("order", order)
        self.register_buffer("rows_t", rows[order])
        self.register_buffer("counts_t", torch.bincount(columns, minlength=n))

    @classmethod
    def of(cls, matrix: Any, shape: Shape | None = None) -> Sparse:
        """Convert a sparse tensor, or an object with the method `tocoo` of SciPy."""
        size = (int(matrix.shape[0]), int(matrix.shape[1]))
        if isinstance(matrix, Tensor):
            matrix = matrix.to_sparse_coo().coalesce()
            rows, columns = matrix.indices()
            return cls(rows, columns, matrix.values(), size, shape=shape)
        matrix = matrix.tocoo()
        real = matrix.dtype.kind in "fiub"
        require(real, "a", expected="a matrix of real numbers", got=matrix.dtype)
        kind = np.float32 if matrix.dtype == np.float32 else np.float64
        rows, columns = (torch.as_tensor(i.astype(np.int64)) for i in (matrix.row, matrix.col))
        return cls(rows, columns, torch.as_tensor(matrix.data.astype(kind)), size, shape=shape)

    def extra_repr(self) -> str:
        return f"({self.m}, {math.prod(self.shape)}), {len(self.values)} entries"

    def x_shape(self, y_shape: Shape) -> Shape:
        _check_y(y_shape, self.m)
        return self.shape

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        _check_x(x, self.shape)
        return linear(self._times, self._back, x)

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *n"]:
        return linear(self._back, self._times, y)

    def measured(self, y: Float[Tensor, "b m"]) -> Bool[Tensor, "b m"]:
        """The entries of y whose rows are not zero."""
        ones = self.values.new_ones(1, math.prod(self.shape))
        seen = _sums(self.values.abs(), self.columns, self.counts, ones)
        return (seen > 0).expand_as(y)

    def _times(self, x: Tensor) -> Tensor:
        return _sums(self.values, self.columns, self.counts, x.flatten(1))

    def _back(self, y: Tensor) -> Tensor:
        x = _sums(self.values[self.order], self.rows_t, self.counts_t, y)
        return x.unflatten(1, self.shape)


def _sums(values: Tensor, index: Tensor, counts: Tensor, v: Tensor) -> Tensor:
    """Sums of values v[index] over consecutive segments of `counts` entries."""
    terms = values[:, None] * v.T[index]
    return torch.segment_reduce(terms, "sum", lengths=counts, axis=0, unsafe=True).T.contiguous()


def _x_shape(n: int, shape: Shape | None) -> Shape:
    shape = (n,) if shape is None else tuple(shape)
    require(math.prod(shape) == n, "x_shape", expected=f"{n} entries", got=shape)
    return shape


def _check_x(x: Tensor, shape: Shape) -> None:
    got = tuple(x.shape[1:])
    require(got == shape, "x", expected=f"shape (b, *{shape})", got=f"(b, *{got})")


def _check_y(y_shape: Shape, m: int) -> None:
    require(tuple(y_shape) == (m,), "y", expected=f"shape (b, {m})", got=f"(b, *{y_shape})")

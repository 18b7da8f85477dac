"""The base class of forward operators, and their first-order expansion at a point."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reddiff.linalg import power_iteration

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Linearisation:
    """First-order expansion of an operator: A(x + v) = a + J v + O(v^2), with J the Jacobian at x.

    Arguments:
        a: A(x).
        push: v -> J v, from the shape of x to that of y.
        pull: w -> J^T w, from the shape of y to that of x.
    """

    a: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]


class Operator(nn.Module, ABC):
    """A deterministic forward operator A: y = A(x), plus noise that is not part of it.

    x and y are real tensors whose axis 0 counts lanes. The parameters of A are either shared by
    all lanes or separate for each lane.

    A subclass implements `forward` and `x_shape`, and lists in `batched` the buffers that have a
    lane axis; `select` indexes those.
    """

    batched: tuple[str, ...] = ()
    precision: torch.dtype | None = None  # the dtype A computes in, if it ignores that of x
    straight_through: bool = False  # the gradient is an estimate; the true one is zero
    loose: bool = False  # whether `repr` needs parentheses in a product

    @abstractmethod
    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """A(x)."""

    @abstractmethod
    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of one x whose measurement has shape `y_shape`.

        Raises:
            InvalidArgument: Names `y` if no x has such a measurement.
        """

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A(x), and its pullback v -> (d A / d x)^T v."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            a = self(leaf)

        return a.detach(), partial(_pull, a, leaf)

    def linearise(self, x: Float[Tensor, "b *n"]) -> Linearisation:
        """A(x), and products with the Jacobian and its transpose, from one evaluation of A.

        J v is computed as the derivative of J^T w with respect to w (double backward), so that A
        needs no forward-mode derivative.
        """
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            a = self(leaf)
            w = torch.zeros_like(a, requires_grad=True)
            (slope,) = torch.autograd.grad(a, leaf, w, create_graph=True)

        def push(v: Tensor) -> Tensor:
            if not slope.requires_grad:  # A is constant near x: its backward pass is zero
                return torch.zeros_like(a)
            return _pull(slope, w, v)

        return Linearisation(a.detach(), push, partial(_pull, a, leaf))

    def norm(
        self, x: Float[Tensor, "b *n"], near: Linearisation | None = None, *, iterations: int = 8
    ) -> Float[Tensor, " b"]:
        """The spectral norm ||A||, per lane: the largest singular value of the derivative at x.

        Without a closed form it is computed by power iteration, which gives a lower bound; after 8
        iterations it is within a few percent.

        Arguments:
            x: The point at which A is linearized; if A is linear, only shape and dtype matter.
            near: `linearise(x)`, if it has been computed already.
            iterations: Number of power iterations.
        """
        near = self.linearise(x) if near is None else near
        return power_iteration(lambda v: near.pull(near.push(v)), x, iterations=iterations).sqrt()

    def surrogate(self) -> tuple[Operator, Tensor | float] | None:
        """A smooth approximation of A, and its rms error (a number, or one per lane).

        It exists where A is piecewise constant, as rounding is: the derivative of such an A is zero
        almost everywhere. None where A is smooth.
        """
        return None

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """The entries of y that are measured; solvers ignore the others."""
        return torch.ones_like(y, dtype=torch.bool)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """An estimate of x from y alone, finite for any y, from which optimization starts."""
        return y.new_zeros(len(y), *self.x_shape(tuple(y.shape[1:])))

    @final
    def select(self, index: Tensor) -> Operator:
        """The operator for the lanes at these indices, in this order; indices may repeat."""
        return self._select(index)

    def _select(self, index: Tensor) -> Operator:
        if not self.batched:
            return self
        new = copy.copy(self)
        new._buffers = {
            name: value[index] if name in self.batched and value is not None else value
            for name, value in self._buffers.items()
        }
        return new

    @property
    def lanes(self) -> int | None:
        """The number of lanes that have parameters of their own; None if all lanes share them."""
        sizes = [len(self.get_buffer(name)) for name in self.batched]
        return sizes[0] if sizes else None

    def product_with(self, inner: Operator) -> Operator | None:
        """`self @ inner` as a single operator, or None if this class has no closed form for it."""
        return None

    def product_after(self, outer: Operator) -> Operator | None:
        """`outer @ self` as a single operator, or None if this class has no closed form for it."""
        return None

    def __matmul__(self, inner: Operator) -> Operator:
        """x -> self(inner(x))."""
        from reddiff.operators.composition import product

        return product(self, inner)

    def __add__(self, other: Operator) -> Operator:
        """x -> self(x) + other(x)."""
        from reddiff.operators.sums import total

        return total(self, other)

    def __sub__(self, other: Operator) -> Operator:
        """x -> self(x) - other(x)."""
        return self + -other

    def __mul__(self, factor: float) -> Operator:
        """x -> factor self(x), for a number other than 0."""
        from reddiff.operators.multiples import scaled

        return scaled(self, factor) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        """x -> -self(x)."""
        return self * -1.0

    def extra_repr(self) -> str:
        """The text in parentheses of `repr`: shapes of the tensor parameters, values of scalars."""
        shown = ((name, t) for name, t in self._buffers.items() if t is not None and t.numel())
        return ", ".join(
            f"{name}={tuple(t.shape) if t.ndim else f'{float(t):g}'}" for name, t in shown
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _pull(a: Tensor, leaf: Tensor, v: Tensor) -> Tensor:
    """(d a / d leaf)^T v."""
    (grad,) = torch.autograd.grad(a, leaf, v, retain_graph=True)
    return grad

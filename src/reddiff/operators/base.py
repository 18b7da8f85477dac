"""Base classes of forward operators A, with y = A(x) + noise."""

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

from reddiff.errors import InvalidArgument, require
from reddiff.lanes import finite, lanes
from reddiff.linalg import Solution, cg, conjugate_gradients, power_iteration

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
    """A forward operator A, shared by all lanes or with parameters per lane. It is deterministic.

    A subclass implements `forward` and `x_shape`. Buffers with a lane axis are named in `batched`;
    `select` indexes them.
    """

    batched: tuple[str, ...] = ()
    precision: torch.dtype | None = None  # of code that computes in one dtype, whatever x is
    straight_through: bool = False  # a straight-through derivative; the true one is zero

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

        A lower bound by power iteration where there is no closed form; 8 iterations come within a
        few percent.

        Arguments:
            x: Where a nonlinear A is linearised; for a linear A only its shape and dtype matter.
            near: `linearise(x)`, if it has been computed already.
            iterations: Of the power iteration.
        """
        near = self.linearise(x) if near is None else near
        return power_iteration(lambda v: near.pull(near.push(v)), x, iterations=iterations).sqrt()

    def surrogate(self) -> tuple[Operator, Tensor | float] | None:
        """A smooth approximation of A, and the rms error (a number, or one per lane).

        For a piecewise constant A, such as rounding, whose derivative is zero almost everywhere.
        None where A is smooth.
        """
        return None

    def measured(self, y: Float[Tensor, "b *m"]) -> Bool[Tensor, "b *m"]:
        """Which entries of y are measured; solvers ignore the others."""
        return torch.ones_like(y, dtype=torch.bool)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """An estimate of x from y alone, finite for any y: the start of optimisation."""
        return y.new_zeros(len(y), *self.x_shape(tuple(y.shape[1:])))

    @final
    def select(self, index: Tensor) -> Operator:
        """The operator of the lanes of these indices, in this order; indices may repeat."""
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
        """The number of lanes that the parameters are for; None if they are shared."""
        sizes = [len(self.get_buffer(name)) for name in self.batched]
        return sizes[0] if sizes else None

    def product_with(self, inner: Operator) -> Operator | None:
        """The closed form of `self @ inner`, where this operator knows one."""
        return None

    def product_after(self, outer: Operator) -> Operator | None:
        """The closed form of `outer @ self`, where this operator knows one."""
        return None

    def __matmul__(self, inner: Operator) -> Operator:
        """x -> self(inner(x))."""
        from reddiff.operators.algebra import product

        return product(self, inner)

    def __add__(self, other: Operator) -> Operator:
        """x -> self(x) + other(x)."""
        from reddiff.operators.algebra import total

        return total(self, other)

    def __sub__(self, other: Operator) -> Operator:
        """x -> self(x) - other(x)."""
        return self + -other

    def __mul__(self, factor: float) -> Operator:
        """x -> factor self(x), for a number other than 0."""
        from reddiff.operators.algebra import scaled

        return scaled(self, factor) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        """x -> -self(x)."""
        return self * -1.0

    def extra_repr(self) -> str:
        """What `repr` shows in parentheses: the shapes of the parameters, numbers as they are."""
        shown = ((name, t) for name, t in self._buffers.items() if t is not None and t.numel())
        return ", ".join(
            f"{name}={tuple(t.shape) if t.ndim else f'{float(t):g}'}" for name, t in shown
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class LinearOperator(Operator):
    """A linear A: adds `adjoint`, and from it `solve` and `pinv`."""

    adjoint_tolerance: float = 0.0  # largest relative error of an adjoint that is not exact

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """A^T y."""

    @property
    def T(self) -> LinearOperator:
        """The transpose: a linear operator whose forward is the adjoint."""
        from reddiff.operators.algebra import Transposed

        return Transposed(self)

    def vjp(self, x: Float[Tensor, "b *n"]) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A x, and the adjoint."""
        return self(x), self.adjoint

    def linearise(self, x: Float[Tensor, "b *n"]) -> Linearisation:
        """A x, A and its adjoint."""
        return Linearisation(self(x), self, self.adjoint)

    @final
    def solve(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        gain: Tensor | float = 1.0,
        *,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Float[Tensor, "b *n"]:
        """The x of `solution`, even if it has not converged; exact for a `ClosedForm`."""
        return self.solution(b, lam, gain, tol=tol, iterations=iterations).x

    def solution(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        gain: Tensor | float = 1.0,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """(gain A^T A + lam I)^-1 b, for numbers (or one per lane) lam > 0 and gain >= 0.

        By conjugate gradients from `start` (by default zero), until the residual is at most `tol`
        times ||b|| or `iterations` have been made.
        """
        lam, gain = lanes(lam, b), lanes(gain, b)
        matvec = partial(self._regularised, lam=lam, gain=gain)
        return conjugate_gradients(matvec, b, start=start, tol=tol, iterations=iterations)

    def _regularised(self, v: Tensor, lam: Tensor, gain: Tensor) -> Tensor:
        return gain * self.adjoint(self(v)) + lam * v

    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        gain: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """Ridge regression: the x of least gain ||A x - y||^2 + ||x||^2.

        That is `solution` of gain A^T y for lam = 1 and a gain >= 0, a number or one per lane.
        """
        b = self.adjoint(y)
        return self.solution(
            lanes(gain, b) * b, 1.0, gain, start=start, tol=tol, iterations=iterations
        )

    def pinv(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """The Moore-Penrose pseudo-inverse A^+ y: the shortest x of least ||A x - y||."""
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=500)

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """Ten conjugate gradient iterations towards A^+ y.

        Early stopping keeps out the directions that A damps most, where y is mostly noise.
        """
        return cg(lambda v: self.adjoint(self(v)), self.adjoint(y), iterations=10)


class ClosedForm(LinearOperator):
    """A linear A whose regularised inverse has a closed form, `invert`."""

    @abstractmethod
    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, gain: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """(gain A^T A + lam I)^-1 b, for numbers (or one per lane) lam > 0 and gain >= 0."""

    @final
    def solution(
        self,
        b: Float[Tensor, "b *n"],
        lam: Tensor | float,
        gain: Tensor | float = 1.0,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """`invert`, which needs no iterations."""
        x = self.invert(b, lam, gain)
        return Solution(x, finite(x))

    def wiener(self, y: Float[Tensor, "b *m"], gain: Tensor | float) -> Float[Tensor, "b *n"]:
        """A^T (A A^T + I / gain)^-1 y, for a gain >= 0, a number or one per lane.

        By default `invert(gain A^T y, 1, gain)` and a step of iterative refinement: the rounding
        error of gain A^T y, of which `invert` keeps the part in the null space, would exceed x in
        single precision. Override it where A^T (A A^T + I / gain)^-1 is known.
        """
        x = self.adjoint(y)
        gain = lanes(gain, x)
        x = self.invert(gain * x, 1.0, gain)
        return x + self.invert(gain * self.adjoint(y - self(x)) - x, 1.0, gain)

    @final
    def ridge(
        self,
        y: Float[Tensor, "b *m"],
        gain: Tensor | float,
        *,
        start: Float[Tensor, "b *n"] | None = None,
        tol: float = 0.0,
        iterations: int = 500,
    ) -> Solution:
        """`wiener`, which needs no iterations."""
        x = self.wiener(y, gain)
        return Solution(x, finite(x))


class SpectralOperator(ClosedForm):
    r"""A linear A with a known singular value decomposition :math:`A = U\,\mathrm{diag}(s)\,V^T`.

    V is a full orthonormal basis of x: `vt` takes x to n real spectral coordinates and `v` takes
    them back. `ut` takes y to the same n coordinates, with zeros where s = 0, and `u` takes them
    to y, ignoring those where s = 0. `forward`, `adjoint`, `solve` and `pinv` follow.
    """

    @abstractmethod
    def spectrum(self, z: Float[Tensor, "b *k"]) -> Tensor:
        """The singular values s >= 0, broadcastable with the spectral coordinates z."""

    @abstractmethod
    def v(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *n"]:
        """V z."""

    @abstractmethod
    def vt(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *k"]:
        """V^T x."""

    @abstractmethod
    def u(self, z: Float[Tensor, "b *k"]) -> Float[Tensor, "b *m"]:
        """U z."""

    @abstractmethod
    def ut(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *k"]:
        """U^T y."""

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *m"]:
        """U diag(s) V^T x."""
        z = self.vt(x)
        return self.u(self.spectrum(z) * z)

    def adjoint(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """V diag(s) U^T y."""
        z = self.ut(y)
        return self.v(self.spectrum(z) * z)

    def invert(
        self, b: Float[Tensor, "b *n"], lam: Tensor | float, gain: Tensor | float = 1.0
    ) -> Float[Tensor, "b *n"]:
        """Division by gain s^2 + lam in the spectral coordinates."""
        z = self.vt(b)
        return self.v(z / (lanes(gain, z) * self.spectrum(z) ** 2 + lanes(lam, z)))

    def wiener(self, y: Float[Tensor, "b *m"], gain: Tensor | float) -> Float[Tensor, "b *n"]:
        """Multiplication by s / (s^2 + 1 / gain) in the spectral coordinates."""
        z = self.ut(y)
        s = self.spectrum(z)
        return self.v(z * (s / (s**2 + 1 / lanes(gain, z))))

    def initial_estimate(self, y: Float[Tensor, "b *m"]) -> Float[Tensor, "b *n"]:
        """A^+ y."""
        return self.pinv(y)

    def norm(
        self, x: Float[Tensor, "b *n"], near: Linearisation | None = None, *, iterations: int = 8
    ) -> Float[Tensor, " b"]:
        """The largest singular value, exactly."""
        z = self.vt(x)
        return self.spectrum(z).expand_as(z).flatten(1).amax(1)

    def pinv(self, y: Float[Tensor, "b *m"], rcond: float | None = None) -> Float[Tensor, "b *n"]:
        """A^+ y; singular values below `rcond` times the largest of the lane count as zero.

        Arguments:
            y: A measurement.
            rcond: By default the rounding error of the dtype, so that this is A^+ proper.
        """
        z = self.ut(y)
        s = self.spectrum(z).expand_as(z)
        if rcond is None:
            rcond = 100 * torch.finfo(z.dtype).eps
        kept = s > rcond * lanes(s.flatten(1).amax(1), s)
        return self.v(torch.where(kept, z / torch.where(kept, s, 1), 0))


def _pull(a: Tensor, leaf: Tensor, v: Tensor) -> Tensor:
    """(d a / d leaf)^T v."""
    (grad,) = torch.autograd.grad(a, leaf, v, retain_graph=True)
    return grad


def empty_like_parameters(operator: nn.Module) -> Tensor:
    """An empty tensor of the dtype and device of an operator's parameters; torch's without any."""
    return next((t for t in operator.buffers() if t.is_floating_point()), torch.empty(0)).detach()


def check_y_shape(y_shape: Shape, ndim: int, form: str) -> None:
    """Raise InvalidArgument unless one y has `ndim` axes, described by `form`."""
    if len(y_shape) != ndim:
        raise InvalidArgument("y", expected=f"shape (b, {form})", got=f"(b, {_join(y_shape)})")


def check_broadcast(name: str, shape: Shape, wanted: Shape) -> None:
    """Raise InvalidArgument unless a parameter of this shape broadcasts to the wanted one."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    fits = len(shape) <= len(wanted) and all(a in (1, b) for a, b in pairs)
    require(fits, name, expected=f"a shape that broadcasts to {wanted}", got=shape)


def _join(shape: Shape) -> str:
    return ", ".join(str(n) for n in shape)

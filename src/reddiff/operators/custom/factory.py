"""Factories of operators: `operator`, `from_matrix` and `from_linear_operator`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.custom.arrays import Flat, Looped
from reddiff.operators.custom.candidate import Candidate
from reddiff.operators.custom.matrices import Dense, Sparse
from reddiff.operators.linear import LinearOperator
from reddiff.operators.matrix import Matrix

DENSE = 4096  # largest number of rows or columns for which the SVD of a matrix is computed


def operator(
    forward: Callable[..., Any],
    adjoint: Callable[..., Any] | None = None,
    *,
    x_shape: Shape | Callable[[Shape], Shape] | None = None,
    example: Tensor | None = None,
    linear: bool | None = None,
    lanes: Sequence[Tensor] = (),
    vjp: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    numpy: bool = False,
    adjoint_tolerance: float | None = None,
) -> Operator:
    """An `Operator` from a function of x.

    The function is first validated on random numbers. It must treat lanes independently, return the
    same A(x) at every call, and be linear if it is declared so; an adjoint must pass the
    dot-product test. See `from_matrix` for a matrix, `from_linear_operator` for an operator on
    vectors, and `reddiff.from_deepinv` for a physics of deepinv.

    Arguments:
        forward: A function or an `nn.Module` that maps a tensor x `(b, ...)` to A(x) `(b, ...)`.
            Autograd differentiates it, unless `adjoint` or `vjp` is given. With `numpy=True`, a
            function of the NumPy array of one x, called lane by lane. An `Operator` is returned
            unchanged.
        adjoint: y -> A^T y, for a linear function that autograd cannot differentiate, or for
            speed. By default the method `adjoint` of `forward`, if it has one.
        x_shape: The shape of one x; or, if `forward` accepts any size, a function that maps the
            shape of one y to that of its x. By default the shape of A^T y if there is an adjoint,
            else that of y.
        example: An x `(b, ...)` to validate the function on. It gives the shape of one x, and the
            dtype and device that the function needs if they are not torch's defaults.
        linear: Whether A is linear. By default it is tested, if the shape of x is known.
        lanes: Tensors `(b, ...)` with one entry per lane. They are passed to every function after
            its other arguments, and indexed by `select`.
        vjp: (x, w) -> J(x)^T w, for a nonlinear function that autograd cannot differentiate.
        jvp: (x, v) -> J(x) v, if `vjp` is given; by default central differences.
        numpy: Whether the functions take and return the NumPy arrays of one lane.
        adjoint_tolerance: The largest accepted error of the adjoint relative to ||A x|| ||y||, in
            (0, 1), such as 0.02 for a back-projector that is off by one percent. By default the
            rounding error, about 3e-4 in float32. Gradients, data steps and results have errors of
            this size.

    Raises:
        InvalidArgument: If an argument is invalid or a function fails its validation.
    """
    maps = {"adjoint": adjoint, "vjp": vjp, "jvp": jvp}
    if isinstance(forward, Operator):
        more: dict[str, object] = {**maps, "x_shape": x_shape, "example": example, "linear": linear}
        more |= {"lanes": lanes or None, "adjoint_tolerance": adjoint_tolerance}
        for name, value in more.items():
            expected = "None, because forward is an Operator"
            require(value is None, name, expected=expected, got=type(value).__name__)
        return forward
    other = _other_function(forward)
    expected = "a function" if other is None else f"a function (for this object, use {other})"
    good = other is None and callable(forward)
    require(good, "forward", expected=expected, got=type(forward).__name__)
    if adjoint is None and callable(getattr(forward, "adjoint", None)):
        maps["adjoint"] = forward.adjoint  # type: ignore[attr-defined]
    parts = _modules(forward, *maps.values())
    functions: dict[str, Callable[..., Any] | None] = {"forward": forward, **maps}
    if numpy:
        functions = {k: None if f is None else Looped(k, f) for k, f in functions.items()}
    candidate = Candidate(
        functions, x_shape, example, tuple(lanes), parts, numpy, adjoint_tolerance
    )
    return candidate.operator(linear)


def from_matrix(a: Any, *, x_shape: Shape | None = None) -> LinearOperator:
    """The operator y = A x of a matrix `(m, n)`; y is `(b, m)`.

    A dense matrix of up to 4096 rows and columns becomes a `Matrix`, whose singular value
    decomposition is computed. A larger one becomes a `Dense`, a sparse one a `Sparse`.

    Arguments:
        a: A matrix of real numbers, dense or sparse, from torch, NumPy or SciPy.
        x_shape: The shape of one x, with n entries in total; `(n,)` by default.

    Raises:
        InvalidArgument: If `a` is not a matrix of real numbers, or `x_shape` does not have n
            entries.
    """
    sparse = hasattr(a, "tocoo") or (isinstance(a, Tensor) and a.layout != torch.strided)
    known = sparse or isinstance(a, Tensor | np.ndarray)
    expected = "a matrix from torch, NumPy or SciPy"
    require(known, "a", expected=expected, got=type(a).__name__)
    rank = len(a.shape)
    hint = " (one per lane: reddiff.operators.Matrix(..., per_lane=True))" if rank == 3 else ""
    require(rank == 2, "a", expected=f"a matrix (m, n){hint}", got=tuple(a.shape))
    if sparse:
        return Sparse.of(a, x_shape)
    real = a.dtype.kind in "fiub" if isinstance(a, np.ndarray) else not a.is_complex()
    require(real, "a", expected="a matrix of real numbers", got=a.dtype)
    tensor = torch.as_tensor(a.copy() if isinstance(a, np.ndarray) else a)
    tensor = tensor if tensor.is_floating_point() else tensor.double()
    if max(tensor.shape) <= DENSE:
        return Matrix(tensor, shape=x_shape)
    return Dense(tensor, x_shape)


def from_linear_operator(
    a: Any, *, x_shape: Shape | None = None, adjoint_tolerance: float | None = None
) -> LinearOperator:
    """A linear operator of another library that acts on vectors; called lane by lane on the CPU.

    It is validated in its own precision, float32 or float64.

    Arguments:
        a: A `scipy.sparse.linalg.LinearOperator`, or any object with `shape` (m, n), `matvec` and
            `rmatvec`, such as those of PyLops and ASTRA. y is `(b, m)`.
        x_shape: The shape of one x, with n entries in total; `(n,)` by default.
        adjoint_tolerance: As for `operator`, if `rmatvec` is not the exact transpose.

    Raises:
        InvalidArgument: If `a` is not such an object, or is complex or nonlinear, if `rmatvec`
            fails the dot-product test, or if `x_shape` does not have n entries.
    """
    expected = "an operator with shape, matvec and rmatvec (y -> A^T y)"
    has = all(callable(getattr(a, name, None)) for name in ("matvec", "rmatvec"))
    require(has and hasattr(a, "shape"), "a", expected=expected, got=type(a).__name__)
    dtype = np.dtype(getattr(a, "dtype", None) or float)
    expected = "a real operator (a complex y is two channels, real and imaginary)"
    require(dtype.kind != "c", "a", expected=expected, got=dtype)
    m, n = (int(k) for k in a.shape)
    shape = (n,) if x_shape is None else tuple(x_shape)
    require(int(np.prod(shape)) == n, "x_shape", expected=f"{n} entries", got=shape)
    low = dtype == np.float32 or np.asarray(a.matvec(np.zeros(n))).dtype == np.float32
    example = torch.zeros(2, *shape, dtype=torch.float32 if low else torch.float64)
    try:
        made = operator(
            Flat(a.matvec, (m,)),
            Flat(a.rmatvec, shape),
            example=example,
            linear=True,
            numpy=True,
            adjoint_tolerance=adjoint_tolerance,
        )
    except InvalidArgument as error:
        if error.argument != "linear":
            raise
        expected = "a linear operator: matvec(c u + v) = c matvec(u) + matvec(v)"
        got = str(error.got).removeprefix("True, and ")
        raise InvalidArgument("a", expected=expected, got=got) from error
    assert isinstance(made, LinearOperator)  # noqa: S101 - linear=True
    return made


def _other_function(value: object) -> str | None:
    """The function of this library for an object that `operator` does not accept."""
    if isinstance(value, Tensor | np.ndarray) or hasattr(value, "tocoo"):
        return "reddiff.from_matrix"
    if callable(getattr(value, "matvec", None)):
        return "reddiff.from_linear_operator"
    if callable(getattr(value, "A", None)) and (
        hasattr(value, "A_adjoint") or hasattr(value, "noise_model")
    ):
        return "reddiff.from_deepinv (or reddiff.interop.deepinv.physics_operator)"
    return None


def _modules(*functions: Any) -> list[nn.Module]:
    """The functions that are modules, and the modules that functions are methods of."""
    owners = [f if isinstance(f, nn.Module) else getattr(f, "__self__", None) for f in functions]
    return list({id(m): m for m in owners if isinstance(m, nn.Module)}.values())

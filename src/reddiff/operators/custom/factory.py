"""`reddiff.operator`: an operator from whatever somebody has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reddiff.errors import InvalidArgument, require
from reddiff.operators.base import Operator, Shape
from reddiff.operators.custom.arrays import Flat, Looped
from reddiff.operators.custom.matrices import Dense, Sparse
from reddiff.operators.custom.tried import Tried
from reddiff.operators.matrix import Matrix

DENSE = 4096  # rows or columns up to which a dense matrix gets its singular value decomposition


def operator(
    forward: Any,
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
    """An `Operator` from a function, a matrix, or an operator of another library.

    Whatever is given is tried on random numbers first: that it keeps the lanes apart and gives the
    same twice, that it is linear if it is to be, that the adjoint is the adjoint.

    Arguments:
        forward: One of

            - a function x `(b, ...)` -> A(x) `(b, ...)` on tensors, an `nn.Module` too. It is
              differentiated by autograd, unless `adjoint` or `vjp` says how;
            - a function of the NumPy array of one x, with `numpy=True`: called lane by lane;
            - a matrix, dense or sparse, of torch, NumPy or SciPy; x is flat unless `x_shape` says
              what it is, y is `(b, m)`;
            - a `scipy.sparse.linalg.LinearOperator`, or anything with `shape`, `matvec` and
              `rmatvec` on vectors, called lane by lane;
            - a deepinv `Physics`, or anything with the functions `A` and, if it is linear,
              `A_adjoint` on batches: see `reddiff.from_deepinv`;
            - an `Operator`, returned as it is.
        adjoint: y -> A^T y, for a linear function that autograd cannot follow, or to be faster. By
            default the function's own `adjoint`, if it has one.
        x_shape: The shape of one x; or a function from the shape of one y to that of its x, for a
            function of any size. By default found from the adjoint, or else that of y.
        example: An x `(b, ...)` to try the function on: gives the shape of one x, and the dtype
            and device that the function wants, where they are not those of torch's defaults.
        linear: Whether A is linear. By default tried, where the shape of x is known.
        lanes: Tensors `(b, ...)` that each lane has its own of: they are handed to every function
            after its other arguments, and chosen by `select`.
        vjp: (x, w) -> J(x)^T w, for a nonlinear function that autograd cannot follow.
        jvp: (x, v) -> J(x) v, beside `vjp`; by default central differences.
        numpy: Whether the functions are of the NumPy arrays of one lane.
        adjoint_tolerance: How far the adjoint may be from A^T, as a part of ||A x|| ||y||: 0.02 for
            a back-projector that is a percent off. By default the rounding error, about 3e-4 in
            float32. Gradients and data steps are then as inexact, and so is x.

    Raises:
        InvalidArgument: Names what cannot be used, what was expected of it and what came.
    """
    maps = {"adjoint": adjoint, "vjp": vjp, "jvp": jvp}
    tolerance = {"adjoint_tolerance": adjoint_tolerance}
    more = {**maps, "linear": linear, "example": example, "lanes": lanes or None}
    if isinstance(forward, Operator):
        _nothing_beside("an Operator", x_shape=x_shape, **more, **tolerance)
        return forward
    if _is_matrix(forward) or hasattr(forward, "matvec"):
        _nothing_beside("a matrix or its like", **more)
        if not hasattr(forward, "matvec"):
            _nothing_beside("a matrix", **tolerance)
        return _matrix(forward, _tuple(x_shape), adjoint_tolerance)
    if callable(getattr(forward, "A", None)):
        from reddiff.interop.deepinv.physics import physics_operator

        _nothing_beside(
            "an operator with A", **maps, linear=linear, lanes=lanes or None, **tolerance
        )
        return physics_operator(forward, x_shape=_tuple(x_shape), example=example)
    expected = "a function, a matrix, or an operator"
    require(callable(forward), "forward", expected=expected, got=type(forward).__name__)
    if adjoint is None and callable(getattr(forward, "adjoint", None)):
        maps["adjoint"] = forward.adjoint
    parts = _modules(forward, *maps.values())
    functions = {"forward": forward, **maps}
    if numpy:
        functions = {k: None if f is None else Looped(k, f) for k, f in functions.items()}
    tried = Tried(functions, x_shape, example, tuple(lanes), parts, numpy, adjoint_tolerance)
    return tried.operator(linear)


def _tuple(x_shape: Shape | Callable[[Shape], Shape] | None) -> Shape | None:
    if callable(x_shape):
        raise InvalidArgument("x_shape", expected="a tuple beside this operator", got="a function")
    return x_shape


def _is_matrix(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) or hasattr(value, "tocoo")


def _matrix(value: Any, shape: Shape | None, tolerance: float | None = None) -> Operator:
    rank = len(value.shape)
    hint = " (one per lane: reddiff.operators.Matrix(..., per_lane=True))" if rank == 3 else ""
    require(rank == 2, "forward", expected=f"a matrix (m, n){hint}", got=tuple(value.shape))
    m, n = (int(k) for k in value.shape)
    if hasattr(value, "matvec"):
        return _vectors(value, (n,) if shape is None else tuple(shape), tolerance)
    if hasattr(value, "tocoo") or (isinstance(value, Tensor) and value.layout != torch.strided):
        return Sparse.of(value, shape)
    real = value.dtype.kind in "fiub" if isinstance(value, np.ndarray) else not value.is_complex()
    require(real, "forward", expected="a matrix of real numbers", got=value.dtype)
    tensor = torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value)
    tensor = tensor if tensor.is_floating_point() else tensor.double()
    if max(m, n) <= DENSE:
        return Matrix(tensor, shape=shape)
    return Dense(tensor, shape)


def _vectors(value: Any, shape: Shape, tolerance: float | None) -> Operator:
    """An operator on vectors, as SciPy's, tried in the precision that it computes in."""
    complex_ = np.dtype(getattr(value, "dtype", None) or float).kind == "c"
    expected = "a real operator (a complex y has two channels: its two parts)"
    require(not complex_, "forward", expected=expected, got=getattr(value, "dtype", None))
    m, n = (int(k) for k in value.shape)
    require(int(np.prod(shape)) == n, "x_shape", expected=f"{n} entries", got=shape)
    has = callable(getattr(value, "rmatvec", None))
    require(has, "forward", expected="an operator with rmatvec, y -> A^T y", got="none")
    there, back = Flat(value.matvec, (m,)), Flat(value.rmatvec, shape)
    low = np.dtype(getattr(value, "dtype", None) or float) == np.float32
    low = low or np.asarray(value.matvec(np.zeros(n))).dtype == np.float32  # whatever it says
    example = torch.zeros(2, *shape, dtype=torch.float32 if low else torch.float64)
    try:
        return operator(
            there,
            back,
            example=example,
            linear=True,
            numpy=True,
            adjoint_tolerance=tolerance,
        )
    except InvalidArgument as error:
        if error.argument != "linear":
            raise
        expected = "a linear operator: matvec(c u + v) = c matvec(u) + matvec(v)"
        got = str(error.got).removeprefix("True, and ")
        raise InvalidArgument("forward", expected=expected, got=got) from error


def _modules(*functions: Any) -> list[nn.Module]:
    """The modules that functions are, or are methods of."""
    owners = [f if isinstance(f, nn.Module) else getattr(f, "__self__", None) for f in functions]
    return list({id(m): m for m in owners if isinstance(m, nn.Module)}.values())


def _nothing_beside(what: str, **more: object) -> None:
    for name, value in more.items():
        require(value is None, name, expected=f"None beside {what}", got=type(value).__name__)

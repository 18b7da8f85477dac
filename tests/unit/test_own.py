"""`reddiff.operator`: operators from functions, and errors for functions that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import reddiff
import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Laplace, Poisson, Problem, UnknownGaussian
from reddiff.operators import CircularBlur, ClosedForm, LinearOperator, Mask, Matrix, gaussian_psf
from reddiff.operators.custom import (
    Dense,
    Function,
    LinearFunction,
    Sparse,
    factory,
    from_linear_operator,
    from_matrix,
    operator,
)
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff
from reddiff.units import FromPixels, from_pixels, to_pixels
from zoo import custom

F64 = torch.float64
MATRIX = zoo.randn(4, 6, seed=70)


def made(name: str, lanes: int = 2) -> Any:
    return next(case for case in zoo.OPERATORS if case.name == name).make(lanes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("own-linear", LinearFunction),
        ("own-any-size", LinearFunction),
        ("own-curve", Function),
        ("own-numpy", LinearFunction),
        ("own-numpy-curve", Function),
        ("own-module", LinearFunction),
        ("own-dense", Matrix),
        ("own-sparse", Sparse),
        ("own-scipy", LinearFunction),
        ("own-physics-closed", ClosedForm),
        ("own-physics-closed-per-lane", ClosedForm),
    ],
)
def test_kinds(name: str, kind: type) -> None:
    """Linearity is found by trial, closed forms where there are some."""
    assert isinstance(made(name), kind)
    assert not isinstance(made("own-physics"), ClosedForm)
    assert made("own-physics-closed-per-lane", 3).lanes == 3


def forms(matrix: Tensor) -> dict[str, Callable[[], Any]]:
    """One matrix (m, n) in every form; `operator` is called on each."""
    array = matrix.numpy()
    example = torch.ones(2, matrix.shape[1], dtype=F64)
    return {
        "torch": lambda: from_matrix(matrix),
        "numpy": lambda: from_matrix(array),
        "torch-sparse": lambda: from_matrix(matrix.to_sparse()),
        "scipy-sparse": lambda: from_matrix(scipy.sparse.csr_matrix(array)),
        "scipy-array": lambda: from_matrix(scipy.sparse.coo_array(array)),
        "scipy-operator": lambda: from_linear_operator(scipy.sparse.linalg.aslinearoperator(array)),
        "function": lambda: operator(lambda x: x @ matrix.mT, example=example),
        "adjoint": lambda: operator(lambda x: x @ matrix.mT, lambda y: y @ matrix, example=example),
        "array-function": lambda: operator(
            lambda a: array @ a, lambda a: array.T @ a, example=example, numpy=True
        ),
        "large": lambda: Dense(matrix),
    }


@pytest.mark.parametrize("form", forms(MATRIX))
def test_every_form_is_the_matrix(form: str) -> None:
    """Against `Matrix`: forward, adjoint, solve, pinv."""
    got, wanted = forms(MATRIX)[form](), Matrix(MATRIX)
    x, y = zoo.randn(3, 6, seed=71), zoo.randn(3, 4, seed=72)
    assert isinstance(got, LinearOperator)
    assert_same(got(x), wanted(x))
    assert_same(got.adjoint(y), wanted.adjoint(y))
    assert_same(got.solve(x, 0.3, 2.0), wanted.solve(x, 0.3, 2.0))
    assert_same(got.pinv(y), wanted.pinv(y), tol=1e-8)
    assert got.x_shape((4,)) == (6,)


@given(m=st.integers(1, 7), n=st.integers(1, 7), p=st.floats(0, 1), seed=st.integers(0, 99))
def test_sparse_shapes(m: int, n: int, p: float, seed: int) -> None:
    """Any pattern, with empty rows and columns and entries given twice, against the dense one."""
    dense = zoo.randn(m, n, seed=seed) * zoo.coin(m, n, p=p, seed=seed)
    rows, columns = dense.nonzero().T
    values = dense[rows, columns] / 2
    twice = [torch.cat([v, v.flip(0)]) for v in (rows, columns, values)]
    sparse = Sparse(*twice, (m, n))
    x, y = zoo.randn(2, n, seed=seed + 1), zoo.randn(2, m, seed=seed + 2)
    assert_same(sparse(x), x @ dense.mT)
    assert_same(sparse.adjoint(y), y @ dense)
    assert torch.equal(sparse.measured(y)[0], (dense != 0).any(1))


def test_too_large_to_decompose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "DENSE", 5)
    assert isinstance(from_matrix(MATRIX), Dense)
    assert isinstance(from_matrix(MATRIX[:, :5]), Matrix)


@given(h=st.integers(1, 7), w=st.integers(1, 7), c=st.integers(1, 3))
def test_any_size(h: int, w: int, c: int) -> None:
    """Where no shape is given, it is that of y, or of A^T y, or follows a rule."""
    same = operator(custom.slope, linear=True)
    assert same.x_shape((c, h, w)) == (c, h, w)
    by_adjoint = operator(custom.decimate, custom.stretch)
    assert by_adjoint.x_shape((c, h, w)) == (c, h, 2 * w)
    rule = operator(custom.decimate, linear=True, x_shape=lambda s: (*s[:2], 2 * s[2]))
    assert rule.x_shape((c, h, w)) == (c, h, 2 * w)
    x = zoo.randn(2, c, h, 2 * w)
    assert_same(rule.to(F64).adjoint(rule(x)), by_adjoint.adjoint(by_adjoint(x)))


def test_array_functions_keep_dtype_and_leave_x_alone() -> None:
    def spoil(a: Any) -> Any:
        out = 2 * a
        a[:] = 0
        return out

    doubled = operator(spoil, lambda a: 2.0 * a, x_shape=(3,), numpy=True)
    x = torch.ones(2, 3)
    assert doubled(x).dtype == torch.float32
    assert torch.equal(x, torch.ones(2, 3))
    assert torch.equal(doubled(x), 2 * x)
    assert doubled.adjoint(x.double()).dtype == F64


def test_differences_stand_in_for_a_jvp() -> None:
    """Where only the vjp of an array function is given, in float64 even for an x in float32."""
    arguments = {"vjp": custom.warp_back, "numpy": True, "x_shape": (1, 3, 5)}
    curve = operator(custom.warp, **arguments)
    exact = made("own-numpy-curve")
    x, v = zoo.randn(2, 1, 3, 5, seed=73), zoo.randn(2, 1, 3, 5, seed=74)
    wanted = exact.linearise(x).push(v)
    assert_same(curve.linearise(x).push(v), wanted, tol=1e-8)
    low = curve.linearise(x.float()).push(v.float())
    assert_same(low.double(), wanted, tol=1e-6)
    still = v * torch.tensor([0.0, 1.0], dtype=F64)[:, None, None, None]
    assert torch.equal(curve.linearise(x).push(still)[0], torch.zeros_like(wanted[0]))
    outer = zoo.SoftClip() @ curve  # asks autograd for the derivative of a gradient
    assert_same(outer.linearise(x).push(v), (zoo.SoftClip() @ exact).linearise(x).push(v), tol=1e-8)


def test_what_is_never_seen_is_not_measured() -> None:
    mask = zoo.coin(1, 4, 5, p=0.5)
    hidden = operator(lambda x: mask * x, example=torch.ones(2, 1, 4, 5, dtype=F64))
    y = zoo.randn(2, 1, 4, 5)
    assert torch.equal(hidden.measured(y), Mask(mask).measured(y))


def test_an_operator_stays_what_it_is() -> None:
    mask = Mask(torch.ones(3))
    assert operator(mask) is mask
    assert reddiff.operator is operator


def test_a_module_moves_with_its_operator() -> None:
    strided = operator(custom.Strided(), x_shape=(2, 5, 7))
    assert strided.to(torch.float32)(torch.ones(1, 2, 5, 7)).dtype == torch.float32
    linear = nn.Linear(3, 2, bias=False)
    assert operator(linear, x_shape=(3,))(torch.ones(1, 3)).requires_grad is False


def test_complex_buffers_stay_complex() -> None:
    class Phase(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turn", torch.exp(1j * torch.arange(5, dtype=F64)))

        def forward(self, x: Tensor) -> Tensor:
            return torch.view_as_real(
                x * self.turn.to(torch.complex128 if x.dtype == F64 else torch.complex64)
            ).flatten(1)

    phase = operator(Phase(), example=torch.ones(2, 5, dtype=F64))
    x = zoo.randn(2, 5)
    assert_same(phase.to(torch.float32)(x.float()).double(), phase(x), tol=1e-5)
    assert phase.parts[0].turn.dtype == torch.complex64


def test_a_run_on_array_code() -> None:
    """The default solver, on code that knows neither lanes nor tensors."""
    x = GaussianRandomField().sample(
        torch.empty(2, 1, 8, 8, dtype=F64), reddiff.Keys(0, (0, 1)).at(0)
    )
    example = torch.zeros(2, 1, 8, 8, dtype=F64)
    sums = operator(custom.sums, custom.sums_back, example=example, numpy=True)
    problem = Problem.simulate(x, sums, Gaussian(0.05))
    got = reddiff.solve(problem, GaussianRandomField(), NoiseAwareREDDiff.default(20, realism=0.0))
    wanted = GaussianRandomField().posterior(problem).mean
    assert float((got.x - wanted).norm() / wanted.norm()) < 0.05


# ------------------------------------------------------------------------------------ errors


def wrong(x: Tensor) -> Tensor:
    return x + torch.randn_like(x)


def write(x: Tensor) -> Tensor:
    return x.mul_(2.0)


class Forgetful(nn.Module):
    """A dropout, in training mode."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.dropout(x, 0.5, train=True)


OTHERS: list[tuple[Any, str]] = [
    (MATRIX, "from_matrix"),
    (MATRIX.numpy(), "from_matrix"),
    (scipy.sparse.csr_matrix(MATRIX.numpy()), "from_matrix"),
    (scipy.sparse.linalg.aslinearoperator(MATRIX.numpy()), "from_linear_operator"),
    (
        custom.FakePhysics(torch.ones(1, 1, 4, 5)),
        "from_deepinv (or reddiff.interop.deepinv.physics_operator)",
    ),
]

BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("nothing", lambda: operator(3), "forward: expected a function, got int"),
    *(
        (
            f"other-{type(value).__name__}",
            lambda value=value: operator(value),
            f"forward: expected a function (for this object, use reddiff.{name}",
        )
        for value, name in OTHERS
    ),
    (
        "no-matrix",
        lambda: from_matrix([[1.0]]),
        "a: expected a matrix from torch, NumPy or SciPy, got",
    ),
    (
        "no-vectors",
        lambda: from_linear_operator(MATRIX),
        "a: expected an operator with shape, matvec",
    ),
    ("no-shape", lambda: operator(torch.tanh), "linear: expected True or False, because"),
    (
        "fails",
        lambda: operator(lambda x: x @ MATRIX, x_shape=(9,)),
        "forward: expected a function of x (2, 9), torch.float32 on cpu, got RuntimeError",
    ),
    ("no-tensor", lambda: operator(lambda x: x.numpy(), x_shape=(3,)), "numpy=True"),
    (
        "complex",
        lambda: operator(torch.fft.fft, x_shape=(3,)),
        "two channels, real and imaginary), got torch.complex64",
    ),
    (
        "dtype",
        lambda: operator(lambda x: x.double(), x_shape=(3,)),
        "real values of torch.float32, as x",
    ),
    (
        "no-lanes",
        lambda: operator(lambda x: x.sum(0), x_shape=(3,)),
        "forward: expected shape (2, ...), lanes first, got (3,)",
    ),
    (
        "scalar",
        lambda: operator(lambda x: x.sum(1), x_shape=(3,)),
        "expected shape (2, ...), lanes first, got (2,)",
    ),
    ("random", lambda: operator(wrong, x_shape=(3,)), "the same A(x) at every call"),
    ("dropout", lambda: operator(Forgetful(), x_shape=(3,)), "the same A(x) at every call"),
    ("writes", lambda: operator(write, x_shape=(3,)), "does not modify x, got a modified x"),
    (
        "coupled",
        lambda: operator(lambda x: x - x.mean(), x_shape=(3,)),
        "got a lane that depends on others",
    ),
    (
        "coupled-at-zero",
        lambda: operator(lambda x: x - x.mean(), example=torch.zeros(1, 3)),
        "got a lane that depends on others",
    ),
    (
        "not-linear",
        lambda: operator(torch.tanh, x_shape=(3,), linear=True),
        "False, or a forward with A(c u + v) = c A(u) + A(v), got True, and a difference of",
    ),
    (
        "clip",
        lambda: operator(lambda x: x.clamp(-9, 9), x_shape=(3,), linear=True),
        "linear: expected False",
    ),
    (
        "affine",
        lambda: operator(lambda x: x + 1e-3, x_shape=(3,), linear=True),
        "linear: expected False",
    ),
    (
        "adjoint",
        lambda: operator(lambda x: x, lambda y: 2 * y, x_shape=(3,)),
        "adjoint: expected <A u, w> = <u, adjoint(w)>, got",
    ),
    (
        "adjoint-shape",
        lambda: operator(lambda x: x[:, :2], lambda y: y, x_shape=(3,)),
        "adjoint: expected shape (2, 3), as x, got (2, 2)",
    ),
    (
        "adjoint-later",
        lambda: operator(lambda x: x, lambda y: 2 * y).x_shape((3,)),
        "adjoint: expected <A u, w>",
    ),
    (
        "adjoint-curve",
        lambda: operator(torch.tanh, lambda y: y, x_shape=(3,)),
        "linear: expected a forward with A(c u + v) = c A(u) + A(v), because an adjoint is",
    ),
    (
        "vjp-linear",
        lambda: operator(lambda x: x, vjp=lambda x, w: w, x_shape=(3,)),
        "vjp: expected None, because A is linear",
    ),
    (
        "vjp",
        lambda: operator(torch.tanh, vjp=lambda x, w: w, x_shape=(3,)),
        "vjp: expected <J v, w> = <v, J^T w>, got",
    ),
    (
        "jvp-alone",
        lambda: operator(torch.tanh, jvp=lambda x, v: v, x_shape=(3,)),
        "vjp: expected a function, because jvp is given, got None",
    ),
    (
        "no-gradient",
        lambda: operator(lambda x: 2 * x.detach(), x_shape=(3,)),
        "adjoint: expected a function, because autograd cannot differentiate forward, got None",
    ),
    (
        "numpy-linear",
        lambda: operator(np.cumsum, x_shape=(3,), numpy=True),
        "adjoint: expected a function, because NumPy code has no gradient, got None",
    ),
    (
        "numpy-curve",
        lambda: operator(np.tanh, x_shape=(3,), numpy=True),
        "vjp: expected a function, because NumPy code has no gradient, got None",
    ),
    (
        "numpy-complex",
        lambda: operator(np.fft.fft, x_shape=(3,), numpy=True),
        "forward: expected an array of real numbers",
    ),
    (
        "shape-lost",
        lambda: operator(lambda x: x[:, ::2], linear=True).x_shape((3,)),
        "that computes it from that of y, got None, and forward maps (3,) to (2,)",
    ),
    (
        "rule",
        lambda: operator(custom.decimate, linear=True, x_shape=lambda s: s).x_shape((4,)),
        "y: expected shape (b, *(2,)), the shape of A(x) for x of shape (4,), got (b, *(4,))",
    ),
    (
        "y",
        lambda: operator(torch.tanh, x_shape=(3,)).x_shape((4,)),
        "y: expected shape (b, *(3,)), got (b, *(4,))",
    ),
    (
        "x_shape",
        lambda: operator(torch.tanh, x_shape=(3, 0)),
        "x_shape: expected positive integers, got (3, 0)",
    ),
    (
        "example",
        lambda: operator(torch.tanh, x_shape=(3,), example=torch.ones(2, 4)),
        "example: expected shape (b, *(3,)), got (2, 4)",
    ),
    (
        "lanes",
        lambda: operator(custom.drift, x_shape=(3,), lanes=(torch.ones(2), torch.ones(3))),
        "lanes: expected tensors (b, ...) of equal length, got [2, 3]",
    ),
    ("matrices", lambda: from_matrix(torch.ones(2, 3, 4)), "per_lane=True)), got (2, 3, 4)"),
    (
        "complex-matrix",
        lambda: from_matrix(MATRIX + 1j),
        "a: expected a matrix of real numbers, got torch.complex128",
    ),
    (
        "entries",
        lambda: from_matrix(MATRIX.to_sparse(), x_shape=(2, 2)),
        "x_shape: expected 6 entries, got (2, 2)",
    ),
    (
        "no-entries",
        lambda: from_matrix(scipy.sparse.coo_matrix((2, 3))),
        "values: expected at least one entry, got none",
    ),
    (
        "outside",
        lambda: Sparse(torch.tensor([2]), torch.tensor([0]), torch.ones(1), (2, 3)),
        "rows: expected numbers from 0 to 1",
    ),
    (
        "complex-scipy",
        lambda: from_linear_operator(scipy.sparse.linalg.aslinearoperator(1j * np.eye(3))),
        "a: expected a real operator",
    ),
    (
        "no-rmatvec",
        lambda: from_linear_operator(
            scipy.sparse.linalg.LinearOperator((2, 2), matvec=lambda v: v, dtype=float)
        ),
        "adjoint: expected a function of x (2, 2), torch.float64 on cpu, got NotImplementedError",
    ),
    (
        "operator",
        lambda: operator(Mask(torch.ones(3)), x_shape=(3,)),
        "x_shape: expected None, because forward is an Operator, got tuple",
    ),
]


@pytest.mark.parametrize(("make", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(make: Callable[[], Any], message: str, untyped: None) -> None:
    """Each error names what is wrong, what was expected and what came."""
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        make()


# ------------------------------------------------------------------------------------ pixels


@pytest.mark.parametrize("noise", [Gaussian(0.1), Gaussian(torch.tensor([0.1, 0.2])), Laplace(0.1)])
def test_from_pixels_keeps_a_linear_problem_linear(noise: Any) -> None:
    pixels = torch.rand(2, 1, 8, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    blur = CircularBlur(gaussian_psf(1.0, 2))
    operator_ = Mask(zoo.coin(2, 8, 8, p=0.5), per_lane=True) @ blur
    raw = Problem.simulate(pixels, operator_, noise)
    problem = from_pixels(raw.y, operator_, noise)
    assert problem.operator is operator_
    assert_same(problem.residual(2 * pixels - 1), 2 * raw.residual(pixels))
    assert_same(
        problem.standardised(operator_(2 * pixels - 1)), raw.standardised(operator_(pixels))
    )
    assert_same(to_pixels(2 * pixels - 1), pixels)


def test_from_pixels_composes_what_is_not() -> None:
    pixels = 0.1 + torch.rand(2, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    for operator_, noise in (
        (zoo.SoftClip(), Gaussian(0.1)),
        (Matrix(MATRIX.abs()), Poisson(50.0)),
    ):
        raw = Problem.simulate(pixels, operator_, noise)
        problem = from_pixels(raw.y, operator_, noise)
        assert not isinstance(problem.operator, LinearOperator)
        assert_same(problem.nll(2 * pixels - 1), raw.nll(pixels))
        assert problem.x_shape == (6,)
    unknown = from_pixels(raw.y, Matrix(MATRIX), UnknownGaussian())
    assert isinstance(unknown.operator, Matrix)
    assert isinstance(unknown.noise, UnknownGaussian)
    assert_same(FromPixels().initial_estimate(pixels), 2 * pixels - 1)

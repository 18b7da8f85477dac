"""Operators: adjoint, spectrum, pseudo-inverse, solve, gradient, select, of every operator."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, Problem, check
from reddiff.lanes import dot, norm
from reddiff.operators import (
    BlockMean,
    CircularBlur,
    LinearOperator,
    Mask,
    Matrix,
    Operator,
    SpectralOperator,
    gaussian_psf,
)
from reddiff.operators.base import Shape
from reddiff.operators.checks import Verdict
from reddiff.operators.linear import ClosedForm
from reddiff.solvers.steps.proximal import LEAST_SIGMA, proximal_map

LANES = 3


def linear(case: zoo.OperatorCase) -> bool:
    return issubclass(case.kind, LinearOperator)


def referenced(case: zoo.OperatorCase) -> bool:
    return callable(case.reference)


def spectral(case: zoo.OperatorCase) -> bool:
    return issubclass(case.kind, SpectralOperator)


def closed(case: zoo.OperatorCase) -> bool:
    return issubclass(case.kind, ClosedForm)


def make(case: zoo.OperatorCase, device: torch.device) -> tuple[LinearOperator, Tensor]:
    """The operator, typed as what the test asked for, and an x for it."""
    x = zoo.randn(LANES, *case.x_shape, seed=1).to(device)
    return cast(LinearOperator, case.make(LANES, device)), x


def dense(function: object, like: Tensor) -> Tensor:
    """A linear function of tensors as `like` as one matrix per lane, column by column."""
    assert callable(function)
    n = like[0].numel()
    eye = torch.eye(n, dtype=like.dtype, device=like.device).view(n, 1, *like.shape[1:])
    return torch.stack([function(e.expand_as(like)).flatten(1) for e in eye], 2)


def scale(a: Tensor) -> Tensor:
    """The size of each lane's matrix, `(b, 1, 1)`."""
    return a.flatten(1).norm(dim=1)[:, None, None]


@zoo.every("case", zoo.OPERATORS, referenced)
def test_reference(case: zoo.OperatorCase, device: torch.device) -> None:
    """A(x) is what NumPy, SciPy or Pillow make of x, or a matrix that was built another way."""
    operator, x = make(case, device)
    assert callable(case.reference)
    wanted = np.ascontiguousarray(case.reference(x.cpu().numpy(), case.make(LANES)))
    assert_same(operator(x).cpu(), torch.as_tensor(wanted), tol=case.near)


def test_every_operator_has_a_reference_or_says_why_not(measure: Callable[[str], None]) -> None:
    reasons = {c.name: c.reference for c in zoo.OPERATORS if isinstance(c.reference, str)}
    measure(f"{len(zoo.OPERATORS) - len(reasons)} of {len(zoo.OPERATORS)} have a reference")
    for name, reason in reasons.items():
        assert len(reason.split()) > 2, (
            f"{name}: expected a reference or a sentence, got {reason!r}"
        )
        measure(f"{name}: {reason}")


@zoo.every("case", zoo.OPERATORS, linear)
def test_adjoint(case: zoo.OperatorCase, device: torch.device) -> None:
    operator, x = make(case, device)
    a = operator(x)
    y = zoo.randn(*a.shape, seed=2).to(device)
    one, other = dot(a, y), dot(x, operator.adjoint(y))
    assert ((one - other).abs() <= 1e-12 * norm(a) * norm(y)).all()
    matrix = dense(operator, x)
    assert (matrix.mT - dense(operator.adjoint, y)).abs().max() < 1e-14
    torch.testing.assert_close(a.flatten(1), (matrix @ x.flatten(1)[..., None])[..., 0])


@zoo.every("case", zoo.OPERATORS, spectral)
def test_spectrum(case: zoo.OperatorCase, device: torch.device) -> None:
    """A = U diag(s) V^T, V orthonormal, U orthonormal where s > 0, s the singular values."""
    base, x = make(case, device)
    operator = cast(SpectralOperator, base)
    z = operator.vt(x)
    assert z.shape[0] == LANES
    assert z[0].numel() == x[0].numel()
    s = operator.spectrum(z).expand_as(z)
    assert (s >= 0).all()
    matrix = dense(operator, x)
    size = scale(matrix)
    assert_same(operator.v(z), x)
    assert_same(operator.vt(operator.v(x.view_as(z))), x.view_as(z))
    torch.testing.assert_close(norm(z), norm(x))
    a = operator(x)
    y = zoo.randn(*a.shape, seed=2).to(device)
    assert_same(operator.u(s * z), a)
    assert_same(operator.v(s * operator.ut(y)), operator.adjoint(y))
    hidden = s == 0
    loud, still = torch.where(hidden, 7.0, z), torch.where(hidden, 0.0, z)
    assert_same(operator.u(loud), operator.u(still))
    assert_same(torch.where(hidden, operator.ut(y), 0), torch.zeros_like(z))
    u, ut = dense(operator.u, z), dense(operator.ut, y)
    assert_same(ut, u.mT)
    assert_same(ut @ u, torch.diag_embed((~hidden).flatten(1).to(u)))
    wanted = torch.linalg.svdvals(matrix)
    got = s.flatten(1).sort(1, descending=True).values
    short = min(got.shape[1], wanted.shape[1])
    assert_same(got[:, :short] / size[..., 0], wanted[:, :short] / size[..., 0])
    assert (got[:, short:] == 0).all()


@zoo.every("case", zoo.OPERATORS, linear)
def test_pinv(case: zoo.OperatorCase, device: torch.device) -> None:
    """The four conditions of Moore and Penrose."""
    operator, x = make(case, device)
    a, p = dense(operator, x), dense(operator.pinv, operator(x))
    tol = 1e-7
    assert ((a @ p @ a - a).abs() <= tol * scale(a)).all()
    assert ((p @ a @ p - p).abs() <= tol * scale(p)).all()
    assert ((a @ p - (a @ p).mT).abs() <= tol).all()
    assert ((p @ a - (p @ a).mT).abs() <= tol).all()
    assert ((p - torch.linalg.pinv(a, rtol=1e-9)).abs() <= tol * scale(p)).all()


@pytest.mark.parametrize("per_lane", [False, True])
@zoo.every("case", zoo.OPERATORS, linear)
def test_solve(case: zoo.OperatorCase, per_lane: bool, device: torch.device) -> None:
    """(weight A^T A + lam I)^-1 b, for numbers and for numbers per lane."""
    operator, b = make(case, device)
    a = dense(operator, b)
    lam = torch.tensor([0.3, 1.7, 0.01], dtype=zoo.F64, device=device)
    gain = torch.tensor([1.0, 0.1, 40.0], dtype=zoo.F64, device=device)
    if not per_lane:
        lam, gain = torch.full_like(lam, 0.3), torch.full_like(gain, 1.7)
    eye = torch.eye(a.shape[2], dtype=zoo.F64, device=device)
    system = gain[:, None, None] * a.mT @ a + lam[:, None, None] * eye
    wanted = torch.linalg.solve(system, b.flatten(1)).view_as(b)
    got = operator.solve(b, lam, gain) if per_lane else operator.solve(b, 0.3, 1.7)
    assert_same(got, wanted)
    found = operator.solution(b, lam, gain, start=b, tol=1e-9)
    assert found.converged.all()
    assert_same(found.x, wanted, tol=1e-6)
    assert_same(operator.solve(b, lam, 0.0), b / lam.view(-1, *[1] * (b.ndim - 1)))


@zoo.every("case", zoo.OPERATORS, linear)
def test_ridge(case: zoo.OperatorCase, device: torch.device) -> None:
    """(weight A^T A + I)^-1 weight A^T y, for a number and for numbers per lane."""
    operator, x = make(case, device)
    a, y = dense(operator, x), operator(zoo.randn(*x.shape, seed=4).to(device))
    each = torch.tensor([1.0, 0.1, 40.0], dtype=zoo.F64, device=device)
    for gain in (each, 1.7):
        wanted = ridge(a, y, torch.as_tensor(gain, dtype=zoo.F64, device=device).expand(LANES))
        assert_same(operator.ridge(y, gain).x, wanted.view_as(x))
    assert not operator.ridge(y, 0.0).x.any()


@zoo.every("case", zoo.OPERATORS, closed)
def test_ridge_in_single_precision(case: zoo.OperatorCase, device: torch.device) -> None:
    """A closed form is as accurate as y is, for noise from 0.02 % of x to 10 times x and none.

    Rounding errors of r = y - A d are amplified like any noise: by sqrt(gain) / 2 at most.
    """
    operator = cast(LinearOperator, case.make(LANES, device, torch.float32))
    d, x = (zoo.randn(LANES, *case.x_shape, seed=i).float().to(device) for i in (3, 4))
    a, exact = dense(copy.deepcopy(operator).double(), d.double()), operator(x)
    noise = zoo.randn(*exact.shape, seed=5).to(exact)
    eps = torch.finfo(torch.float32).eps
    for sigma in (0.0, 0.001, 0.02, 0.1):
        y = torch.where(operator.measured(exact), exact + sigma * noise, 0)
        problem = Problem(y, operator, Gaussian(sigma))
        r = y.double() - (a @ d.double().flatten(1)[..., None]).view_as(y)
        r = torch.where(problem.measured, r, 0)
        for s in (0.01, 0.1, 1.0, 20.0):
            each = torch.full((LANES,), s, device=device)
            level = sigma or LEAST_SIGMA * s * operator.norm(d)  # what proximal takes 0 for
            gain = ((each / level) ** 2).double()
            wanted = ridge(a, r, gain)
            found = (operator.ridge(r.float(), gain.float()).x.double(),)
            if sigma:
                found = (*found, proximal_map(problem, d, each).x.double() - d.double())
            for got in found:
                size = gain.sqrt() / 2 * norm(r) + norm(wanted) + norm(d.double())
                assert (norm(got.flatten(1) - wanted) <= 40 * eps * size).all(), (sigma, s)


def ridge(a: Tensor, y: Tensor, gain: Tensor) -> Tensor:
    """The dense solution `(b, N)`."""
    eye = torch.eye(a.shape[2], dtype=a.dtype, device=a.device)
    system = gain[:, None, None] * a.mT @ a + eye
    return torch.linalg.solve(system, gain[:, None] * (a.mT @ y.flatten(1)[..., None])[..., 0])


@zoo.every("case", zoo.OPERATORS)
def test_gradient(case: zoo.OperatorCase, device: torch.device) -> None:
    """The vjp is autograd's, can be used again, and is not zero: a gradient sees y."""
    operator, x = make(case, device)
    a, pullback = operator.vjp(x)
    assert not a.requires_grad
    assert torch.equal(a, operator(x))
    leaf = x.clone().requires_grad_()
    out = operator(leaf)
    for seed in (3, 4):
        v = zoo.randn(*a.shape, seed=seed).to(device)
        (wanted,) = torch.autograd.grad(out, leaf, v, retain_graph=True)
        assert_same(pullback(v), wanted)
    residual = torch.where(operator.measured(a), a - a.mean() - 0.1, 0)
    assert (norm(pullback(residual)) > 0).all()


@zoo.every("case", zoo.OPERATORS)
def test_jvp(case: zoo.OperatorCase, device: torch.device) -> None:
    """<J v, w> = <v, J^T w>, J v is the change of A along v, and J can be used again.

    The derivative of a straight-through operator is that of another, so the second is not asked.
    """
    operator, x = make(case, device)
    near = operator.linearise(x)
    a, push = near.a, near.push
    assert not a.requires_grad
    assert torch.equal(a, operator(x))
    pull = operator.vjp(x)[1]
    for seed in (3, 4):
        v = zoo.randn(*x.shape, seed=seed).to(device)
        w = zoo.randn(*a.shape, seed=seed + 2).to(device)
        moved = push(v)
        assert not moved.requires_grad
        one, other = dot(moved, w), dot(v, pull(w))
        assert ((one - other).abs() <= 1e-12 * norm(moved) * norm(w)).all()
        h = 1e-6
        if case.smooth:
            assert_same(moved, (operator(x + h * v) - operator(x - h * v)) / (2 * h), tol=1e-8)
        assert (norm(moved) > 0).all()
        assert_same(near.push(v), moved)
        assert_same(near.pull(w), pull(w))


@zoo.every("case", zoo.OPERATORS)
def test_is_a_function(case: zoo.OperatorCase, device: torch.device) -> None:
    """The same x gives the same A(x), whatever came between; another x another."""
    operator, x = make(case, device)
    first = operator(x).clone()
    other = operator(2 * x + 1)
    assert torch.equal(operator(x), first)
    assert torch.equal(case.make(LANES, device)(x), first)
    assert ((other - first).flatten(1).abs().amax(1) > 0).all()


@zoo.every("case", zoo.OPERATORS)
def test_select(case: zoo.OperatorCase, device: torch.device) -> None:
    """Some lanes, in any order, repeated, and again."""
    operator, x = make(case, device)
    assert operator.lanes in (None, LANES)
    a = operator(x)
    index = torch.tensor([2, 0, 2, 1], device=device)
    chosen = operator.select(index)
    assert chosen.lanes in (None, len(index))
    assert (chosen.lanes is None) == (operator.lanes is None)
    assert_same(chosen(x[index]), a[index])
    assert_same(chosen.initial_estimate(a[index]), operator.initial_estimate(a)[index], tol=1e-8)
    assert torch.equal(chosen.measured(a[index]), operator.measured(a)[index])
    again = torch.tensor([3], device=device)
    assert_same(chosen.select(again)(x[index][again]), a[index][again])
    if isinstance(chosen, LinearOperator):
        assert_same(chosen.adjoint(a[index]), operator.adjoint(a)[index])


@zoo.every("case", zoo.OPERATORS)
def test_shapes_and_measured(case: zoo.OperatorCase, device: torch.device) -> None:
    """x_shape is the way back; what is not measured changes nothing, and the guess is finite."""
    operator, x = make(case, device)
    a = operator(x)
    assert tuple(operator.x_shape(tuple(a.shape[1:]))) == case.x_shape
    measured = operator.measured(a)
    assert measured.shape == a.shape
    assert measured.flatten(1).any(1).all()
    y = zoo.randn(*a.shape, seed=5).to(device)
    wild = torch.where(measured, y, 7.0)
    assert_same(operator.initial_estimate(wild), operator.initial_estimate(y))
    assert tuple(operator.initial_estimate(y).shape) == tuple(x.shape)
    for huge in (1e30 * y, torch.zeros_like(y)):
        assert torch.isfinite(operator.initial_estimate(huge)).all()
    if isinstance(operator, LinearOperator):
        assert_same(operator.adjoint(wild), operator.adjoint(y))
        assert_same(operator.pinv(wild), operator.pinv(y))
    assert not torch.where(measured, 0, a).any() or not isinstance(operator, LinearOperator)


@zoo.every("case", zoo.OPERATORS, linear)
def test_norm(case: zoo.OperatorCase, device: torch.device) -> None:
    operator, x = make(case, device)
    top = torch.linalg.svdvals(dense(operator, x))[:, 0]
    ratio = operator.norm(x, iterations=100) / top
    assert ratio.max() < 1 + 1e-10
    assert ratio.min() > 0.99


@zoo.every("case", zoo.OPERATORS)
def test_dtype(case: zoo.OperatorCase, device: torch.device) -> None:
    """In float32 all is as in float64, up to rounding."""
    operator, x = make(case, device)
    low = cast(LinearOperator, case.make(LANES, device, torch.float32))
    a = operator(x)
    got = low(x.float())
    assert got.dtype == torch.float32
    assert_same(got.double(), a, tol=1e-5)
    assert low.initial_estimate(got).dtype == torch.float32
    if isinstance(low, LinearOperator):
        assert_same(low.adjoint(got).double(), operator.adjoint(a), tol=1e-5)
        assert_same(low.solve(x.float(), 0.3).double(), operator.solve(x, 0.3), tol=1e-4)


def check_shape(operator: SpectralOperator, x_shape: Shape, device: torch.device) -> None:
    """The laws in short, for the shapes hypothesis comes up with."""
    operator = operator.to(device)
    x = zoo.randn(2, *x_shape, seed=6).to(device)
    a = operator(x)
    y = zoo.randn(*a.shape, seed=7).to(device)
    assert tuple(operator.x_shape(tuple(a.shape[1:]))) == tuple(x_shape)
    torch.testing.assert_close(dot(a, y), dot(x, operator.adjoint(y)))
    z = operator.vt(x)
    assert_same(operator.v(z), x)
    assert_same(operator.u(operator.spectrum(z) * z), a)
    back = 2.0 * operator.adjoint(operator(x)) + 0.5 * x
    assert_same(operator.solve(back, 0.5, 2.0), x)
    assert_same(operator(operator.pinv(a)), a, tol=1e-6)


@given(c=st.integers(1, 3), h=st.integers(1, 9), w=st.integers(1, 9), seed=st.integers(0, 99))
def test_mask_shapes(c: int, h: int, w: int, seed: int, device: torch.device) -> None:
    check_shape(Mask(zoo.coin(2, h, w, p=0.5, seed=seed), per_lane=True), (c, h, w), device)
    check_shape(Mask(zoo.coin(1, h, w, p=0.5, seed=seed)[0]), (c, h, w), device)


@given(c=st.integers(1, 3), h=st.integers(1, 4), w=st.integers(1, 4), f=st.integers(1, 5))
def test_blockmean_shapes(c: int, h: int, w: int, f: int, device: torch.device) -> None:
    check_shape(BlockMean(f), (c, h * f, w * f), device)


@given(
    c=st.integers(1, 3),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_blur_shapes(
    c: int, h: int, w: int, data: st.DataObject, seed: int, device: torch.device
) -> None:
    kh = 2 * data.draw(st.integers(0, (h - 1) // 2)) + 1
    kw = 2 * data.draw(st.integers(0, (w - 1) // 2)) + 1
    psf = zoo.randn(2, kh, kw, seed=seed)
    psf[:, kh // 2, kw // 2] += 3 * kh * kw  # far from zeros of the transfer function
    check_shape(CircularBlur(psf, per_lane=True), (c, h, w), device)
    check_shape(CircularBlur(psf[0]), (c, h, w), device)


@given(m=st.integers(1, 7), n=st.integers(1, 7), seed=st.integers(0, 99))
def test_matrix_shapes(m: int, n: int, seed: int, device: torch.device) -> None:
    check_shape(Matrix(zoo.randn(m, n, seed=seed)), (n,), device)
    check_shape(Matrix(zoo.randn(2, m, n, seed=seed), per_lane=True), (n,), device)


@pytest.mark.parametrize("size", [(7, 9), (8, 6), (5, 5)])
def test_blur_is_convolution(size: tuple[int, int], device: torch.device) -> None:
    """Against a convolution by loops: no tap lost, centerd, every channel alike; DC gain 1."""
    psf = zoo.randn(3, 5, seed=8)
    x = zoo.randn(2, 3, *size, seed=9)
    got = CircularBlur(psf).to(device)(x.to(device)).cpu().numpy()
    for lane in range(2):
        for channel in range(3):
            plane = x[lane, channel].numpy()
            wanted = scipy.ndimage.convolve(plane, psf.numpy(), mode="wrap")
            np.testing.assert_allclose(got[lane, channel], wanted, atol=1e-12)
    flat = torch.full((1, 1, *size), 0.7, dtype=zoo.F64, device=device)
    for sigma in (0.3, 10.0):
        assert_same(CircularBlur(gaussian_psf(sigma, 2)).to(device)(flat), flat)


def test_the_others_are_what_they_say(device: torch.device) -> None:
    """Against plain tensor code."""
    x = zoo.randn(2, 3, 6, 8, seed=10).to(device)
    means = x.view(2, 3, 3, 2, 4, 2).mean((3, 5))
    assert_same(BlockMean(2).to(device)(x), means)
    mask = zoo.coin(2, 6, 8, p=0.5).to(device)
    assert_same(Mask(mask, per_lane=True)(x), x * mask[:, None])
    a = zoo.randn(5, math.prod(x.shape[1:])).to(device)
    assert_same(Matrix(a, shape=tuple(x.shape[1:]))(x), x.flatten(1) @ a.mT)
    chain: Operator = Matrix(a[:, :12], shape=(1, 3, 4)) @ BlockMean(2).to(device)
    assert isinstance(chain, LinearOperator)
    assert_same(chain(x[:, :1]), means[:, :1].flatten(1) @ a[:, :12].mT)
    assert not isinstance(zoo.SoftClip() @ chain, LinearOperator)


class Cube(torch.autograd.Function):
    """x^3 with a backward pass and no forward-mode derivative, as custom functions often have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class Pointwise(Operator):
    """Any function of one entry."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape


def test_jvp_needs_no_forward_mode_derivative() -> None:
    x, v = zoo.randn(2, 5, seed=1), zoo.randn(2, 5, seed=2)
    near = Pointwise(Cube.apply).linearise(x)
    assert_same(near.a, x**3)
    assert_same(near.push(v), 3 * x**2 * v)
    with torch.no_grad():
        assert_same(Pointwise(Cube.apply).linearise(x).push(v), 3 * x**2 * v)


def test_jvp_of_a_flat_operator_is_zero() -> None:
    x = zoo.randn(2, 5, seed=1)
    assert torch.equal(Pointwise(torch.round).linearise(x).push(x), torch.zeros_like(x))


@zoo.every("case", zoo.OPERATORS)
def test_check(case: zoo.OperatorCase, device: torch.device) -> None:
    """`reddiff.check` finds nothing wrong with any of them, in either precision."""
    for dtype in (torch.float64, torch.float32):
        operator = case.make(LANES, device, dtype)
        report = check(operator, x=0.5 * zoo.randn(LANES, *case.x_shape, seed=1).to(device, dtype))
        assert report, str(report)
        declared = isinstance(operator, LinearOperator)
        (linearity,) = (c for c in report.checks if c.name == "linearity")
        assert linearity.verdict is (Verdict.OK if declared else Verdict.SKIPPED)

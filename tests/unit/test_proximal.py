"""The data step against dense references: exact for linear A, stationary otherwise."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, Problem
from reddiff.errors import InvalidArgument
from reddiff.noise import Noise, Poisson
from reddiff.operators import LinearOperator, Mask, Matrix, Operator
from reddiff.operators.composition import LinearCompose
from reddiff.solvers.steps.proximal import proximal_map

pytestmark = pytest.mark.usefixtures("untyped")

LANES = 3
S = torch.tensor([0.3, 0.05, 1.1], dtype=zoo.F64)
SIGMA = torch.tensor([0.1, 0.4, 0.02], dtype=zoo.F64)
TIGHT = {"tol": 1e-11, "iterations": 1000, "steps": 100}
CASES = {case.name: case for case in zoo.OPERATORS}
LINEAR = ["mask-per-lane", "blur-per-lane", "matrix-per-lane", "sr-blur", "mask-blur-per-lane"]


class Magnitude(Operator):
    """Phase retrieval: the magnitudes of the oversampled Fourier transform."""

    def forward(self, x: Tensor) -> Tensor:
        """|F x|, with x padded to twice its size."""
        h, w = x.shape[-2:]
        return torch.fft.fft2(x, s=(2 * h, 2 * w), norm="ortho").abs()

    def x_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Half the size of y."""
        return (*y_shape[:-2], y_shape[-2] // 2, y_shape[-1] // 2)


def dense(operator: Operator, x: Tensor) -> Tensor:
    """A linear operator as one matrix per lane."""
    n = x[0].numel()
    eye = torch.eye(n, dtype=x.dtype).view(n, 1, *x.shape[1:])
    return torch.stack([operator(e.expand_as(x)).flatten(1) for e in eye], 2)


def linear_problem(name: str, noise: Noise, seed: int = 0) -> tuple[Problem, Tensor]:
    case = CASES[name]
    operator = case.make(LANES)
    a = operator(zoo.randn(LANES, *case.x_shape, seed=seed))
    y = a + 0.1 * zoo.randn(*a.shape, seed=seed + 1)
    return Problem(y, operator, noise), zoo.randn(LANES, *case.x_shape, seed=seed + 2)


def objective(problem: Problem, d: Tensor, s: Tensor, x: Tensor) -> Tensor:
    return problem.nll(x) + ((x - d) ** 2).flatten(1).sum(1) / (2 * s**2)


def balance(problem: Problem, d: Tensor, s: Tensor, x: Tensor) -> Tensor:
    """The gradient over the sum of the sizes of its two parts."""
    data, prior = problem.grad(x).flatten(1), ((x - d) / s.view(-1, *[1] * (x.ndim - 1))).flatten(1)
    prior = prior / s[:, None]
    return (data + prior).norm(dim=1) / (data.norm(dim=1) + prior.norm(dim=1))


@pytest.mark.parametrize("sigma", [0.07, SIGMA], ids=["shared", "per-lane"])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_gaussian_is_the_dense_solution(name: str, sigma: float | Tensor) -> None:
    problem, d = linear_problem(name, Gaussian(sigma))
    a = dense(problem.operator, d)
    level = torch.as_tensor(sigma, dtype=zoo.F64).expand(LANES)
    gain = ((S / level) ** 2)[:, None, None]
    system = gain * a.mT @ a + torch.eye(a.shape[2], dtype=zoo.F64)
    right = gain[..., 0] * (a.mT @ problem.residual(d).flatten(1)[..., None])[..., 0]
    wanted = d + torch.linalg.solve(system, right).view_as(d)
    for start in (None, zoo.randn(*d.shape, seed=9)):
        got = proximal_map(problem, d, S, start=start, tol=1e-13, iterations=2000)
        assert_same(got.x, wanted, tol=1e-9)
    other = Problem(problem.y, problem.operator, Gaussian(5.0))
    assert_same(
        proximal_map(other, d, S, sigma_y=sigma, tol=1e-13, iterations=2000).x, wanted, 1e-9
    )
    assert proximal_map(problem, d, S, tol=1e-9, iterations=2000).converged.all()


def test_without_noise_it_is_the_nearest_x_that_explains_y() -> None:
    """With sigma = 0 in one lane only; the scale of A does not matter."""
    problem, d = linear_problem("mask-sr", Gaussian(torch.tensor([0.0, 0.2, 0.0]).double()))
    matrix = Matrix(1e-5 * zoo.randn(4, 6))
    y = matrix(zoo.randn(LANES, 6, seed=1))
    scaled, e = Problem(y, matrix, Gaussian(0.0)), zoo.randn(LANES, 6, seed=2)
    for p, center, noiseless in ((problem, d, [0, 2]), (scaled, e, [0, 1, 2])):
        operator = cast(LinearOperator, p.operator)
        wanted = center + operator.pinv(p.residual(center))
        got = proximal_map(p, center, S, tol=1e-12, iterations=2000).x
        assert_same(got[noiseless], wanted[noiseless], tol=3e-5)
    one = problem.select(torch.tensor([1]))
    assert_same(proximal_map(problem, d, S).x[1:2], proximal_map(one, d[1:2], S[1:2]).x)


def test_without_freedom_or_without_sight_x_is_d() -> None:
    """s = 0 holds x at d; so does a lane in which A x explains y already."""
    problem, d = linear_problem("sr-blur", Gaussian(0.0))
    assert torch.equal(proximal_map(problem, d, 0 * S).x, d)
    noisy = Problem(problem.y, problem.operator, Gaussian(0.1))
    assert torch.equal(proximal_map(noisy, d, 0 * S).x, d)
    exact = Problem(problem.operator(d), problem.operator, Gaussian(0.1))
    got = proximal_map(exact, d, S)
    assert_same(got.x, d)
    assert got.converged.all()
    counts = Problem(problem.y.abs(), problem.operator, Poisson(3.0))
    assert torch.equal(proximal_map(counts, d, 0 * S).x, d)


def poisson_problem(counts: float = 30.0) -> tuple[Problem, Tensor]:
    """Positive a = A x at the answer, but not at d in every lane."""
    operator = Matrix(zoo.randn(LANES, 9, 6, seed=3).abs(), per_lane=True)
    x = zoo.randn(LANES, 6, seed=4).abs() + 0.2
    y = (counts * operator(x)).round() / counts
    d = x + 0.2 * zoo.randn(LANES, 6, seed=5)
    d[2] = -x[2]
    return Problem(y, operator, Poisson(counts)), d


def test_linear_poisson_is_the_dense_newton_solution() -> None:
    problem, d = poisson_problem()
    a, gain = cast(Matrix, problem.operator).a, cast(Poisson, problem.noise).gain
    x = torch.linalg.pinv(a) @ problem.y[..., None]
    start = d[..., None]
    for _ in range(50):  # Newton with the second derivative itself, from close by
        rate = a @ x
        slope = (
            a.mT @ (gain * (1 - problem.y[..., None] / rate)) + (x - start) / S[:, None, None] ** 2
        )
        second = a.mT @ (gain * problem.y[..., None] / rate**2 * a)
        x = x - torch.linalg.solve(second + torch.eye(6) / S[:, None, None] ** 2, slope)
        assert (a @ x > 0).all()
    got = proximal_map(problem, d, S, **(TIGHT | {"tol": 1e-6}))
    assert_same(got.x, x[..., 0], tol=1e-6)
    assert got.converged.all()


NONLINEAR = [
    ("softclip", zoo.SoftClip(), Gaussian(SIGMA), (1, 3, 4)),
    ("mask-softclip-blur", CASES["mask-softclip-blur"].make(LANES), Gaussian(0.05), (1, 4, 5)),
    ("magnitude", Magnitude(), Gaussian(0.1), (1, 4, 5)),
    ("magnitude-poisson", Magnitude(), Poisson(50.0), (1, 4, 5)),
    ("blur-poisson", CASES["blur-even"].make(LANES), Poisson(40.0), (1, 8, 6)),
]


def nonlinear(operator: Operator, noise: Noise, shape: tuple[int, ...]) -> tuple[Problem, Tensor]:
    x = zoo.randn(LANES, *shape, seed=6).abs()
    y = (operator(x) + 0.02 * zoo.randn(*operator(x).shape, seed=7)).clamp(min=0.05)
    return Problem(y, operator, noise), x + 0.3 * zoo.randn(*x.shape, seed=8)


@pytest.mark.parametrize("case", NONLINEAR, ids=lambda case: case[0])
def test_descends_to_a_stationary_point(
    case: tuple[str, Operator, Noise, tuple[int, ...]],
) -> None:
    """The objective never rises from step to step, from any start; a flag means what it says."""
    _, operator, noise, shape = case
    problem, d = nonlinear(operator, noise, shape)
    for start in (d, 3 * zoo.randn(*d.shape, seed=10)):
        last = objective(problem, d, S, start)
        for steps in (1, 2, 3, 8):
            got = proximal_map(problem, d, S, start=start, steps=steps)
            now = objective(problem, d, S, got.x)
            assert (now <= last + 1e-12 * last.abs()).all()
            last = now
    assert (proximal_map(problem, d, S, steps=0).x == d).all()
    end = proximal_map(problem, d, S, **(TIGHT | {"tol": 1e-6}))
    assert end.converged.all()
    assert (balance(problem, d, S, end.x) < 1e-4).all()


def test_a_single_step_on_a_quadratic_is_enough() -> None:
    """Hidden from `proximal` that it is linear, A takes the other way to the same answer."""

    class Hidden(Operator):
        def __init__(self, inner: Operator) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

        def x_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
            return self.inner.x_shape(y_shape)

    plain, d = linear_problem("sr-blur", Gaussian(torch.tensor([0.1, 0.0, 0.02]).double()))
    hidden = Problem(plain.y, Hidden(plain.operator), plain.noise)
    wanted = proximal_map(plain, d, S, tol=1e-13, iterations=1000).x
    assert_same(proximal_map(hidden, d, S, **(TIGHT | {"steps": 20})).x, wanted, tol=1e-7)
    assert_same(proximal_map(hidden, d, S, steps=2).x, wanted, tol=3e-3)


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "softclip"])
def test_lanes_are_independent(kind: str) -> None:
    if kind == "gaussian":
        problem, d = linear_problem("mask-blur-per-lane", Gaussian(SIGMA))
    elif kind == "poisson":
        problem, d = poisson_problem()
    else:
        problem, d = nonlinear(zoo.SoftClip(), Gaussian(SIGMA), (1, 3, 4))
    start = d + 0.1 * zoo.randn(*d.shape, seed=11)
    together = proximal_map(problem, d, S, start=start, iterations=7)
    for i in range(LANES):
        pick = torch.tensor([i])
        alone = proximal_map(
            problem.select(pick), d[pick], S[pick], start=start[pick], iterations=7
        )
        assert_same(together.x[pick], alone.x, tol=1e-9)
        assert together.converged[pick] == alone.converged


def test_flags_are_honest() -> None:
    """Two iterations are not enough for an ill-conditioned system, and are for an easy one."""
    hard = Matrix(torch.diag(torch.logspace(0, -3, 6, dtype=zoo.F64)))
    mix = Matrix(torch.linalg.qr(zoo.randn(6, 6)).Q)
    composed = LinearCompose(LinearCompose(mix, hard), mix)
    d = zoo.randn(2, 6, seed=12)
    problem = Problem(composed(zoo.randn(2, 6, seed=13)), composed, Gaussian(1e-3))
    levels = torch.tensor([1.0, 1e-6], dtype=zoo.F64)
    assert proximal_map(problem, d, levels, iterations=2).converged.tolist() == [False, True]
    assert proximal_map(problem, d, levels, iterations=500).converged.tolist() == [True, True]
    fine = proximal_map(problem, d, levels, tol=1e-10, iterations=500)
    again = proximal_map(problem, d, levels, start=fine.x, iterations=0)
    assert again.converged.all()
    counts, e = poisson_problem()
    assert not proximal_map(counts, e, S, steps=1, tol=1e-8).converged.any()


def test_a_warm_start_saves_iterations() -> None:
    """From the answer to a center close by, fewer iterations reach the same precision."""
    problem, d = linear_problem("sr-blur", Gaussian(0.01))
    before = proximal_map(problem, d, S, tol=1e-10, iterations=500).x
    moved = d + 1e-4 * zoo.randn(*d.shape, seed=14)
    wanted = proximal_map(problem, moved, S, tol=1e-12, iterations=500).x
    cold, warm = (proximal_map(problem, moved, S, start=x, iterations=3).x for x in (None, before))
    assert (warm - wanted).norm() < 0.1 * (cold - wanted).norm()


def test_rates_below_zero_find_their_way_back_at_once() -> None:
    """From a = -1, which is no mean of counts, each entry goes to its y in one step."""
    y = torch.tensor([[0.5, 2.0, 0.0, 1.0]], dtype=zoo.F64)
    problem = Problem(y, Mask(torch.ones(1, dtype=zoo.F64)), Poisson(20.0))
    d = -torch.ones_like(y)
    got = proximal_map(problem, d, torch.tensor([100.0]).double(), steps=1).x
    assert_same(got[y > 0], y[y > 0], tol=1e-4)
    assert got[0, 2] == -1  # nothing pulls it: below zero, no count is as likely as can be


def test_unseen_entries_stay_at_d_and_float32_stays_float32() -> None:
    problem, d = linear_problem("mask-per-lane", Gaussian(0.1))
    unseen = ~problem.measured
    for noise in (Gaussian(0.1), Gaussian(0.0), Poisson(10.0)):
        p = Problem(problem.y.abs().float(), cast(Operator, problem.operator).float(), noise)
        got = proximal_map(p, d.float(), S)
        assert got.x.dtype == torch.float32
        assert torch.equal(got.x[unseen], d.float()[unseen])
        assert torch.isfinite(got.x).all()


@pytest.mark.slow
def test_no_lane_gets_stuck_where_dark_entries_have_a_kink() -> None:
    """With no counts in most entries, ever more steps get to one and the same objective."""
    problem, d = linear_problem("blur-even", Gaussian(1.0))
    counts = (4 * problem.y - 2).clamp(min=0).round()
    dark = Problem(counts / 4, problem.operator, Poisson(4.0, floor=0.01 / 4))
    ends = [
        objective(dark, d, S, proximal_map(dark, d, S, start=start, steps=60).x)
        for start in (d, torch.ones_like(d), -torch.ones_like(d))
    ]
    assert (torch.stack(ends).std(0) < 0.02).all()


def test_bad_input() -> None:
    problem, d = poisson_problem()
    with pytest.raises(InvalidArgument, match=r"s: expected one level per lane, shape \(3,\)"):
        proximal_map(problem, d, S[:2])
    with pytest.raises(InvalidArgument, match=r"start: expected shape \(3, 6\), as d, got"):
        proximal_map(problem, d, S, start=d[:, :5])
    with pytest.raises(InvalidArgument, match=r"sigma_y: expected none, unless .*, got Poisson"):
        proximal_map(problem, d, S, sigma_y=0.1)

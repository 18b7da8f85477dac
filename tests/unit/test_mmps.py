"""MMPS: the guided denoiser in closed form, its conjugate gradients, and its draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.operators import BlockMean, CircularBlur, Mask, Matrix, Operator, gaussian_psf
from reddiff.priors import GaussianPrior, GaussianRandomField, Prior
from reddiff.priors.gaussian_posterior import dense_matrix
from reddiff.schedules import karras, vp
from reddiff.solvers import MMPS
from reddiff.solvers.base_sampler import Diffused
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

LEVELS = torch.tensor([0.03, 0.4, 1.7, 20.0], dtype=zoo.F64)


def moments(problem: Problem, prior: Prior) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the exact posterior, `(b, N)` and `(b, N, N)`."""
    assert isinstance(prior, GaussianPrior | GaussianRandomField)
    exact = prior.posterior(problem)
    n = exact.mean[0].numel()
    shape = exact.mean.shape
    eye = torch.eye(n, dtype=exact.mean.dtype, device=exact.mean.device).view(n, *shape[1:])
    columns = [exact.covariance(e.expand(shape)).flatten(1) for e in eye]
    return exact.mean.flatten(1), torch.stack(columns, 2)


def posterior_denoiser(problem: Problem, prior: Prior, x: Tensor, s: Tensor) -> Tensor:
    """E[x_0 | x_0 + s n = x, y], from the moments of the posterior."""
    mean, cov = moments(problem, prior)
    eye = torch.eye(mean.shape[1], dtype=x.dtype, device=x.device)
    gap = torch.linalg.solve(cov + s[:, None, None] ** 2 * eye, x.flatten(1) - mean)
    return (mean + torch.einsum("bij,bj->bi", cov, gap)).view_as(x)


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (Matrix(zoo.randn(4, 5, 6, seed=41), per_lane=True), (6,)),
        (Mask(zoo.coin(1, 6, p=0.5)[0]), (6,)),
        (BlockMean(2), (1, 4, 6)),
        (CircularBlur(gaussian_psf(0.6, 1)), (1, 4, 5)),
        (Mask(zoo.coin(1, 4, 5, p=0.5)[0]) @ CircularBlur(gaussian_psf(0.6, 1)), (1, 4, 5)),
    ],
)
def test_exact(operator: Operator, shape: tuple[int, ...], device: torch.device) -> None:
    """Enough conjugate gradients on a Gaussian prior: the posterior's own denoiser."""
    prior = (zoo.gaussian() if len(shape) == 1 else GaussianRandomField()).to(device)
    x_0 = zoo.randn(4, *shape).to(device)
    sigma = torch.tensor([0.1, 0.3, 0.03, 0.6], dtype=zoo.F64, device=device)
    problem = Problem.simulate(x_0, operator.to(device=device, dtype=zoo.F64), Gaussian(sigma))
    s = LEVELS.to(device)
    x = x_0 + s.view(-1, *[1] * len(shape)) * zoo.randn(4, *shape, seed=1).to(device)
    got = MMPS(karras(3), iterations=60).guided(problem, prior, x, s)
    assert_same(got, posterior_denoiser(problem, prior, x, s), tol=1e-8)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_transcription(iterations: int) -> None:
    """A textbook's conjugate gradients, and the step in the variables of the paper (VE)."""
    problem, prior = zoo.solver_problem()
    assert isinstance(prior, GaussianPrior)
    assert isinstance(problem.noise, Gaussian)
    cov, eye = (prior.q * prior.c) @ prior.q.mT, torch.eye(6, dtype=zoo.F64)
    schedule, keys = karras(4), Keys(2, (0, 1, 2, 3))
    x = zoo.randn(4, 6, seed=1)
    s, s_next = (float(schedule.levels[k]) for k in (1, 2))
    solver = MMPS(schedule, iterations, eta=1.0)
    k = torch.full((4,), 1)
    got = solver.step(Diffused(x, torch.zeros_like(x)), problem, prior, k, keys.at(1))
    z = keys.at(1).randn_like(x)
    jacobian = cov @ torch.linalg.inv(cov + s**2 * eye)
    for i, a in enumerate(dense_matrix(problem)):
        x_0 = prior.mean + jacobian @ (x[i] - prior.mean)
        sigma = torch.as_tensor(problem.noise.sigma)[i]
        system = sigma**2 * torch.eye(5, dtype=zoo.F64) + s**2 * a @ jacobian @ a.mT
        v, r = torch.zeros(5, dtype=zoo.F64), problem.y[i] - a @ x_0
        p = r
        for _ in range(iterations):
            step = (r @ r) / (p @ system @ p)
            v, new = v + step * p, r - step * system @ p
            p, r = new + (new @ new) / (r @ r) * p, new
        x_0 = x_0 + s**2 * jacobian.mT @ a.mT @ v
        tau = 1 - s_next**2 / s**2
        wanted = x[i] - tau * (x[i] - x_0) + s_next * math.sqrt(tau) * z[i]
        assert_same(got.x_0[i], x_0, tol=1e-8)
        assert_same(got.x[i], wanted, tol=1e-8)


@pytest.mark.slow
def test_moments(measure: Callable[[str], None]) -> None:
    """Draws on a Gaussian prior, with 100 steps: mean within 5 %, covariance within 10 %."""
    problem, prior = zoo.solver_problem()
    draws, lane = 4000, 0
    many = problem.select(torch.full((draws,), lane))
    x = solve(many, prior, MMPS(karras(100)), ids=tuple(range(draws))).x
    mean, cov = (m[lane] for m in moments(problem, prior))
    off = (x.mean(0) - mean).norm() / cov.trace().sqrt()
    spread = (x.mT.cov() - cov).norm() / cov.norm()
    measure(f"MMPS, 100 steps, Gaussian prior: mean {off:.3f}, covariance {spread:.3f}")
    assert off < 0.05
    assert spread < 0.1


class Flat(zoo.SoftClip):
    """Says nothing of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros."""
        return 0 * x


def test_noiseless() -> None:
    """sigma = 0 in some lanes: they agree with y, and the others are as they are alone."""
    problem, prior = zoo.solver_problem()
    sigma = torch.tensor([0.0, 0.2, 0.0, 0.3], dtype=zoo.F64)
    x = zoo.randn(4, 6, seed=2)
    problem = Problem.simulate(x, problem.operator, Gaussian(sigma))
    solver = MMPS(karras(60), iterations=8)
    got = solve(problem, prior, solver).x
    off = problem.residual(got).norm(dim=1) / problem.y.norm(dim=1)
    assert off[[0, 2]].max() < 1e-2
    noisy = torch.tensor([1, 3])
    assert_same(solve(problem.select(noisy), prior, solver, ids=(1, 3)).x, got[noisy])
    silent = Problem(torch.ones(1, 6, dtype=zoo.F64), Flat(), Gaussian(0.0))
    s = LEVELS[1:2]
    assert_same(solver.guided(silent, prior, x[:1], s), prior(x[:1], s))


def test_unmeasured() -> None:
    """Entries of y that nobody measured may hold anything, for any A that says so."""

    class Half(zoo.SoftClip):
        def measured(self, y: Tensor) -> Tensor:
            return (torch.arange(y.shape[-1]) < 3).expand_as(y)

    prior = zoo.gaussian()
    y = zoo.randn(2, 6)
    holes = torch.where(torch.arange(6) < 3, y, torch.nan)
    got = [solve(Problem(v, Half(), Gaussian(0.1)), prior, MMPS(karras(10))).x for v in (y, holes)]
    assert torch.equal(*got)
    assert torch.isfinite(got[0]).all()
    x, s = y + zoo.randn(2, 6, seed=1), LEVELS[:2]
    cut = Mask((torch.arange(6) < 3).to(zoo.F64)) @ zoo.SoftClip()  # the same, another way
    one, two = (
        MMPS(karras(3), 20).guided(Problem(y, op, Gaussian(0.1)), prior, x, s)
        for op in (Half(), cut)
    )
    assert_same(one, two, tol=1e-9)


def test_nonlinear() -> None:
    """A is linearised at x_0."""
    prior, x, s = zoo.gaussian(), zoo.randn(4, 6, seed=1), LEVELS
    problem = Problem(0.5 * zoo.randn(4, 6, seed=2), zoo.SoftClip(), Gaussian(0.2))
    x_0 = prior(x, s)
    slope = 2 * (1 - torch.tanh(2 * x_0) ** 2)
    near = Problem(
        problem.y - torch.tanh(2 * x_0) + slope * x_0,
        Matrix(slope.diag_embed(), per_lane=True),
        problem.noise,
    )
    got = MMPS(karras(3), iterations=60).guided(problem, prior, x, s)
    assert_same(got, posterior_denoiser(near, prior, x, s), tol=1e-8)


def test_refusals() -> None:
    for iterations in (0, -1):
        with pytest.raises(InvalidArgument, match="iterations"):
            MMPS(vp(3), iterations)
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidArgument, match="eta"):
            MMPS(vp(3), eta=eta)
    problem = Problem(
        torch.ones(1, 6, dtype=zoo.F64), Mask(torch.ones(6, dtype=zoo.F64)), Poisson(9.0)
    )
    with pytest.raises(Unsupported, match="noise"):
        solve(problem, zoo.gaussian(), MMPS.paper(3))


def test_paper() -> None:
    solver = MMPS.paper()
    assert (solver.steps, solver.iterations, solver.eta) == (256, 1, 1.0)
    levels = MMPS.paper(9, prior=within(0.01, 5.0)).schedule.levels
    assert levels[0].item() == pytest.approx(5.0)
    assert levels[-2].item() == pytest.approx(0.01)
    assert len(levels) == 10

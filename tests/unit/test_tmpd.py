"""TMPD: its step in the paper's variables, where it is exact, and where it diverges."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.operators import BlockMean, Mask, Matrix
from reddiff.priors import GaussianPrior, GaussianRandomField
from reddiff.priors.gaussian_posterior import dense_matrix
from reddiff.random import STARTING
from reddiff.schedules import karras, vp
from reddiff.solvers import TMPD
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SCHEDULE = vp(5)
LEVELS = torch.tensor([0.03, 0.4, 1.7, 20.0], dtype=zoo.F64)


def published(problem: Problem, x_t: Tensor, k: int, z: Tensor) -> Tensor:
    """One step of DDPM with the moments of the paper, in VP variables, lane by lane."""
    prior = zoo.gaussian()
    eye = torch.eye(6, dtype=zoo.F64)
    cov = (prior.q * prior.c) @ prior.q.mT
    abar, abar_s = (float(SCHEDULE.alpha[i]) ** 2 for i in (k, k + 1))
    alpha, beta = abar / abar_s, 1 - abar / abar_s
    wiener = cov @ torch.linalg.inv(cov + (1 - abar) / abar * eye)
    v = (1 - abar) / math.sqrt(abar) * wiener / math.sqrt(abar)  # v_t / sqrt(abar) d x_0 / d x_t
    assert isinstance(problem.noise, Gaussian)
    out = []
    for i, a in enumerate(dense_matrix(problem)):
        x_0 = prior.mean + wiener @ (x_t[i] / math.sqrt(abar) - prior.mean)
        sums = (a @ v @ a.mT).sum(1).clamp(min=0)
        r = problem.y[i] - a @ x_0
        x_0 = x_0 + v @ a.mT @ (r / (torch.as_tensor(problem.noise.sigma)[i] ** 2 + sums))
        mean = math.sqrt(alpha) * (1 - abar_s) * x_t[i] + math.sqrt(abar_s) * beta * x_0
        out.append(mean / (1 - abar) + math.sqrt(beta * (1 - abar_s) / (1 - abar)) * z[i])
    return torch.stack(out)


def test_transcription() -> None:
    problem, prior = zoo.solver_problem()
    solver, keys = replace(TMPD.paper(5), schedule=SCHEDULE), Keys(3, (0, 1, 2, 3))
    state = solver.init(problem, prior, keys.at(STARTING))
    for k in range(5):
        new = solver.step(state, problem, prior, torch.full((4,), k), keys.at(k))
        z = keys.at(k).randn_like(state.x)
        wanted = published(problem, SCHEDULE.alpha[k] * state.x, k, z)
        assert_same(SCHEDULE.alpha[k + 1] * new.x, wanted, tol=1e-8)
        state = new


@pytest.mark.parametrize("shorten", [False, True])
def test_exact(shorten: bool) -> None:
    """A mask on independent pixels: the posterior's own denoiser."""
    c = torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=zoo.F64) + 0.1
    prior = GaussianPrior(zoo.randn(6, seed=20), c.diag())
    mask = zoo.coin(1, 6, p=0.5)[0]
    sigma = torch.tensor([0.1, 0.3, 0.03, 0.6], dtype=zoo.F64)
    problem = Problem.simulate(zoo.randn(4, 6), Mask(mask), Gaussian(sigma))
    x, s = zoo.randn(4, 6, seed=1), LEVELS
    precision = 1 / c + mask / sigma[:, None] ** 2 + 1 / s[:, None] ** 2
    right = prior.mean / c + mask * problem.y / sigma[:, None] ** 2 + x / s[:, None] ** 2
    got = TMPD(karras(3), shorten=shorten).guided(problem, prior, x, s)
    assert_same(got, right / precision, tol=1e-8)


def test_never_shorter() -> None:
    """Where A V A^T has no negative entry nothing is shortened."""
    cov = torch.full((6, 6), 0.8, dtype=zoo.F64) + 0.2 * torch.eye(6, dtype=zoo.F64)
    a = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=zoo.F64)
    prior = GaussianPrior(zoo.randn(6, seed=20), cov)
    problem = Problem.simulate(zoo.randn(4, 6), Matrix(a), Gaussian(0.01))
    x, s = zoo.randn(4, 6, seed=1), torch.full((4,), 20.0, dtype=zoo.F64)
    one, two = (TMPD(karras(3), shorten=f).guided(problem, prior, x, s) for f in (False, True))
    assert torch.equal(one, two)


def test_overshoot() -> None:
    """A matrix of both signs: as published it diverges, shortened it does not."""
    problem, prior = zoo.solver_problem()
    wild, tame = (solve(problem, prior, TMPD(karras(50), shorten=f)).x for f in (False, True))
    assert wild.abs().max() > 1e6
    assert tame.abs().max() < 20


def test_shortened() -> None:
    """Cut to the step of steepest descent on (sigma_y^2 + A V A^T) w = y - A x_0, or not at all."""
    problem, prior = zoo.solver_problem()
    assert isinstance(prior, GaussianPrior)
    assert isinstance(problem.noise, Gaussian)
    cov, eye = (prior.q * prior.c) @ prior.q.mT, torch.eye(6, dtype=zoo.F64)
    x, s = zoo.randn(4, 6, seed=1), LEVELS
    got, x_0, lengths = TMPD(karras(3)).guided(problem, prior, x, s), prior(x, s), []
    for i, a in enumerate(dense_matrix(problem)):
        v = cov @ torch.linalg.inv(cov + s[i] ** 2 * eye) * s[i] ** 2
        r, sigma = problem.y[i] - a @ x_0[i], torch.as_tensor(problem.noise.sigma)[i]
        w = r / ((a @ v @ a.mT).sum(1).clamp(min=0) + sigma**2)
        system = sigma**2 * torch.eye(5, dtype=zoo.F64) + a @ v @ a.mT
        lengths.append(min(1.0, float((w @ r) / (w @ system @ w))))
        assert_same(got[i], x_0[i] + lengths[-1] * v @ a.mT @ w, tol=1e-8)
    assert min(lengths) < 0.9


def test_noiseless() -> None:
    """sigma = 0 is a limit; lanes that have it end near y on a mask, and on block means."""
    for operator, shape in ((Mask(zoo.coin(1, 6, p=0.5)[0]), (6,)), (BlockMean(2), (1, 4, 6))):
        prior = zoo.gaussian() if len(shape) == 1 else GaussianRandomField()
        sigma = torch.tensor([0.0, 0.2], dtype=zoo.F64)
        problem = Problem.simulate(zoo.randn(2, *shape), operator, Gaussian(sigma))
        got = solve(problem, prior, TMPD(karras(100))).x
        off = problem.residual(got).flatten(1).norm(dim=1) / problem.y.flatten(1).norm(dim=1)
        assert off[0] < 0.05
        assert torch.isfinite(got).all()


class Flat(zoo.SoftClip):
    """Says nothing of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros."""
        return 0 * x


def test_says_nothing() -> None:
    """An A whose derivative is zero, without noise: the denoiser."""
    problem = Problem(torch.ones(1, 6, dtype=zoo.F64), Flat(), Gaussian(0.0))
    x, s, prior = zoo.randn(1, 6), LEVELS[1:2], zoo.gaussian()
    assert_same(TMPD(karras(3)).guided(problem, prior, x, s), prior(x, s))


def test_refusals() -> None:
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidArgument, match="eta"):
            TMPD(SCHEDULE, eta)
    problem = Problem(
        torch.ones(1, 6, dtype=zoo.F64), Mask(torch.ones(6, dtype=zoo.F64)), Poisson(9.0)
    )
    with pytest.raises(Unsupported, match="noise"):
        solve(problem, zoo.gaussian(), TMPD.paper(3))
    assert TMPD.paper(10, prior=within(0.1, 3.0)).steps == 10

"""MCG: its step in the paper's variables, and consistency with y."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.noise import Noise
from reddiff.operators import BlockMean, LinearOperator, Mask, Matrix, Operator
from reddiff.priors import GaussianRandomField
from reddiff.priors.gaussian_posterior import dense_matrix
from reddiff.random import STARTING
from reddiff.schedules import vp
from reddiff.solvers import MCG
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SCHEDULE = vp(5)


def published(problem: Problem, x_t: Tensor, k: int, zeta: float, z: Tensor, n: Tensor) -> Tensor:
    """The step in VP variables, lane by lane, on the prior of the zoo."""
    prior = zoo.gaussian()
    eye = torch.eye(6, dtype=zoo.F64)
    cov = (prior.q * prior.c) @ prior.q.mT
    abar, abar_s = (float(SCHEDULE.alpha[i]) ** 2 for i in (k, k + 1))
    alpha, beta = abar / abar_s, 1 - abar / abar_s
    wiener = cov @ torch.linalg.inv(cov + (1 - abar) / abar * eye)
    out = []
    for i, a in enumerate(dense_matrix(problem)):
        leaf = x_t[i].clone().requires_grad_()
        x_0 = prior.mean + wiener @ (leaf / math.sqrt(abar) - prior.mean)
        (grad,) = torch.autograd.grad((problem.y[i] - a @ x_0).norm(), leaf)
        mean = math.sqrt(alpha) * (1 - abar_s) * x_t[i] + math.sqrt(abar_s) * beta * x_0.detach()
        spread = math.sqrt(beta * (1 - abar_s) / (1 - abar))
        x = mean / (1 - abar) + spread * z[i] - zeta * grad
        y_s = math.sqrt(abar_s) * problem.y[i] + math.sqrt(1 - abar_s) * a @ n[i]
        inverse = torch.linalg.pinv(a)
        out.append(inverse @ y_s + (eye - inverse @ a) @ x)
    return torch.stack(out)


@pytest.mark.parametrize("zeta", [0.0, 0.7])
@pytest.mark.parametrize(
    "operator",
    [Matrix(zoo.randn(4, 5, 6, seed=41), per_lane=True), Mask(zoo.coin(1, 6, p=0.5)[0])],
)
def test_transcription(operator: LinearOperator, zeta: float) -> None:
    prior, keys = zoo.gaussian(), Keys(3, (0, 1, 2, 3))
    problem = Problem.simulate(zoo.randn(4, 6), operator, Gaussian(0.1))
    solver = MCG(SCHEDULE, zeta)
    state = solver.init(problem, prior, keys.at(STARTING))
    for k in range(5):
        new = solver.step(state, problem, prior, torch.full((4,), k), keys.at(k))
        rng = keys.at(k)
        z, n = rng.randn_like(state.x), rng.randn_like(state.x)
        wanted = published(problem, SCHEDULE.alpha[k] * state.x, k, zeta, z, n)
        assert_same(SCHEDULE.alpha[k + 1] * new.x, wanted, tol=1e-8)
        state = new


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (Matrix(zoo.randn(4, 6)), (6,)),
        (BlockMean(2), (1, 4, 6)),
        (Mask(zoo.coin(1, 4, 6, p=0.5)[0]), (1, 4, 6)),
        (Mask(zoo.coin(1, 2, 3, p=0.5)[0]) @ BlockMean(2), (1, 4, 6)),
    ],
)
def test_agrees_with_y(operator: LinearOperator, shape: tuple[int, ...]) -> None:
    """Without noise A x = y at the end, whatever the entries that nobody measured hold."""
    x = zoo.randn(2, *shape)
    prior = zoo.gaussian() if len(shape) == 1 else GaussianRandomField()
    problem = Problem.simulate(x, operator, Gaussian(0.0))
    holes = torch.where(problem.measured, problem.y, torch.nan)
    solver = replace(MCG.paper(20), clip=math.inf)
    got = [solve(p, prior, solver) for p in (problem, replace(problem, y=holes))]
    assert_same(problem.residual(got[0].x), torch.zeros_like(problem.y), tol=1e-8)
    assert torch.equal(got[0].x, got[1].x)


def test_ignores_the_level() -> None:
    problem, prior = zoo.solver_problem()
    other = replace(problem, noise=Gaussian(3.0))
    assert torch.equal(*(solve(p, prior, MCG.paper(10)).x for p in (problem, other)))


@pytest.mark.parametrize(
    ("operator", "noise", "what"),
    [
        (zoo.SoftClip(), Gaussian(0.1), "operator"),
        (Mask(torch.ones(6, dtype=zoo.F64)), Poisson(9.0), "noise"),
    ],
)
def test_wrong_problem(operator: Operator, noise: Noise, what: str) -> None:
    problem = Problem(torch.ones(1, 6, dtype=zoo.F64), operator, noise)
    with pytest.raises(Unsupported, match=what):
        solve(problem, zoo.gaussian(), MCG.paper(3))


@pytest.mark.parametrize("zeta", [-1.0, math.inf, math.nan])
def test_wrong_zeta(zeta: float) -> None:
    with pytest.raises(InvalidArgument, match="zeta"):
        MCG(SCHEDULE, zeta)


def test_paper() -> None:
    solver = MCG.paper(50, zeta=0.5, prior=within(0.1, 3.0))
    assert (solver.steps, solver.zeta, solver.clip) == (50, 0.5, 1.0)

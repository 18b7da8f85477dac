from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, iterate, solve
from reddiff.noise import UnknownGaussian
from reddiff.operators import Mask
from reddiff.priors import GaussianPrior
from reddiff.schedules import constant, vp
from reddiff.solvers import RED
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SIGMA, WEIGHT = 0.4, 6.0


def objective(x: Tensor, problem: Problem, prior: GaussianPrior, weight: float) -> Tensor:
    """A^T (A x - y) / sigma^2 + weight (x - D(x, s))."""
    return problem.grad(x) + weight * (x - prior(x, SIGMA))


def fixed_point(problem: Problem, prior: GaussianPrior, weight: float) -> Tensor:
    """Its root: x - D(x, s) = s^2 (C + s^2)^-1 (x - m)."""
    cov = prior.q @ torch.diag(prior.c) @ prior.q.mT
    eye = torch.eye(6, dtype=zoo.F64)
    r = weight * SIGMA**2 * torch.linalg.inv(cov + SIGMA**2 * eye)
    a, precision = problem.operator.a, problem.noise.sigma[:, None, None] ** -2
    right = precision * a.mT @ problem.y[..., None] + (r @ prior.mean)[:, None]
    return torch.linalg.solve(precision * a.mT @ a + r, right)[..., 0]


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("weight", [1.0, WEIGHT])
def test_converges_to_the_fixed_point(accelerated, weight):
    problem, prior = zoo.solver_problem()
    solver = RED(constant(250, SIGMA), weight, accelerated)
    x = solve(problem, prior, solver).x
    assert objective(x, problem, prior, weight).abs().max() < 1e-6
    torch.testing.assert_close(x, fixed_point(problem, prior, weight), rtol=0, atol=1e-6)


def test_its_natural_weight_is_the_posterior_of_the_smoothed_prior():
    problem, prior = zoo.solver_problem()
    cov = prior.q @ torch.diag(prior.c) @ prior.q.mT + SIGMA**2 * torch.eye(6, dtype=zoo.F64)
    wanted = GaussianPrior(prior.mean, cov).posterior(problem).mean
    x = solve(problem, prior, RED(constant(200, SIGMA), SIGMA**-2)).x
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-8)


def test_momentum_needs_fewer_steps():
    """Where the plain iteration creeps: a weight far above what the data have."""
    problem, prior = zoo.solver_problem()
    end = fixed_point(problem, prior, 200.0)
    needed = []
    for accelerated in (False, True):
        path = iterate(problem, prior, RED(constant(250, SIGMA), 200.0, accelerated))
        error = torch.stack([(p.x - end).norm(dim=1) for p in path])
        needed.append((error > 1e-2).sum(0))
    assert (needed[1] < 0.75 * needed[0]).all(), needed
    assert needed[1].max() < 0.5 * needed[0].max()


@pytest.mark.parametrize("accelerated", [False, True])
def test_is_the_papers(accelerated):
    """RED-APG with L = 1 (without acceleration, the fixed-point iteration), written anew."""
    problem, prior = zoo.solver_problem()
    matrix, var = problem.operator.a, problem.noise.sigma[:, None, None] ** 2
    normal = matrix.mT @ matrix / var + WEIGHT * torch.eye(6, dtype=zoo.F64)
    x = problem.initial_estimate()
    v, t = prior(x, SIGMA), 1.0
    for k in range(1, 8):
        right = matrix.mT @ problem.y[..., None] / var + WEIGHT * v[..., None]
        x, before = torch.linalg.solve(normal, right)[..., 0], x
        t, last = (1 + math.sqrt(1 + 4 * t**2)) / 2, t
        z = x + (last - 1) / t * (x - before) if accelerated else x
        v = prior(z, SIGMA)
        got = solve(problem, prior, RED(constant(k, SIGMA), WEIGHT, accelerated)).x
        torch.testing.assert_close(got, x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("noise", [Gaussian(0.05), Poisson(400.0)])
def test_any_operator_and_noise_will_do(noise):
    """It converges to a root of the same equation."""
    prior = GaussianPrior(torch.full((6,), 0.3, dtype=zoo.F64), 0.03 * zoo.spd(6))
    x = (0.3 + 0.15 * zoo.randn(5, 6)).clamp(min=0.05)
    operator = zoo.SoftClip() if isinstance(noise, Gaussian) else Mask(torch.ones(6).double())
    problem = Problem.simulate(x, operator, noise)
    got = solve(problem, prior, RED(constant(60, SIGMA), SIGMA**-2))
    data = problem.grad(got.x).norm(dim=1)
    assert (objective(got.x, problem, prior, SIGMA**-2).norm(dim=1) < 0.02 * (1 + data)).all()


def test_without_noise_the_answer_explains_y():
    problem, prior = zoo.solver_problem()
    exact = Problem(problem.y, problem.operator, Gaussian(0.0))
    x = solve(exact, prior, RED(constant(20, SIGMA), WEIGHT)).x
    assert (exact.residual(x).norm(dim=1) < 1e-3 * exact.y.norm(dim=1)).all()


def test_says_which_data_steps_did_not_converge():
    problem, prior = zoo.solver_problem()
    solver = RED(constant(3, SIGMA), WEIGHT)
    state = solver.init(problem, prior, Keys(0, (0, 1, 2, 3)).at(0))
    assert solver.warnings(state) == [()] * len(problem)
    bad = solver.load(solver.dump(state) | {"solved": torch.tensor([True, False, True, True])})
    assert [len(w) for w in solver.warnings(bad)] == [0, 1, 0, 0]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_weight_is_positive(weight):
    with pytest.raises(InvalidArgument, match="weight: expected a positive finite number"):
        RED(vp(3), weight)


def test_refuses_noise_of_unknown_level():
    problem, prior = zoo.solver_problem()
    unknown = Problem(problem.y, problem.operator, UnknownGaussian())
    with pytest.raises(Unsupported, match="RED: expected noise with a known level"):
        solve(unknown, prior, RED(constant(3, SIGMA), WEIGHT))


def test_the_preset_moves_its_level_into_the_priors_range():
    solver = RED.paper()
    assert solver.steps == 200
    assert float(solver.schedule.levels[0]) == pytest.approx(3.25 / 127.5)
    assert solver.weight == pytest.approx(325.125)
    assert float(RED.paper(prior=within(0.1)).schedule.levels[0]) == pytest.approx(0.1)
    assert float(RED.paper(prior=within(high=0.01)).schedule.levels[0]) == pytest.approx(0.01)

"""DAPS against its equations, in the paper's variables."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, Unsupported, solve
from reddiff.operators import Clip, Diagonal
from reddiff.priors import GaussianMixture, GaussianRandomField
from reddiff.schedules import karras
from reddiff.solvers import DAPS
from reddiff.solvers.steps.conditional import PerturbAndSolve
from reddiff.solvers.steps.mcmc import HMC, Langevin
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")


@torch.no_grad()
def test_transcription() -> None:
    """Five Euler steps of dx = (x - D) / sigma d sigma, 4 Langevin steps, new noise; twice."""
    problem, prior = zoo.solver_problem(3)
    solver = replace(DAPS.paper(6, lr=1e-3, tau=0.2), conditional=Langevin(4, lr=1e-3, tau=0.2))
    keys = Keys(5, zoo.ids(3))
    state = solver.init(problem, prior, keys.at(-1))
    x, a = state.x, problem.operator.a
    sigma = solver.schedule.levels
    for k in range(2):
        state = solver.step(state, problem, prior, torch.full((3,), k), keys.at(k))
        rng, s = keys.at(k), float(sigma[k])
        t = [(s ** (1 / 7) + i / 4 * (0.01 ** (1 / 7) - s ** (1 / 7))) ** 7 for i in range(5)] + [0]
        for now, then in pairwise(t):
            x = x + (then - now) * (x - prior(x, now)) / now
        center, lr = x, 1e-3 * (1 - 0.99 * k / 5)
        for _ in range(4):
            data = torch.einsum("bij,bi->bj", a, torch.einsum("bij,bj->bi", a, x) - problem.y)
            step = data / 0.2**2 + (x - center) / s**2
            x = x - lr * step + (2 * lr) ** 0.5 * rng.randn_like(x)
        torch.testing.assert_close(solver.estimate(state), x, rtol=0, atol=1e-8)
        x = x + sigma[k + 1] * rng.randn_like(x)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("gain", [1.0, 2.0, 40.0])
def test_any_unit_of_y(gain: float) -> None:
    """Scaling A, y and tau alike changes nothing: A of a large norm does not diverge."""
    prior = GaussianRandomField()
    x = prior.sample(torch.empty(2, 1, 8, 8, dtype=zoo.F64), Keys(0, (0, 1)).at(0))
    runs = []
    for c in (1.0, gain):
        operator = Diagonal(torch.full((1,), c, dtype=zoo.F64))
        problem = Problem.simulate(x, operator, Gaussian(0.1 * c))
        runs.append(solve(problem, prior, DAPS.paper(3, tau=0.01 * c)).x)
        fixed = solve(problem, prior, DAPS.paper(3)).x
        assert float((problem.operator(fixed) / c - problem.y / c).abs().max()) < 0.25
    torch.testing.assert_close(runs[1], runs[0], rtol=0, atol=1e-8)
    nonlinear = Problem.simulate(x, Clip(gain), Gaussian(0.01 * gain))  # as the task `hdr`
    # The random x of the check may be clipped everywhere.
    assert solve(nonlinear, prior, DAPS.paper(3), check=False).x.abs().max() < 10


def test_noiseless() -> None:
    """Without noise its answers explain y."""
    problem, prior = zoo.solver_problem(3)
    clean = replace(problem, noise=Gaussian(0.0))
    x = solve(clean, prior, DAPS(karras(20, 0.1, 20.0), PerturbAndSolve())).x
    assert clean.residual(x).abs().max() < 1e-3 * problem.y.abs().max()


@pytest.mark.slow
def test_moments() -> None:
    """The mean of its draws is near the posterior's; the spread is not, as the class says."""
    problem, prior = zoo.solver_problem(2)
    solver = DAPS(karras(200, 0.05, 100.0), PerturbAndSolve())
    draws = solve(problem, prior, solver, runs=60).samples
    posterior = prior.posterior(problem)
    for i in range(2):
        exact = posterior.sample(2000)[i]
        spread = exact.var(0).sum()
        assert (draws[i].mean(0) - posterior.mean[i]).norm() < 0.6 * spread**0.5
        assert 0.7 < draws[i].var(0).sum() / spread < 2.5


def test_modes() -> None:
    """It finds the mode that y speaks of, of a nonlinear problem whose gradient vanishes at 0."""
    eye = 0.01 * torch.eye(4, dtype=zoo.F64)
    means = torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]], dtype=zoo.F64)
    prior = GaussianMixture(torch.ones(2, dtype=zoo.F64), means, eye.expand(2, 4, 4))
    y = torch.tanh(2 * means[:1].expand(12, 4)).clone()
    problem = Problem(y, zoo.SoftClip(), Gaussian(0.2))
    for method in (Langevin(30), HMC(2, 4)):
        x = solve(problem, prior, DAPS(karras(12, 0.1, 10.0), method)).x
        assert (x - 1).abs().mean() < 0.3


def test_paper() -> None:
    solver = DAPS.paper()
    assert len(solver.schedule) == 200
    assert solver.schedule.levels[0] == pytest.approx(100.0)
    assert solver.schedule.levels[-2] == pytest.approx(0.1)
    assert isinstance(solver.conditional, Langevin)
    assert (solver.conditional.steps, solver.conditional.lr, solver.conditional.tau) == (
        100,
        1e-4,
        0.01,
    )
    narrow = DAPS.paper(10, prior=within(0.2, 3.0))
    assert narrow.schedule.levels[0] == pytest.approx(3.0)
    assert narrow.schedule.levels[-2] == pytest.approx(0.2)
    assert narrow.ode_end == 0.2


def test_refusals() -> None:
    problem, prior = zoo.solver_problem(2)
    schedule = karras(3, 0.1, 2.0)
    nonlinear = Problem(problem.y, zoo.SoftClip(), problem.noise)
    with pytest.raises(Unsupported, match="PerturbAndSolve: expected a LinearOperator"):
        solve(nonlinear, prior, DAPS(schedule, PerturbAndSolve()))
    with pytest.raises(Unsupported, match="Langevin: expected noise with sigma > 0"):
        solve(replace(problem, noise=Gaussian(0.0)), prior, DAPS(schedule))
    prior.sigma_min = 0.05
    with pytest.raises(InvalidArgument, match=r"ode_end: expected at least 0.05"):
        solve(problem, prior, DAPS(schedule))
    solve(problem, prior, DAPS(schedule, ode_end=0.05), stop_at=0)
    for name, value in (("ode_steps", 0), ("ode_end", 0.0), ("decay", -1.0), ("clip", 0.0)):
        with pytest.raises(InvalidArgument, match=name):
            DAPS(schedule, **{name: value})


@torch.no_grad()
def test_published_steps_are_cut_where_they_would_diverge() -> None:
    """To 1.5 over the curvature ||A||^2 / tau^2 + 1 / r^2; below that they are as given."""
    x, r = torch.zeros(2, 4, dtype=zoo.F64), torch.tensor([0.5, 0.5], dtype=zoo.F64)
    for c, lr in ((1.0, 1e-4), (1.2, 1e-4), (2.0, 1.5 / (4e4 + 4)), (40.0, 1.5 / (1.6e7 + 4))):
        operator = Diagonal(torch.full((1,), c, dtype=zoo.F64))
        problem = Problem(c * zoo.randn(2, 4), operator, Gaussian(0.1))
        got = Langevin(1, lr=1e-4, tau=0.01)(problem, x, r, x, Keys(0, (0, 1)).at(0))
        noise = Keys(0, (0, 1)).at(0).randn_like(x)
        wanted = lr * c * problem.y / 0.01**2 + (2 * lr) ** 0.5 * noise
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)

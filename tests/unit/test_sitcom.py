"""SITCOM against its algorithm, in VP variables."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.optim import Adam

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, solve
from reddiff.noise import Poisson
from reddiff.operators import Mask
from reddiff.schedules import vp
from reddiff.solvers import SITCOM
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_transcription(weight: float) -> None:
    """torch's Adam on v, one lane at a time, until the residual is that of the noise."""
    problem, prior = zoo.solver_problem(3)
    problem = replace(problem, noise=Gaussian(torch.tensor([0.0, 0.3, 1.0], dtype=zoo.F64)))
    solver = SITCOM(vp(8), lr=0.05, inner=12, weight=weight)
    keys = Keys(5, zoo.ids(3))
    state = solver.init(problem, prior, keys.at(-1))
    alpha, sigma = solver.schedule.alpha, solver.schedule.sigma
    x_t, stopped = alpha[0] * state.x, []
    for k in range(8):
        state = solver.step(state, problem, prior, torch.full((3,), k), keys.at(k))
        x_0 = []
        for i in range(3):
            one, v = problem.select(torch.tensor([i])), x_t[i : i + 1].clone().requires_grad_()
            adam, bound = Adam([v], lr=0.05), float(one.noise.sigma)
            bound = max(bound, 1e-3 * float((one.y**2).mean().sqrt()))
            for step in range(12):
                with torch.enable_grad():
                    r = one.y - one.operator(prior(v, sigma[k], alpha[k]))
                    loss = (r**2).sum() + weight * ((v - x_t[i : i + 1]) ** 2).sum()
                if (r**2).mean() <= bound**2:
                    stopped.append(step)
                    break
                (v.grad,) = torch.autograd.grad(loss, v)
                adam.step()
            x_0.append(prior(v.detach(), sigma[k], alpha[k]))
        noise = keys.at(k).randn_like(x_t)
        x_t = alpha[k + 1] * torch.cat(x_0) + sigma[k + 1] * noise
        torch.testing.assert_close(solver.estimate(state), torch.cat(x_0), rtol=0, atol=1e-8)
        torch.testing.assert_close(alpha[k + 1] * state.x, x_t, rtol=0, atol=1e-8)
    assert len(stopped) > 2
    assert len(set(stopped)) > 1


def test_noise_level() -> None:
    """It fits y down to the noise, and not below."""
    problem, prior = zoo.solver_problem(4)
    problem = Problem(problem.y, problem.operator, Gaussian(0.3))
    result = solve(problem, prior, SITCOM(vp(12), inner=30, lr=0.08))
    ratio = problem.residual_ratio(result.x)
    assert (ratio <= 1).all()
    assert (ratio > 0.3).all()


def test_photons() -> None:
    """The squares are weighted for other noise, a count of zero not for ever more."""
    prior = zoo.gaussian()
    y = torch.tensor([[0.0, 1.0, 2.0, 0.5, 0.0, 3.0]], dtype=zoo.F64)
    problem = Problem(y, Mask(torch.ones(6, dtype=zoo.F64)), Poisson(20.0))
    x = solve(problem, prior, SITCOM(vp(12), inner=30, lr=0.08)).x
    assert (x - y).abs().mean() < 0.5


def test_paper() -> None:
    solver = SITCOM.paper()
    assert (len(solver.schedule), solver.lr, solver.inner) == (20, 0.02, 30)
    assert (solver.weight, solver.clip) == (0.0, 1.0)
    levels = SITCOM.paper(5, prior=within(0.1, 2.0)).schedule.levels[:-1]
    assert levels.min() >= 0.1
    assert levels.max() <= 2.0 * 1.001  # a level this near to the range is within it


def test_refusals() -> None:
    for name, value in (("lr", 0.0), ("inner", 0), ("weight", -1.0), ("clip", 0.0)):
        with pytest.raises(InvalidArgument, match=name):
            SITCOM(vp(3), **{name: value})

"""ULA against its equation, and against the stationary distribution of its chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, Unsupported, solve
from reddiff.noise import Poisson
from reddiff.operators import Mask
from reddiff.priors import GaussianPrior
from reddiff.schedules import constant, geometric
from reddiff.solvers import ULA
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")


@torch.no_grad()
def test_transcription() -> None:
    """The score (D - x) / s^2, the likelihood's gradient, and the step per lane."""
    problem, prior = zoo.solver_problem(3)
    solver = ULA(geometric(3, 0.3, 1.0), 0.5)
    keys = Keys(5, zoo.ids(3))
    state = solver.init(problem, prior, keys.at(-1))
    a, sigma = problem.operator.a, problem.noise.sigma[:, None]
    gain = torch.linalg.matrix_norm(a, 2)[:, None]
    x = keys.at(-1).randn_like(state.x)
    torch.testing.assert_close(state.x, x)
    for k in range(3):
        state = solver.step(state, problem, prior, torch.full((3,), k), keys.at(k))
        s = float(solver.schedule.levels[k])
        h = 0.5 / (gain**2 / sigma**2 + 1 / s**2)
        r = torch.einsum("bij,bj->bi", a, x) - problem.y
        force = (prior(x, s) - x) / s**2 - torch.einsum("bij,bi->bj", a, r) / sigma**2
        x = x + h * force + (2 * h).sqrt() * keys.at(k).randn_like(x)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_stationary(step: float) -> None:
    """The prior is blurred by s, and the variance of curvature l is 1 / (l - h l^2 / 2)."""
    n, lanes, s, sigma = 40, 120, 0.5, 0.4
    c = torch.tensor([0.3, 0.6], dtype=zoo.F64).repeat(n // 2)
    prior = GaussianPrior(torch.zeros(n, dtype=zoo.F64), torch.diag(c))
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=zoo.F64).repeat(n // 4)
    y = torch.full((lanes, n), 0.8, dtype=zoo.F64)
    problem = Problem(y, Mask(mask), Gaussian(sigma))
    steps = int(30 / step)
    x = solve(problem, prior, ULA(constant(steps, s), step)).x
    curve = mask / sigma**2 + 1 / (c + s**2)
    h = step / (sigma**-2 + s**-2)
    mean, var = mask * 0.8 / sigma**2 / curve, 1 / (curve - h * curve**2 / 2)
    for i in range(4):
        row = x[:, i::4]
        assert abs(row.mean() - mean[i]) < 6 * (var[i] / row.numel()) ** 0.5
        assert abs(row.var() / var[i] - 1) < 5 * (2 / row.numel()) ** 0.5


@pytest.mark.slow
def test_any_noise() -> None:
    """Stable for photon counts, zero ones among them, and for a nonlinear operator."""
    prior = zoo.gaussian()
    y = torch.tensor([[0.0, 1.0, 2.0, 0.5, 0.0, 3.0]], dtype=zoo.F64)
    counts = Problem(y, Mask(torch.ones(6, dtype=zoo.F64)), Poisson(10.0))
    soft = Problem(torch.tanh(y), zoo.SoftClip(), Gaussian(0.1))
    for problem in (counts, soft):
        x = solve(problem, prior, ULA(constant(400, 0.1), 1.0)).x
        assert x.abs().max() < 6


def test_paper() -> None:
    assert ULA.paper(7).schedule.levels.tolist() == pytest.approx([10 / 255] * 8)
    assert ULA.paper(7, prior=within(0.1)).schedule.levels[0] == pytest.approx(0.1)
    assert ULA.paper(7, prior=within(high=0.01)).schedule.levels[0] == pytest.approx(0.01)


def test_refusals() -> None:
    problem, prior = zoo.solver_problem(2)
    with pytest.raises(Unsupported, match="ULA: expected noise with sigma > 0"):
        solve(replace(problem, noise=Gaussian(0.0)), prior, ULA(constant(2, 0.3)))
    for value in (0.0, 2.0):
        with pytest.raises(InvalidArgument, match="step_size"):
            ULA(constant(2, 0.3), value)

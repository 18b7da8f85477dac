"""DPS against a transcription of its algorithm, and the base class of samplers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import InvalidArgument, Keys, Poisson, Problem, solve
from reddiff.operators import Matrix
from reddiff.schedules import vp
from reddiff.solvers import DDIM, DPS, Heun, inits
from reddiff.solvers.dps import residual_norm_grad

pytestmark = pytest.mark.usefixtures("untyped")

IDS = zoo.ids(3)
STEPS = 5


def ddpm(x_t: Tensor, x_0: Tensor, abar: float, abar_next: float, z: Tensor) -> Tensor:
    """Ho et al., Equations 6 and 7: the posterior of the forward process, in x_t."""
    alpha = abar / abar_next
    beta = 1 - alpha
    mean = (
        math.sqrt(abar_next) * beta / (1 - abar) * x_0
        + math.sqrt(alpha) * (1 - abar_next) / (1 - abar) * x_t
    )
    return mean + math.sqrt(beta * (1 - abar_next) / (1 - abar)) * z


@pytest.mark.parametrize("clip", [math.inf, 0.8])
def test_transcription_in_vp_variables(clip: float) -> None:
    """Algorithm 1, with the noise of the run, the clip inside the gradient."""
    problem, prior = zoo.solver_problem(3)
    schedule, zeta = vp(STEPS), 0.7
    got = solve(problem, prior, DPS(schedule, zeta, clip=clip), seed=5, ids=IDS).x
    keys, abar = Keys(5, IDS), (schedule.alpha**2).tolist()
    first = keys.at(-1).randn_like(got)
    x_t = math.sqrt(1 - abar[0]) * first
    for k in range(STEPS):
        x_t = x_t.detach().requires_grad_()
        alpha, sigma = math.sqrt(abar[k]), math.sqrt(1 - abar[k])
        x_0 = prior(x_t, sigma, alpha).clamp(-clip, clip)
        misfit = (problem.y - problem.operator(x_0)).norm(dim=1)
        (grad,) = torch.autograd.grad(misfit.sum(), x_t)
        z = keys.at(k).randn_like(got)
        x_t = ddpm(x_t.detach(), x_0.detach(), abar[k], abar[k + 1], z) - zeta * grad
    torch.testing.assert_close(got, x_t, rtol=0, atol=1e-8)


def test_poisson_weights_are_the_papers() -> None:
    """Equation 20: the squares are weighted by 1 / 2 y, in counts."""
    gain, y = 30.0, torch.tensor([[1.0, 2.0, 0.5]], dtype=zoo.F64)
    problem = Problem(y, Matrix(torch.eye(3, dtype=zoo.F64)), Poisson(gain))
    x = torch.tensor([[1.3, 1.1, 0.9]], dtype=zoo.F64, requires_grad=True)
    counts = gain * y
    size = ((counts - gain * x) ** 2 / (2 * counts)).sum().sqrt()
    (wanted,) = torch.autograd.grad(size, x)
    torch.testing.assert_close(residual_norm_grad(problem, x.detach()), wanted)


def test_no_residual_has_no_gradient() -> None:
    y = torch.ones(2, 3, dtype=zoo.F64)
    problem = Problem(y, Matrix(torch.eye(3, dtype=zoo.F64)), Poisson(5.0))
    assert residual_norm_grad(problem, y).abs().max() == 0


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_in_vp_variables(eta: float) -> None:
    """Song et al., Equations 12 and 16."""
    problem, prior = zoo.solver_problem(3)
    schedule = vp(STEPS)
    got = solve(problem, prior, DDIM(schedule, eta), seed=5, ids=IDS).x
    keys, abar = Keys(5, IDS), (schedule.alpha**2).tolist()
    x_t = math.sqrt(1 - abar[0]) * keys.at(-1).randn_like(got)
    for k, (a, b) in enumerate(itertools.pairwise(abar)):
        x_0 = prior(x_t, math.sqrt(1 - a), math.sqrt(a))
        eps = (x_t - math.sqrt(a) * x_0) / math.sqrt(1 - a)
        up = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
        x_t = math.sqrt(b) * x_0 + math.sqrt(max(1 - b - up**2, 0)) * eps
        x_t = x_t + up * keys.at(k).randn_like(got)
    torch.testing.assert_close(got, x_t, rtol=0, atol=1e-8)


def test_heun_is_of_second_order() -> None:
    """Four times the error for half the steps, on the closed-form flow of a Gaussian."""
    problem, prior = zoo.solver_problem(3)

    def end(steps: int) -> Tensor:
        levels = torch.linspace(3, 1, steps + 1, dtype=zoo.F64)
        schedule = type(vp(1))(torch.ones_like(levels), levels)
        solver = Heun(schedule)
        state = solver.init(problem, prior, Keys(5, IDS).at(-1))
        for k in range(steps):
            at = torch.full((3,), k)
            state = solver.step(state, problem, prior, at, Keys(5, IDS).at(k))
        return state.x

    c, q = torch.linalg.eigh(zoo.spd(6, seed=21))
    mean = zoo.randn(6, seed=20)
    start = 3 * Keys(5, IDS).at(-1).randn_like(torch.empty(3, 6, dtype=zoo.F64))
    z = (start - mean) @ q * ((c + 1) / (c + 9)).sqrt()  # what the flow makes of it at level 1
    exact = mean + z @ q.mT
    errors = [float((end(n) - exact).norm()) for n in (8, 16, 32)]
    for coarse, fine in itertools.pairwise(errors):
        assert 3.4 < coarse / fine < 4.6


def test_a_clip_does_not_hide_a_divergence() -> None:
    x = torch.tensor([[0.5, 7.0, torch.inf, torch.nan]], dtype=zoo.F64)
    clipped = DPS.paper(3)._clipped(x)
    assert clipped[0, :2].tolist() == [0.5, 1.0]
    assert torch.isnan(clipped[0, 2:]).all()


def test_a_start_of_ones_own() -> None:
    """Noise of the first level is added to it."""
    problem, prior = zoo.solver_problem(3)
    start = zoo.randn(3, 6, seed=1)
    solver = DPS(vp(4), start=inits.Given(start))
    state = solver.init(problem, prior, Keys(5, IDS).at(-1))
    noise = Keys(5, IDS).at(-1).randn_like(start)
    torch.testing.assert_close(state.x, start + vp(4).levels[0] * noise)
    assert torch.equal(solver.estimate(state), start)


def test_refusals() -> None:
    for zeta in (-0.1, math.inf, math.nan):
        with pytest.raises(InvalidArgument, match="zeta: expected a finite value >= 0"):
            DPS(vp(3), zeta)
    with pytest.raises(InvalidArgument, match="clip: expected a number above 0"):
        DPS(vp(3), clip=0.0)
    with pytest.raises(InvalidArgument, match="eta: expected a number from 0 to 1"):
        DDIM(vp(3), 1.5)

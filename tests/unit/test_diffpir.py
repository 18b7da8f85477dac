from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests import zoo
from torch import Tensor

from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.noise import UnknownGaussian
from reddiff.operators import Mask
from reddiff.priors import GaussianPrior
from reddiff.random import STARTING
from reddiff.schedules import vp
from reddiff.solvers import DiffPIR
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")


def transcription(problem: Problem, prior, solver: DiffPIR, keys: Keys) -> Tensor:
    """Algorithm 1 in x_t = a_t x_0 + sigma_t n, with rho_t = lambda sigma_y^2 a_t^2 / sigma_t^2."""
    s = solver.schedule.levels
    a, sg = (1 + s**2).rsqrt(), s * (1 + s**2).rsqrt()
    matrix, var = problem.operator.a, problem.noise.sigma[:, None] ** 2
    x_t = sg[0] * keys.at(STARTING).randn_like(torch.zeros(len(problem), 6, dtype=zoo.F64))
    for t in range(len(s) - 1):
        x_0 = prior(x_t, sg[t], a[t]).clamp(-solver.clip, solver.clip)
        rho = solver.lam * var / (sg[t] / a[t]) ** 2
        normal = matrix.mT @ matrix + rho[..., None] * torch.eye(6, dtype=zoo.F64)
        right = (matrix.mT @ problem.y[..., None])[..., 0] + rho * x_0
        x_0 = torch.linalg.solve(normal, right[..., None])[..., 0]
        e = (x_t - a[t] * x_0) / sg[t]
        z = keys.at(t).randn_like(x_t) if solver.zeta else 0
        noise = math.sqrt(1 - solver.zeta) * e + math.sqrt(solver.zeta) * z
        x_t = a[t + 1] * x_0 + sg[t + 1] * noise
    return x_t


@pytest.mark.parametrize(("lam", "zeta"), [(7.0, 0.3), (1.0, 1.0), (2.0, 0.0)])
@pytest.mark.parametrize("clip", [1.0, math.inf])
def test_is_the_papers(lam, zeta, clip):
    problem, prior = zoo.solver_problem()
    keys = Keys(5, zoo.ids(len(problem)))
    solver = DiffPIR(vp(12), lam, zeta, clip=clip)
    got = solve(problem, prior, solver, seed=5, ids=keys.ids).x
    wanted = transcription(problem, prior, solver, keys)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-8)


def test_without_noise_the_answer_explains_y():
    problem, prior = zoo.solver_problem()
    exact = Problem(problem.y, problem.operator, Gaussian(0.0))
    x = solve(exact, prior, DiffPIR(vp(20))).x
    assert (exact.residual(x).norm(dim=1) < 1e-3 * exact.y.norm(dim=1)).all()


@pytest.mark.parametrize("noise", [Gaussian(0.05), Poisson(400.0)])
def test_any_operator_and_noise_will_do(noise):
    """The misfit ends at about the noise, for a nonlinear A and for photon counts."""
    prior = GaussianPrior(torch.full((6,), 0.3, dtype=zoo.F64), 0.1 * zoo.spd(6))
    x = (0.3 + 0.15 * zoo.randn(20, 6)).clamp(min=0.05)
    operator = zoo.SoftClip() if isinstance(noise, Gaussian) else Mask(torch.ones(6).double())
    problem = Problem.simulate(x, operator, noise)
    got = solve(problem, prior, DiffPIR(vp(30)))
    assert float(got.residual_ratio.median()) < 1.5
    assert (got.x - x).abs().median() < 0.05


def test_fresh_noise_everywhere_is_another_chain():
    """Zeta = 0 draws nothing after the start."""
    problem, prior = zoo.solver_problem()
    keys = Keys(0, zoo.ids(len(problem)))
    k = torch.full((len(problem),), 2)
    for zeta, alike in ((0.0, True), (0.3, False)):
        solver = DiffPIR(vp(5), zeta=zeta)
        state = solver.init(problem, prior, keys.at(STARTING))
        a, b = (solver.step(state, problem, prior, k, keys.at(n)).x for n in (2, 3))
        assert torch.equal(a, b) == alike


@pytest.mark.parametrize("lam", [0.0, -1.0, math.inf, math.nan])
def test_lam_is_positive(lam):
    with pytest.raises(InvalidArgument, match="lam: expected a positive finite number"):
        DiffPIR(vp(3), lam)


@pytest.mark.parametrize("zeta", [-0.1, 1.1, math.nan])
def test_zeta_is_a_share(zeta):
    with pytest.raises(InvalidArgument, match="zeta: expected a number from 0 to 1"):
        DiffPIR(vp(3), zeta=zeta)


def test_refuses_noise_of_unknown_level():
    problem, prior = zoo.solver_problem()
    unknown = Problem(problem.y, problem.operator, UnknownGaussian())
    with pytest.raises(Unsupported, match="DiffPIR: expected noise with a known level"):
        solve(unknown, prior, DiffPIR.paper(3))


def test_the_preset():
    solver = DiffPIR.paper(prior=within(high=10.0))
    assert (solver.steps, solver.lam, solver.zeta, solver.clip) == (100, 7.0 / 4, 0.3, 1.0)
    assert solver.schedule.levels[0] <= 10


@pytest.mark.parametrize("steps", [20, 100])
def test_the_levels_of_the_preset_are_those_of_the_released_code(steps):
    """Its `seq`, the places in a list of the levels from the noisiest on, as in its scripts."""
    seq = [int(place) for place in np.sqrt(np.linspace(0, 1000**2, steps))]
    seq[-1] -= 1
    wanted = vp(1000).levels[seq]
    torch.testing.assert_close(DiffPIR.paper(steps).schedule.levels[:-1], wanted)


def test_more_levels_than_the_released_code_tells_apart():
    levels = DiffPIR.paper(1000).schedule.levels
    assert (levels.diff() < 0).all()
    torch.testing.assert_close(levels[[0, -2]], vp(1000).levels[[0, -2]])

"""PiGDM: its step in the paper's variables, and its guidance in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Unsupported, solve
from reddiff.noise import Noise, UnknownGaussian
from reddiff.operators import Mask, Matrix, Operator
from reddiff.priors import GaussianPrior, Prior
from reddiff.priors.gaussian_posterior import dense_matrix
from reddiff.schedules import vp
from reddiff.solvers import DDIM, PiGDM
from reddiff.solvers.base_sampler import Diffused
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SCHEDULE = vp(5)


def rows(problem: Problem, k: int) -> Tensor:
    return torch.full((len(problem),), k)


def published(problem: Problem, x_t: Tensor, k: int, eta: float, z: Tensor) -> Tensor:
    """One step of Algorithm 1, lane by lane, on the prior of the zoo; without noise, with A^+."""
    prior = zoo.gaussian()
    cov = (prior.q * prior.c) @ prior.q.mT
    abar, abar_s = (float(SCHEDULE.alpha[i]) ** 2 for i in (k, k + 1))
    wiener = cov @ torch.linalg.inv(cov + (1 - abar) / abar * torch.eye(6, dtype=zoo.F64))
    jacobian = wiener / math.sqrt(abar)
    assert isinstance(problem.noise, Gaussian)
    sigma = torch.as_tensor(problem.noise.sigma).expand(len(problem))
    c_1 = eta * math.sqrt((1 - abar / abar_s) * (1 - abar_s) / (1 - abar))
    c_2 = math.sqrt(1 - abar_s - c_1**2)
    out = []
    for i, a in enumerate(dense_matrix(problem)):
        x_0 = prior.mean + wiener @ (x_t[i] / math.sqrt(abar) - prior.mean)
        r_2 = (1 - abar) / abar / (1 + (1 - abar) / abar)
        r = problem.y[i] - a @ x_0
        if sigma[i] == 0:
            v = torch.linalg.pinv(a) @ r
        else:
            v = a.mT @ torch.linalg.solve(
                a @ a.mT + sigma[i] ** 2 / r_2 * torch.eye(len(a), dtype=zoo.F64), r
            )
        eps = (x_t[i] - math.sqrt(abar) * x_0) / math.sqrt(1 - abar)
        guidance = math.sqrt(abar * abar_s) * jacobian.mT @ v
        out.append(math.sqrt(abar_s) * x_0 + c_1 * z[i] + c_2 * eps + guidance)
    return torch.stack(out)


@pytest.mark.parametrize(
    ("eta", "sigma", "tol"), [(1.0, None, 1e-8), (0.4, None, 1e-8), (1.0, 0.0, 5e-5)]
)
def test_transcription(eta: float, sigma: float | None, tol: float) -> None:
    problem, prior = zoo.solver_problem()
    if sigma is not None:
        operator = Matrix(zoo.randn(4, 3, 6, seed=41), per_lane=True)
        problem = Problem(problem.y[:, :3], operator, Gaussian(sigma))
    solver = PiGDM(SCHEDULE, eta)
    state = solver.init(problem, prior, Keys(3, (0, 1, 2, 3)).at(-1))
    for k in range(5):
        keys, alpha = Keys(3, (0, 1, 2, 3)), SCHEDULE.alpha
        new = solver.step(state, problem, prior, rows(problem, k), keys.at(k))
        z = keys.at(k).randn_like(state.x)
        wanted = published(problem, alpha[k] * state.x, k, eta, z)
        assert_same(alpha[k + 1] * new.x, wanted, tol=tol)
        state = new


def test_unit_prior(device: torch.device) -> None:
    """For the prior N(m, I) x_0 + v is the posterior mean given x_t and y."""
    eye = torch.eye(6, dtype=zoo.F64, device=device)
    prior = GaussianPrior(zoo.randn(6, seed=20).to(device), eye)
    problem, _ = zoo.solver_problem(device=device)
    a, y = dense_matrix(problem), problem.y
    assert isinstance(problem.noise, Gaussian)
    precision = 1 / torch.as_tensor(problem.noise.sigma) ** 2
    x, s = zoo.randn(4, 6, seed=9).to(device), SCHEDULE.levels[2].to(device)
    system = a.mT @ a * precision[:, None, None] + (1 + 1 / s**2) * eye
    right = (a.mT @ y[..., None])[..., 0] * precision[:, None] + prior.mean + x / s**2
    wanted = torch.linalg.solve(system, right)
    k = rows(problem, 2).to(device)
    state = Diffused(x, torch.zeros_like(x))
    args = (state, problem, prior, k, Keys(0, (0, 1, 2, 3)).at(0))
    free = DDIM(SCHEDULE.to(device), eta=0.0).step(*args)
    got = PiGDM(SCHEDULE.to(device), 0.0).step(*args)
    assert_same(got.x_0 + (1 + s**2) * (got.x - free.x), wanted, tol=1e-8)


@pytest.mark.parametrize(
    ("operator", "noise"),
    [
        (zoo.SoftClip(), Gaussian(0.05)),
        (zoo.SoftClip(), Gaussian(0.0)),
        (Mask(zoo.coin(1, 6, p=0.6)[0]), Poisson(200.0)),
    ],
)
def test_any_problem(operator: Operator, noise: Noise) -> None:
    """Nonlinear operators and other noises: y is followed better than the prior alone does."""
    prior: Prior = GaussianPrior(torch.ones(6, dtype=zoo.F64), 0.1 * zoo.spd(6, seed=21))
    x = (1 + 0.5 * zoo.randn(3, 6, seed=2)).clamp(min=0.1)
    problem = Problem.simulate(x, operator, noise)
    got, free = (solve(problem, prior, s) for s in (PiGDM.paper(50), DDIM.ddpm(50)))
    assert bool((2 * problem.misfit(got.x) < problem.misfit(free.x)).all())


def test_refusals() -> None:
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidArgument, match="eta"):
            PiGDM(SCHEDULE, eta)
    problem, prior = zoo.solver_problem()
    unknown = Problem(problem.y, problem.operator, UnknownGaussian())
    with pytest.raises(Unsupported, match="known level"):
        solve(unknown, prior, PiGDM.paper(3))
    assert len(PiGDM.paper(prior=within(0.1, 3.0)).schedule) == 100

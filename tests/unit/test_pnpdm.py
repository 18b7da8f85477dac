"""PnP-DM against its equations and against the posterior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from reddiff import Gaussian, InvalidArgument, Keys, Problem, Unsupported, solve
from reddiff.operators import Mask, Matrix
from reddiff.priors import GaussianPrior
from reddiff.schedules import constant
from reddiff.solvers import PnPDM, inits
from reddiff.solvers.pnpdm import decaying, harmonic
from reddiff.solvers.runs import inner_levels, reverse_sde
from reddiff.solvers.steps.conditional import PerturbAndSolve, Sharpened
from reddiff.solvers.steps.mcmc import HMC, Langevin
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

PAIRS, LANES = 24, 160
COV = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=zoo.F64)


def pairs(sigma: float) -> tuple[Problem, GaussianPrior]:
    """Many copies of two correlated numbers, of which the first is measured as 0.6."""
    eye = torch.eye(PAIRS, dtype=zoo.F64)
    prior = GaussianPrior(torch.zeros(2 * PAIRS, dtype=zoo.F64), torch.kron(eye, COV))
    mask = torch.tensor([1.0, 0.0], dtype=zoo.F64).repeat(PAIRS)
    y = torch.full((LANES, 2 * PAIRS), 0.6, dtype=zoo.F64)
    return Problem(y, Mask(mask), Gaussian(sigma)), prior


def exact(var: float) -> tuple[Tensor, Tensor]:
    """The posterior's mean and covariance of a pair for noise of this variance."""
    k = COV[:, 0] / (COV[0, 0] + var)
    return 0.6 * k, COV - torch.outer(k, COV[0])


@pytest.mark.parametrize("method", [PerturbAndSolve(), HMC(3, 6)])
def test_stationary(method: PerturbAndSolve | HMC) -> None:
    """The x of a long chain: those of the likelihood blurred by rho, not of the one given."""
    sigma, rho = 0.3, 0.3
    problem, prior = pairs(sigma)
    x = solve(problem, prior, PnPDM(constant(40, rho), method, evaluations=12)).x.view(-1, 2)
    mean, cov = exact(sigma**2 + rho**2)
    assert (x.mean(0) - mean).norm() < 0.05 * cov.trace() ** 0.5
    assert (torch.cov(x.mT) - cov).norm() < 0.07 * cov.norm()
    wrong = exact(sigma**2)[1]
    assert (torch.cov(x.mT) - wrong).norm() > 0.15 * wrong.norm()


def test_posterior() -> None:
    """Annealed to a small rho it is the posterior."""
    problem, prior = pairs(0.3)
    x = solve(problem, prior, PnPDM.annealed(100, rho_min=0.1)).x.view(-1, 2)
    mean, cov = exact(0.3**2)
    assert (x.mean(0) - mean).norm() < 0.05 * cov.trace() ** 0.5
    assert (torch.cov(x.mT) - cov).norm() < 0.1 * cov.norm()


@torch.no_grad()
def test_reverse_sde() -> None:
    """SDE-DPM-Solver++(2M) in VP variables, as it was published."""
    prior, n = zoo.gaussian(), 5
    s = torch.tensor([0.3, 2.0, 9.0], dtype=zoo.F64)
    table = inner_levels(s, 0.05 * s, n)
    z, keys = 3 * zoo.randn(3, 6, seed=50), Keys(1, (0, 1, 2))
    got = reverse_sde(prior, z, table, keys.at(0))
    rng, d, h_before = keys.at(0), None, None
    alpha = [(1 + v**2).rsqrt()[:, None] for v in table]
    std = [v[:, None] * a for v, a in zip(table, alpha, strict=True)]
    x_t = alpha[0] * z
    for i in range(n - 1):
        lam = [(alpha[j] / std[j]).log() for j in (i, i + 1)]
        h, d_before = lam[1] - lam[0], d
        d = prior(x_t, std[i][:, 0], alpha[i][:, 0])
        x_t = std[i + 1] / std[i] * (-h).exp() * x_t + alpha[i + 1] * (1 - (-2 * h).exp()) * d
        if d_before is not None:
            slope = (d - d_before) / (h_before / h)
            x_t = x_t + alpha[i + 1] * (1 - (-2 * h).exp()) / 2 * slope
        x_t = x_t + std[i + 1] * (1 - (-2 * h).exp()).sqrt() * rng.randn_like(z)
        h_before = h
    d = prior(x_t, std[n - 1][:, 0], alpha[n - 1][:, 0])
    torch.testing.assert_close(got, d, rtol=0, atol=1e-8)


@torch.no_grad()
def test_transcription() -> None:
    """One step, with the conditional's draw written anew, and the mean of the last two."""
    problem, prior = zoo.solver_problem(3)
    solver = PnPDM(decaying(4, 0.4, 2.0, 0.5), average=2)
    assert solver.schedule.levels.tolist() == pytest.approx([2.0, 1.0, 0.5, 0.4, 0.4])
    keys = Keys(5, zoo.ids(3))
    state = solver.init(problem, prior, keys.at(-1))
    a, sigma, draws = problem.operator.a, problem.noise.sigma[:, None], []
    x = torch.zeros(3, 6, dtype=zoo.F64)
    for k, rho in enumerate([2.0, 1.0, 0.5, 0.4]):
        state = solver.step(state, problem, prior, torch.full((3,), k), keys.at(k))
        rng = keys.at(k)
        center = x + rho * rng.randn_like(x)
        y = problem.y + sigma * rng.randn_like(problem.y)
        p = a.mT @ a / sigma[..., None] ** 2 + torch.eye(6, dtype=zoo.F64) / rho**2
        b = torch.einsum("bij,bi->bj", a, y / sigma**2) + center / rho**2
        z = torch.linalg.solve(p, b)
        s = torch.full((3,), rho, dtype=zoo.F64)
        x = reverse_sde(prior, z, inner_levels(s, 0.05 * s, 10), rng)
        draws.append(x)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(solver.estimate(state), (draws[2] + draws[3]) / 2)


@pytest.mark.slow
@torch.no_grad()
def test_sharpened_leaves_the_posterior_as_it_is() -> None:
    """Exact draws are exact draws after ten steps, at a rho where the plain split blurs y."""
    lanes, sigma, steps = 4000, 0.3, 10
    prior = zoo.gaussian()
    operator = Matrix(zoo.randn(4, 6, seed=60))
    rho = 0.99 * sigma / float(torch.linalg.matrix_norm(operator.a, 2))
    one = Problem(zoo.randn(1, 4, seed=61), operator, Gaussian(sigma))
    posterior = prior.posterior(one)
    start = inits.Given(posterior.sample(lanes)[0])
    many = one.select(torch.zeros(lanes, dtype=torch.int64))
    n = torch.eye(6, dtype=zoo.F64)
    wide = prior.posterior(one.select(torch.zeros(6, dtype=torch.int64)))
    cov = wide.covariance(n)
    seen = operator.a @ cov @ operator.a.mT  # where y speaks, and the two differ
    off = []
    for conditional in (Sharpened(), PerturbAndSolve()):
        solver = PnPDM(constant(steps, rho), conditional, evaluations=20, start=start)
        x = solve(many, prior, solver).x
        assert (x.mean(0) - posterior.mean[0]).norm() < 0.05 * cov.trace().sqrt()
        off.append(float((torch.cov(operator(x).mT) - seen).norm() / seen.norm()))
    assert off[0] < 0.08
    assert off[1] > 0.15


def test_schedules() -> None:
    paper = PnPDM.paper()
    assert paper.schedule.levels[:2].tolist() == pytest.approx([10.0, 9.0])
    assert paper.schedule.levels[34:].tolist() == pytest.approx([0.3] * 27)
    assert paper.average == 20
    short, long = PnPDM.paper(12).schedule.levels, PnPDM.paper(100).schedule.levels
    assert short.tolist() == pytest.approx([*paper.schedule.levels[:60:5].tolist(), 0.3])
    assert long[1].item() == pytest.approx(9)
    assert (1 / harmonic(4, 0.25, 1.0).levels).tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0, 4.0])
    narrow = PnPDM.annealed(5, rho_min=0.1, prior=within(0.2, 3.0)).schedule.levels
    assert (float(narrow[-1]), float(narrow[0])) == pytest.approx((0.2, 3.0))


def test_noiseless() -> None:
    """z explains y, and x is near z."""
    problem, prior = zoo.solver_problem(3)
    clean = replace(problem, noise=Gaussian(0.0))
    x = solve(clean, prior, PnPDM.annealed(40, rho_min=0.01)).x
    assert clean.residual(x).abs().max() < 0.2


def test_refusals() -> None:
    problem, prior = zoo.solver_problem(2)
    nonlinear = Problem(problem.y, zoo.SoftClip(), Gaussian(0.0))
    for conditional in (HMC(), Langevin()):
        with pytest.raises(Unsupported, match="sigma > 0"):
            solve(nonlinear, prior, PnPDM(constant(2, 0.3), conditional))
    for name, value in (("evaluations", 0), ("average", 0), ("end", 0.0), ("end", 1.5)):
        with pytest.raises(InvalidArgument, match=name):
            PnPDM(constant(2, 0.3), **{name: value})
    for make in (lambda: decaying(0, 0.1), lambda: decaying(3, 0.0), lambda: harmonic(3, 2.0, 1.0)):
        with pytest.raises(InvalidArgument, match=r"steps|low, high"):
            make()
    with pytest.raises(InvalidArgument, match="factor"):
        decaying(3, 0.1, 1.0, 1.1)

"""The covariance of the prior's error in the data steps of published solvers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zoo
from laws.compare import assert_same
from reddiff import Gaussian, InvalidArgument, Keys, Problem, Unsupported, solve
from reddiff.operators import Mask
from reddiff.priors import GaussianPrior
from reddiff.schedules import Schedule, karras, vp
from reddiff.solvers import DAPS, DiffPIR, PiGDM
from reddiff.solvers.base_sampler import Diffused, Sampler, ddim
from reddiff.solvers.steps.conditional import PerturbAndSolve
from reddiff.solvers.steps.mcmc import Langevin

pytestmark = pytest.mark.usefixtures("untyped")

TOL = 2e-4  # that of the conjugate gradients
FIRST = torch.zeros(4, dtype=torch.int64)
LEVELS = Schedule(torch.ones(3), torch.tensor([0.7, 0.4, 0.0]))


def exact(problem: Problem, prior: GaussianPrior, x_t: Tensor, s: float, weight: float) -> Tensor:
    """The mean of x given x_t and y, with C_s over the weight about D, by dense algebra."""
    a, eye = problem.operator.a, torch.eye(6, dtype=zoo.F64)
    errors = prior.error_covariance(torch.full((6,), s, dtype=zoo.F64), eye)(eye) / weight
    d, var = prior(x_t, s), (problem.noise.sigma**2)[:, None, None]
    inner = a @ errors @ a.mT + var * torch.eye(5, dtype=zoo.F64)
    gain = errors @ a.mT @ torch.linalg.inv(inner)
    return d + (gain @ (problem.y - problem.operator(d))[..., None])[..., 0]


@pytest.mark.parametrize("lam", [1.0, 2.5])
def test_diffpir_steps_to_the_mean_given_y(lam: float) -> None:
    """Without fresh noise the next x is on the line from x_t to that mean."""
    problem, prior = zoo.solver_problem()
    solver = DiffPIR(LEVELS, lam, zeta=0.0, error_covariance=True)
    x_t = zoo.randn(4, 6, seed=3)
    got = solver.step(Diffused(x_t, x_t), problem, prior, FIRST, Keys(0, zoo.ids(4)).at(0))
    mean = exact(problem, prior, x_t, 0.7, lam)
    assert_same(got.x, mean + 0.4 / 0.7 * (x_t - mean), tol=TOL)


def test_pigdm_takes_the_mean_given_y_for_the_denoiser() -> None:
    problem, prior = zoo.solver_problem()
    x_t, keys = zoo.randn(4, 6, seed=3), Keys(0, zoo.ids(4))
    solver = PiGDM(LEVELS, error_covariance=True)
    got = solver.step(Diffused(x_t, x_t), problem, prior, FIRST, keys.at(0))
    mean = exact(problem, prior, x_t, 0.7, 1.0)
    s, s_next = torch.full((4,), 0.7), torch.full((4,), 0.4)
    assert_same(got.x, ddim(x_t, mean, s, s_next, 1.0, keys.at(0)), tol=TOL)
    assert_same(got.x_0, mean, tol=TOL)


CASES: dict[str, tuple[Sampler, Sampler]] = {
    "diffpir": (DiffPIR(vp(5)), DiffPIR(vp(5), error_covariance=True)),
    "pigdm": (PiGDM(vp(5)), PiGDM(vp(5), error_covariance=True)),
    "daps": (
        DAPS(karras(8, 0.1, 50.0), PerturbAndSolve()),
        DAPS(karras(8, 0.1, 50.0), PerturbAndSolve(), ode_steps=1, error_covariance=True),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_few_levels_have_the_exact_mean(name: str) -> None:
    """Of a Gaussian prior, where the published form is off by several times as much."""
    problem, prior = zoo.solver_problem(1)
    posterior = prior.posterior(problem)
    spread = posterior.sample(2000)[0].std(0)
    off = []
    for solver in CASES[name]:
        draws = solve(problem, prior, solver, runs=2000, check=False).samples[0]
        off.append(float(((draws.mean(0) - posterior.mean[0]) / spread).abs().max()))
        if name == "daps" and solver.error_covariance:  # it is a sampler of exact draws
            assert ((draws.std(0) / spread - 1).abs() < 0.08).all()
    assert off[1] < 0.1  # 4.5 standard errors, if draws are as wide as the posterior
    assert off[0] > 2 * off[1]


def test_refusals_name_the_option() -> None:
    problem, prior = zoo.solver_problem()
    nonlinear = Problem(problem.y, zoo.SoftClip(), Gaussian(0.1))
    for solver in (DiffPIR(vp(3), error_covariance=True), PiGDM(vp(3), error_covariance=True)):
        with pytest.raises(Unsupported, match=r"\(error_covariance=True\): expected a Linear"):
            solve(nonlinear, prior, solver)
    with pytest.raises(InvalidArgument, match=r"conditional: expected PerturbAndSolve\(\) with"):
        DAPS(karras(3, 0.1, 2.0), Langevin(3), error_covariance=True)


def test_without_noise_the_answer_is_consistent_with_y() -> None:
    _, prior = zoo.solver_problem()
    mask = Mask(torch.tensor([1.0, 0, 1, 1, 0, 1], dtype=zoo.F64))
    problem = Problem(mask(zoo.randn(3, 6, seed=4)), mask, Gaussian(0.0))
    for _, solver in CASES.values():
        x = solve(problem, prior, solver, check=False).x
        assert problem.residual(x).abs().max() < 1e-2

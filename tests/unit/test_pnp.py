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
from reddiff.schedules import constant, geometric
from reddiff.solvers import RED, PnPADMM, PnPHQS, inits
from zoo.priors import within

pytestmark = pytest.mark.usefixtures("untyped")

SIGMA = 0.4
BOTH = pytest.mark.parametrize("solver", [PnPHQS, PnPADMM])


def normal(problem: Problem, alpha: Tensor) -> Tensor:
    """A^T A + alpha_k, alpha `(b,)`."""
    a = problem.operator.a
    return a.mT @ a + alpha[:, None, None] * torch.eye(a.shape[-1], dtype=zoo.F64)


def apply(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x[..., None])[..., 0]


def test_dpir_is_the_papers():
    """In its own units, pixels from 0 to 1: alpha_k = lambda sigma^2 / sigma_k^2, 49 to sigma_n."""
    problem, prior = zoo.solver_problem()
    a, sigma = problem.operator.a, problem.noise.sigma / 2
    y = (problem.y + a.sum(2)) / 2  # that of (x + 1) / 2
    z = (inits.scaled_adjoint(problem, Keys(0, zoo.ids(4)).at(STARTING)) + 1) / 2
    last, steps = 5.0, 8
    for level in np.logspace(np.log10(49), np.log10(last), steps) / 255:
        alpha = 0.23 * sigma**2 / level**2
        right = apply(a.mT, y) + alpha[:, None] * z
        x = torch.linalg.solve(normal(problem, alpha), right[..., None])[..., 0]
        z = (prior(2 * x - 1, 2 * level) + 1) / 2
    got = solve(problem, prior, PnPHQS.paper(sigma_n=last / 127.5)).x
    torch.testing.assert_close(got, 2 * z - 1, rtol=0, atol=1e-8)


def test_admm_is_the_papers():
    """Chan et al., Algorithm 1, with rho_k = lambda / sigma_k^2."""
    problem, prior = zoo.solver_problem()
    a, sigma, lam = problem.operator.a, problem.noise.sigma, 0.7
    v = problem.initial_estimate()
    u = torch.zeros_like(v)
    for k in range(9):
        level = 1.5 * (0.1 / 1.5) ** (k / 8)
        alpha = sigma**2 * lam / level**2
        right = apply(a.mT, problem.y) + alpha[:, None] * (v - u)
        x = torch.linalg.solve(normal(problem, alpha), right[..., None])[..., 0]
        v = prior(x + u, level)
        u = u + (x - v)
    got = solve(problem, prior, PnPADMM(geometric(9, 0.1, 1.5), lam)).x
    torch.testing.assert_close(got, v, rtol=0, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_admm_converges_to_the_posterior_mean(sigma):
    """On a Gaussian prior, whatever the level."""
    problem, prior = zoo.solver_problem()
    wanted = prior.posterior(problem).mean
    x = solve(problem, prior, PnPADMM(constant(300, sigma))).x
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-6)


def test_admm_with_a_weight_converges_to_the_weighted_mode():
    problem, prior = zoo.solver_problem()
    lam = 0.3
    cov = prior.q @ torch.diag(prior.c) @ prior.q.mT / lam
    wanted = GaussianPrior(prior.mean, cov).posterior(problem).mean
    x = solve(problem, prior, PnPADMM(constant(300, SIGMA), lam)).x
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-6)


def test_hqs_converges_to_what_the_denoiser_makes_of_reds_fixed_point():
    """x = the root of A^T (A x - y) / sigma_y^2 + lam (C + s^2)^-1 (x - m), then D(x, s)."""
    problem, prior = zoo.solver_problem()
    lam = 0.23
    cov = prior.q @ torch.diag(prior.c) @ prior.q.mT + SIGMA**2 * torch.eye(6, dtype=zoo.F64)
    root = GaussianPrior(prior.mean, cov / lam).posterior(problem).mean
    z = solve(problem, prior, PnPHQS(constant(300, SIGMA), lam)).x
    torch.testing.assert_close(z, prior(root, SIGMA), rtol=0, atol=1e-8)
    red = solve(problem, prior, RED(constant(300, SIGMA), lam / SIGMA**2)).x
    torch.testing.assert_close(red, root, rtol=0, atol=1e-8)


@BOTH
def test_starts_where_it_is_told(solver):
    problem, prior = zoo.solver_problem()
    schedule = geometric(4, 0.1, 1.0)
    assert torch.equal(
        solve(problem, prior, solver(schedule), stop_at=0).x, problem.initial_estimate()
    )
    other = solver(schedule, start=inits.zeros)
    assert solve(problem, prior, other, stop_at=0).x.eq(0).all()


@BOTH
def test_draws_nothing(solver):
    problem, prior = zoo.solver_problem()
    made = solver(geometric(6, 0.1, 1.0))
    one, two = (solve(problem, prior, made, seed=seed).x for seed in (0, 1))
    assert torch.equal(one, two)


@BOTH
@pytest.mark.parametrize("noise", [Gaussian(0.05), Poisson(400.0)])
def test_any_operator_and_noise_will_do(solver, noise):
    prior = GaussianPrior(torch.full((6,), 0.3, dtype=zoo.F64), 0.1 * zoo.spd(6))
    x = (0.3 + 0.15 * zoo.randn(20, 6)).clamp(min=0.05)
    operator = zoo.SoftClip() if isinstance(noise, Gaussian) else Mask(torch.ones(6).double())
    problem = Problem.simulate(x, operator, noise)
    got = solve(problem, prior, solver(geometric(20, 0.05, 1.0), 1.0))
    assert float(got.residual_ratio.median()) < 2
    assert (got.x - x).abs().median() < 0.05


@BOTH
def test_without_noise_the_answer_explains_y_to_the_last_level(solver):
    problem, prior = zoo.solver_problem()
    exact = Problem(problem.y, problem.operator, Gaussian(0.0))
    x = solve(exact, prior, solver(geometric(30, 0.01, 1.0))).x
    assert (exact.residual(x).norm(dim=1) < 0.01 * exact.y.norm(dim=1)).all()


@BOTH
@pytest.mark.parametrize("lam", [0.0, -1.0, math.inf, math.nan])
def test_lam_is_positive(solver, lam):
    with pytest.raises(InvalidArgument, match="lam: expected a positive finite number"):
        solver(constant(3, SIGMA), lam)


@BOTH
def test_refuses_noise_of_unknown_level(solver):
    problem, prior = zoo.solver_problem()
    unknown = Problem(problem.y, problem.operator, UnknownGaussian())
    with pytest.raises(Unsupported, match=f"{solver.__name__}: expected noise with a known level"):
        solve(unknown, prior, solver(constant(3, SIGMA)))


def test_the_preset_stays_in_the_priors_range():
    levels = PnPHQS.paper().schedule.levels[:-1]
    assert len(levels) == 8
    assert levels[[0, -1]].tolist() == pytest.approx([49 / 127.5, 7.65 / 127.5])
    for low, high in ((0.1, 0.3), (0.5, 2.0), (0.01, 0.02)):
        levels = PnPHQS.paper(prior=within(low, high)).schedule.levels[:-1]
        assert low * (1 - 1e-9) <= levels.min() <= levels.max() <= high * (1 + 1e-9)
    with pytest.raises(InvalidArgument, match="sigma_n: expected a number above 0, got 0"):
        PnPHQS.paper(sigma_n=0.0)

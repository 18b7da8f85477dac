"""`benchmarks/ablation.py`, on a Gaussian random field."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests import scripts

from reddiff import Gaussian, Keys, Problem, solve
from reddiff.operators import BlockMean, CircularBlur, gaussian_psf
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

ablation = scripts.benchmark("ablation")

PRIOR = GaussianRandomField(-2.2, std=0.5)


@pytest.fixture(params=[BlockMean(2), CircularBlur(gaussian_psf(1.0, 3))], ids=["mean", "blur"])
def problem(request: pytest.FixtureRequest) -> Problem:
    x = PRIOR.sample(torch.empty(2, 1, 16, 16, dtype=torch.float64), Keys(0, (0, 1)).at(0))
    sigma = torch.tensor([0.05, 0.2], dtype=torch.float64)
    return Problem.simulate(x, request.param, Gaussian(sigma))


@pytest.mark.parametrize("name", list(ablation.VARIANTS))
def test_every_variant_runs(name: str, problem: Problem) -> None:
    few = replace(ablation.VARIANTS[name], steps=8)
    for x in ablation.run(few, problem, PRIOR):
        assert x.shape == (2, 1, 16, 16)
        assert torch.isfinite(x).all()


@pytest.mark.parametrize(("name", "realism"), [("default", None), ("rho 0, beta 0.8", 0.0)])
def test_the_default_is_the_solver(name: str, realism: float | None, problem: Problem) -> None:
    x, _ = ablation.run(ablation.VARIANTS[name], problem, PRIOR)
    solver = NoiseAwareREDDiff.default()
    if realism is not None:
        solver = replace(solver, realism=realism)
    torch.testing.assert_close(x, solve(problem, PRIOR, solver).x, rtol=0, atol=1e-6)


def test_the_residual_of_the_ball_is_that_of_the_noise(problem: Problem) -> None:
    setting = replace(ablation.VARIANTS["residual ball"], steps=8)
    _, last = ablation.run(setting, problem, PRIOR)
    wanted = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(problem.residual_ratio(last), wanted, rtol=1e-6, atol=0)

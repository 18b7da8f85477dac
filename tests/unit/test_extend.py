"""The code of docs/extend.md runs and has the properties that the page states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reddiff import Gaussian, Keys, Problem, check, solve
from reddiff.hooks import Hook
from reddiff.operators import Identity, Mask, Operator
from reddiff.priors import GaussianRandomField, Prior
from reddiff.schedules import karras
from reddiff.solvers import Solver

pytestmark = pytest.mark.usefixtures("untyped")

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """All that the page defines."""
    names: dict[str, Any] = {"dataclass": dataclass, "Operator": Operator, "Prior": Prior}
    names |= {"Solver": Solver, "Tensor": Tensor, "Hook": Hook}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, names)
    return names


def field(seed: int) -> tuple[Problem, GaussianRandomField, Tensor]:
    prior, ids = GaussianRandomField(), (0, 1, 2, 3)
    x = prior.sample(torch.zeros(4, 1, 32, 32, dtype=torch.float64), Keys(seed, ids).at(0))
    known = torch.rand(32, 32, generator=torch.Generator().manual_seed(seed)) < 0.3
    return Problem.simulate(x, Mask(known.double()), Gaussian(0.04), seed=seed), prior, x


def error(x: Tensor, truth: Tensor) -> float:
    """The mean square error in dB, lower is better."""
    return float(10 * (x - truth).square().mean().log10())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_solver_is_as_good_as_the_page_says(page, seed):
    problem, prior, truth = field(seed)
    x = solve(problem, prior, page["NullSpace"](karras(50)), seed=seed).x
    mean = prior.posterior(problem).mean
    assert 0 < error(x, truth) - error(mean, truth) < 3  # a draw is 3 dB above


def test_the_hook_ends_runs_that_fit(page):
    problem, prior, _ = field(0)
    run = solve(problem, prior, page["Denoise"](karras(20, 0.05, 5.0)), hooks=[page["Fits"](0.1)])
    recorded = run.history["residual"][..., 0]
    for lane, steps in enumerate(run.steps[:, 0].tolist()):
        assert (recorded[: steps - 1, lane] >= 0.1).all()
        assert steps == 20 or recorded[steps - 1, lane] < 0.1


def test_the_small_solver_denoises(page):
    prior = GaussianRandomField()
    x = prior.sample(torch.zeros(2, 1, 32, 32, dtype=torch.float64), Keys(0, (0, 1)).at(0))
    problem = Problem.simulate(x, Identity(), Gaussian(0.3))
    got = solve(problem, prior, page["Denoise"](karras(3, 0.05, 0.3))).x
    assert error(got, x) < error(problem.y, x) - 3


def test_the_operator_and_the_prior_run(page):
    assert check(page["Gamma"](2.2), x=0.1 + torch.rand(2, 3, 8, 8))
    mine = page["Mine"](lambda x, sigma: x / (1 + sigma**2))
    problem = Problem(torch.rand(2, 3, 8, 8), Identity(), Gaussian(0.1))
    assert solve(problem, mine).x.isfinite().all()

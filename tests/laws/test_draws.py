"""Draws of the default solver have the mean and the variance of a Gaussian posterior."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import zoo
from reddiff import Gaussian, Problem, operator, solve
from reddiff.operators import Diagonal, LinearOperator
from reddiff.priors import GaussianPrior
from reddiff.solvers import NoiseAwareREDDiff

RUNS = 2000  # relative standard error of a variance: 3.2 %
PRIOR = torch.tensor([1.0, 1.0, 0.1, 0.01, 1.0, 1.0, 0.1, 0.05], dtype=zoo.F64)
GAIN = torch.tensor([1.0, 0.5, 1.0, 0.3, 0.1, 0.0, 0.0, 0.0], dtype=zoo.F64)
TURN = torch.linalg.qr(zoo.randn(8, 8))[0]
FORMS: dict[str, tuple[Callable[[], LinearOperator], torch.Tensor]] = {
    "spectral": (lambda: Diagonal(GAIN), torch.eye(8, dtype=zoo.F64)),
    "function": (
        lambda: operator(lambda x: (GAIN * x) @ TURN, example=GAIN[None], linear=True),
        TURN,
    ),
}


@pytest.mark.parametrize(
    ("form", "sigma"), [("spectral", 0.01), ("spectral", 0.1), ("function", 0.1)]
)
def test_each_direction_has_the_variance_of_the_posterior(form, sigma, measure):
    prior = GaussianPrior(torch.zeros(8, dtype=zoo.F64), PRIOR.diag())
    y = sigma * zoo.randn(1, 8) + GAIN * PRIOR.sqrt()
    make, turn = FORMS[form]
    problem = Problem(y @ turn, make(), Gaussian(sigma))
    solver = NoiseAwareREDDiff.default(50, realism=1.0)
    x = solve(problem, prior, solver, runs=RUNS, check=False).samples[0]
    wanted = 1 / (1 / PRIOR + (GAIN / sigma) ** 2)
    mean = wanted * GAIN * y[0] / sigma**2
    ratio = x.var(0) / wanted
    off = float(((x.mean(0) - mean).abs() / wanted.sqrt()).max())
    measure(
        f"{form}, sigma_y {sigma}: variance {ratio.min():.3f} to {ratio.max():.3f}, mean {off:.3f}"
    )
    assert abs(ratio.mean() - 1) < 0.045  # 5 seeds: at most .032; with momentum 1/2, .065 to .115
    assert ratio.min() > 0.84
    assert ratio.max() < 1.18
    assert off < 0.12

"""A step applies a user's operator no more often than the algorithm requires."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import zoo
from reddiff import Gaussian, Huber, Laplace, Poisson, Problem, UnknownGaussian, iterate
from reddiff.noise import DiagonalGaussian
from reddiff.operators import LinearOperator, Operator
from reddiff.schedules import karras
from reddiff.solvers import DPS, RSD, NoiseAwareREDDiff, Solver
from reddiff.units import from_pixels

CALLS: Counter[str] = Counter()


class Curved(Operator):
    """x + x^3 / 10."""

    def forward(self, x):
        CALLS["forward"] += 1
        return x + 0.1 * x**3

    def x_shape(self, y_shape):
        return y_shape


class Blend(LinearOperator):
    """x and half its neighbor, without a closed form."""

    def forward(self, x):
        CALLS["forward"] += 1
        return x + x.roll(1, -1) / 2

    def adjoint(self, y):
        CALLS["adjoint"] += 1
        return y + y.roll(-1, -1) / 2

    def x_shape(self, y_shape):
        return y_shape


def calls(operator: Operator, solver: Solver) -> list[dict[str, int]]:
    """The calls of each step."""
    prior = zoo.solver_problem()[1]
    y = zoo.randn(2, 6)
    run = iterate(Problem(y, operator, Gaussian(0.1)), prior, solver, check=False)
    counts = []
    for _ in range(solver.steps):
        before = Counter(CALLS)
        next(run)
        counts.append(dict(Counter(CALLS) - before))
    return counts[1:]  # the first comes with the start


def test_dps_calls_a_once_and_pulls_back_once():
    assert calls(Blend(), DPS(karras(4))) == [{"forward": 1, "adjoint": 1}] * 3
    assert calls(Curved(), DPS(karras(4))) == [{"forward": 1}] * 3


def test_the_default_calls_a_linear_operator_for_two_systems():
    """A and A^T for each system and each of its conjugate gradient steps, and one A for noise."""
    for step in calls(Blend(), NoiseAwareREDDiff.default(4)):
        assert 0 <= step["forward"] - step["adjoint"] <= 1
        assert step["adjoint"] <= 12


@pytest.mark.parametrize("noise", [Gaussian(torch.tensor([0.1, 0.2])), UnknownGaussian()])
@pytest.mark.parametrize("operator", [Blend(), Curved()], ids=["linear", "curved"])
@pytest.mark.parametrize(
    "solver", [NoiseAwareREDDiff.default(3), DPS(karras(3)), RSD(karras(3), particles=2)]
)
def test_a_run_does_not_validate_a_problem_again(monkeypatch, noise, operator, solver):
    if isinstance(noise, UnknownGaussian) and not isinstance(solver, NoiseAwareREDDiff):
        pytest.skip("the level must be known")
    prior = zoo.solver_problem()[1]
    problem = Problem(zoo.randn(2, 6), operator, noise)
    made = []
    check = Problem.__post_init__
    monkeypatch.setattr(Problem, "__post_init__", lambda self: (made.append(self), check(self)))
    for _ in iterate(problem, prior, solver, runs=2, tol=0.5):
        pass
    assert made == []
    Problem(problem.y, operator, noise)
    assert len(made) == 1


def test_noise_in_other_units():
    y, a = zoo.randn(3, 5), zoo.randn(3, 5, seed=1)
    sigma = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    for noise in (Gaussian(sigma), DiagonalGaussian(sigma[:, None]), Laplace(0.2), Huber(0.3)):
        twice = noise.scaled(2.0)
        shift = 5 * torch.log(torch.tensor(2.0).double())
        got = twice.nll(2 * y, 2 * a, torch.ones_like(y, dtype=torch.bool))
        torch.testing.assert_close(
            got, noise.nll(y, a, torch.ones_like(y, dtype=torch.bool)) + shift
        )
    assert isinstance(UnknownGaussian().scaled(2.0), UnknownGaussian)
    assert Poisson(10.0).scaled(2.0) is None
    assert not isinstance(from_pixels(y.abs(), Blend(), Poisson(10.0)).operator, LinearOperator)

"""Operators of libraries that compute in float32, and adjoints that are slightly wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

import zoo
from reddiff import Gaussian, InvalidArgument, Problem, check, solve
from reddiff.operators import Identity, LinearOperator, Matrix
from reddiff.operators.checks import Verdict
from reddiff.operators.custom import from_linear_operator, operator
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

A = zoo.randn(40, 64, seed=5).float().numpy()
OFF = A.T * (1 + 2e-2 * zoo.randn(64, 40, seed=6).numpy()).astype(np.float32)


def vectors(dtype: Any, back: Any = A.T) -> Any:
    """A library's operator, in float32 inside whatever it says."""
    return scipy.sparse.linalg.LinearOperator(
        A.shape,
        matvec=lambda v: A @ v.astype(np.float32),
        rmatvec=lambda v: back @ v.astype(np.float32),
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, None])
@pytest.mark.parametrize("given", [torch.float32, torch.float64])
def test_code_in_float32_is_tried_in_float32(dtype: Any, given: torch.dtype) -> None:
    own = from_linear_operator(vectors(dtype), x_shape=(1, 8, 8))
    wanted = Matrix(torch.as_tensor(A).double(), shape=(1, 8, 8))
    x = zoo.randn(2, 1, 8, 8)
    assert own(x.to(given)).dtype == given
    torch.testing.assert_close(own(x.to(given)).double(), wanted(x), rtol=1e-4, atol=1e-4)
    assert check(own, x=x.to(given)), str(check(own, x=x.to(given)))
    problem = Problem.simulate(x.to(given), own, Gaussian(0.5))
    run = solve(problem, GaussianRandomField().to(given), NoiseAwareREDDiff.default(3))
    assert torch.isfinite(run.x).all()


def test_an_operator_on_vectors_that_is_not_linear() -> None:
    curved = scipy.sparse.linalg.LinearOperator(
        (3, 3), matvec=lambda v: v**2, rmatvec=lambda v: v, dtype=float
    )
    words = r"a: expected a linear operator: matvec\(c u \+ v\) .* got a difference of"
    with pytest.raises(InvalidArgument, match=words):
        from_linear_operator(curved)


def test_functions_in_float32_tried_in_float64_are_told_so() -> None:
    example = torch.zeros(1, 64, dtype=zoo.F64)
    words = "linear: expected a forward with .* because an adjoint is given, got .* code in float32"
    with pytest.raises(InvalidArgument, match=words):
        operator(
            lambda a: A @ a.astype(np.float32),
            lambda y: A.T @ y.astype(np.float32),
            example=example,
            numpy=True,
        )


def off(tolerance: float | None) -> LinearOperator:
    made = from_linear_operator(
        vectors(np.float32, OFF), x_shape=(1, 8, 8), adjoint_tolerance=tolerance
    )
    assert isinstance(made, LinearOperator)
    return made


def test_an_adjoint_that_is_off_is_refused_unless_asked_for() -> None:
    words = r"adjoint: expected .* \(adjoint_tolerance=... accepts an .* which differ by "
    with pytest.raises(InvalidArgument, match=words):
        off(None)
    own, x = off(0.02), 0.5 * zoo.randn(2, 1, 8, 8).float()
    report = check(own, x=x)
    found = next(c for c in report.checks if c.name == "adjoint")
    assert bool(report)
    assert found.verdict is Verdict.NOTE
    assert "Within the adjoint_tolerance of 0.02" in found.advice
    with pytest.raises(InvalidArgument, match="adjoint: expected <A u, w>"):
        from_linear_operator(
            vectors(np.float32, 1.2 * A.T), x_shape=(1, 8, 8), adjoint_tolerance=0.02
        )


def test_a_run_with_an_adjoint_that_is_off(measure: Any) -> None:
    """Its result is as far off as the adjoint, composed too."""
    x = 0.5 * zoo.randn(2, 1, 8, 8).float()
    exact = from_linear_operator(vectors(np.float32), x_shape=(1, 8, 8))
    y = Problem.simulate(x, exact, Gaussian(0.5)).y
    method, prior = NoiseAwareREDDiff.default(8, realism=0.0), GaussianRandomField().float()
    wanted = solve(Problem(y, exact, Gaussian(0.5)), prior, method).x
    for own in (off(0.02), off(0.02) @ Identity()):
        got = solve(Problem(y, own, Gaussian(0.5)), prior, method).x
        apart = float((got - wanted).norm() / wanted.norm())
        measure(f"an adjoint 2 % off: the result of a run is {apart:.1e} off")
        assert apart < 0.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: operator(Identity(), adjoint_tolerance=0.1),
            "None, because forward is an Operator",
        ),
        (
            lambda: operator(lambda x: x, x_shape=(3,), adjoint_tolerance=0.1),
            "a number between 0 and 1, together with an adjoint, got 0.1",
        ),
        (
            lambda: operator(lambda x: x, lambda y: y, x_shape=(3,), adjoint_tolerance=2.0),
            "a number between 0 and 1, together with an adjoint, got 2.0",
        ),
    ],
)
def test_tolerances_that_mean_nothing(make: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"adjoint_tolerance: expected {words}"):
        make()


def test_operators_that_cannot_be_copied_are_not_said_to_fail() -> None:
    """Libraries hold modules and handles."""

    class Holds:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        handle = np  # a module

        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("cannot pickle 'module' object")

    report = check(operator(Holds(), x_shape=(3,)), x_shape=(3,))
    assert report
    assert next(c for c in report.checks if c.name == "dtype").verdict is Verdict.SKIPPED

"""Each check passes on the operators of the zoo, and fails on the mistake it is meant to find."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import zoo
from reddiff import Gaussian, InvalidArgument, Problem, check, iterate, solve
from reddiff.operators import LinearOperator, Mask, Matrix, Operator
from reddiff.operators.base import Shape
from reddiff.operators.checks import Verdict
from reddiff.operators.linear import ClosedForm
from reddiff.priors import GaussianRandomField
from reddiff.schedules import vp
from reddiff.solvers import REDDiff


class AnyOf(Operator):
    """Any function of x, of the shape of x."""

    def __init__(self, function: Callable[[Tensor], object], back: int = 0) -> None:
        super().__init__()
        self.function, self.back = function, back

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[return-value]

    def x_shape(self, y_shape: Shape) -> Shape:
        return (*y_shape[:-1], y_shape[-1] + self.back)


class AnyLinear(LinearOperator):
    """Any function and any adjoint, said to be linear."""

    def __init__(self, function, adjoint) -> None:
        super().__init__()
        self.function, self.back = function, adjoint

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.back(y)

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape


class WrongInverse(ClosedForm):
    """A = 2 with the inverse of A = 1."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def adjoint(self, y: Tensor) -> Tensor:
        return 2 * y

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape

    def invert(self, b: Tensor, lam: Tensor | float, weight: Tensor | float = 1.0) -> Tensor:
        return b / (lam + weight)


class Restless(nn.Module):
    """A new random gain at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + torch.rand((), generator=self.generator, dtype=x.dtype))


class Stored(Operator):
    """A parameter that `.to` does not move."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.full((1,), 2.0, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def x_shape(self, y_shape: Shape) -> Shape:
        return y_shape


def written(x: Tensor) -> Tensor:
    return x.mul_(2)


def same(x: Tensor) -> Tensor:
    return x


def over_lanes(x: Tensor) -> Tensor:
    return x / x.norm()


BROKEN = {
    "not a tensor": (AnyOf(lambda x: x.tolist()), "shapes", ["list"]),
    "complex": (AnyOf(torch.fft.fft2), "shapes", ["complex", "view_as_real"]),
    "lanes lost": (AnyOf(lambda x: x.sum(0, keepdim=True)), "shapes", ["(3, 1, 4, 5)", "(1, 1,"]),
    "nan": (AnyOf(lambda x: x.log()), "shapes", ["nan or inf"]),
    "x_shape": (AnyOf(same, back=2), "shapes", ["(1, 4, 5)", "(1, 4, 7)"]),
    "x is written to": (AnyOf(written), "function", ["clone"]),
    "random": (AnyOf(Restless()), "function", ["differ"]),
    "norm over the batch": (AnyOf(over_lanes), "lanes", ["axis 0"]),
    "offset": (AnyLinear(lambda x: x + 1, same), "linearity", ["off by"]),
    "absolute value": (AnyLinear(torch.abs, same), "linearity", ["off by"]),
    "scaled adjoint": (AnyLinear(lambda x: 2 * x, lambda y: y / 2), "adjoint", ["ratio is 4"]),
    "flip": (AnyLinear(same, lambda y: y.flip(-1)), "adjoint", ["<A x, y>", "<x, A^T y>"]),
    "adjoint's shape": (AnyLinear(same, lambda y: y[..., :-1]), "adjoint", ["(3, 1, 4, 4)"]),
    "detached": (AnyOf(lambda x: x.detach()), "gradient", ["grad"]),
    "rounded": (AnyOf(lambda x: (100 * x).round()), "gradient", ["straight-through"]),
    "root": (AnyOf(lambda x: (x - x).abs().sqrt() + x), "gradient", ["nan or inf"]),
    "inverse": (WrongInverse(), "inverse", ["off by"]),
    "stored": (Stored(), "dtype", ["register_buffer"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_operator_is_found_and_said_what_to_do(name):
    operator, where, words = BROKEN[name]
    x = 0.5 * zoo.randn(3, 1, 4, 5)
    report = check(operator, x=x.float() if name == "stored" else x)
    assert not report
    (failure,) = (f for f in report.failures if f.name == where)
    assert failure.advice
    text = f"{failure.expected} {failure.got} {failure.advice}"
    assert all(word in text for word in words), text
    assert f"{where}: expected {failure.expected}" in str(report)


@pytest.mark.parametrize(
    "name",
    ["random", "flip", "scaled adjoint", "offset", "rounded", "detached", "x is written to"],
)
def test_solve_refuses_a_broken_operator_unless_told_not_to_look(name):
    operator, where, _ = BROKEN[name]
    prior = GaussianRandomField()
    problem = Problem(zoo.randn(2, 1, 4, 5), operator, Gaussian(0.1))
    solver = REDDiff(vp(2))
    for run in (solve, lambda *a: next(iterate(*a))):
        with pytest.raises(InvalidArgument, match=where) as caught:
            run(problem, prior, solver)
        assert "check=False" in str(caught.value)
    if name in ("flip", "scaled adjoint"):
        solve(problem, prior, solver, check=False)


def test_both_dot_products_are_in_the_error():
    flip = AnyLinear(same, lambda y: y.flip(-1))
    problem = Problem(zoo.randn(2, 1, 4, 5), flip, Gaussian(0.1))
    with pytest.raises(InvalidArgument, match=r"<A x, y> = \S+, <x, A\^T y> = \S+"):
        solve(problem, GaussianRandomField())


def test_the_report_is_a_table_and_says_what_passed():
    report = check(Matrix(zoo.randn(4, 6)), x_shape=(6,))
    assert report
    assert not report.failures
    lines = str(report).splitlines()
    assert len(lines) == len(report.checks)
    assert [line.split()[0] for line in lines] == [c.name for c in report.checks]


def test_a_linear_function_that_is_not_declared_is_a_note():
    report = check(AnyOf(lambda x: 3 * x), x_shape=(1, 4, 5))
    assert report
    (note,) = (c for c in report.checks if c.verdict is Verdict.NOTE)
    assert note.name == "linearity"
    assert "Declare" in note.advice


def test_an_extreme_scale_is_a_note():
    report = check(Matrix(1e-6 * zoo.randn(4, 6)), x_shape=(6,))
    assert [c.name for c in report.checks if c.verdict is Verdict.NOTE] == ["norm"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({}, "x_shape"), ({"x": zoo.randn(1, 3), "x_shape": (3,)}, "x_shape")],
)
def test_one_of_x_and_its_shape_is_asked_for(arguments, word):
    with pytest.raises(InvalidArgument, match=word):
        check(Mask(torch.ones(3)), **arguments)

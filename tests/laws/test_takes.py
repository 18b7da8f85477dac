"""Takes: every solver runs on every kind of problem, or says in one error that it has no theory.

REFUSED is the whole list of what is refused; all else must run, to finite answers that depend on y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import zoo
from reddiff import (
    Gaussian,
    Keys,
    Noise,
    Poisson,
    Problem,
    Status,
    Unsupported,
    solve,
)
from reddiff.operators import Mask, Operator
from reddiff.priors import Prior
from reddiff.random import DRAWING
from zoo.noises import LANES, Rates, matrix

STEPS = 3


def composed() -> Operator:
    """A linear operator of which no spectrum is known."""
    return Mask(zoo.coin(1, 5, p=0.6, seed=3)[0]) @ matrix()


PROBLEMS: dict[str, tuple[Callable[[], Operator], Noise]] = {
    "no-spectrum": (composed, Gaussian(0.2)),
    "nonlinear": (zoo.SoftClip, Gaussian(0.2)),
    "poisson": (Rates, Poisson(20.0)),
    "noiseless": (matrix, Gaussian(0.0)),
    "some-noiseless": (matrix, Gaussian(torch.tensor([0.0, 0.2, 0.0], dtype=zoo.F64))),
}
SPECTRAL = {"ddrm", "ddnm-plus"}
COVARIANCE = {"diffpir-covariance", "pigdm-covariance", "daps-covariance"}
LINEAR = {"ddnm", "mcg", "daps-exact"} | COVARIANCE | SPECTRAL
GAUSSIAN = {
    "tds",
    "tds-always",
    "jfps",
    "jfps-default",
    "mmps",
    "mmps-paper",
    "tmpd",
    "tmpd-paper",
} | LINEAR
DENSITY = {"tds", "tds-always", "nats", "everything", "daps", "pnpdm-hmc", "ula"}
REFUSED = {
    "no-spectrum": SPECTRAL,
    "nonlinear": LINEAR,
    "poisson": GAUSSIAN,
    "noiseless": DENSITY,
    "some-noiseless": DENSITY,
}

NOISES = {case.name: (case.operator, case.noise) for case in zoo.NOISES}
PROBLEMS |= NOISES
REFUSED |= {"diagonal": SPECTRAL, **dict.fromkeys([*NOISES][1:], GAUSSIAN)}
# Those that look at the noise, each in a way of its own, and two that refuse.
LOOKING = {"noise-aware", "nats", "dps", "pigdm", "diffpir", "daps", "pnpdm-hmc", "sitcom", "ula"}
LOOKING |= {"ddrm", "jfps", "mmps"}


def tried() -> list[tuple[zoo.SolverCase, str]]:
    """Every method on every problem, but a few on the less common noises."""
    return [
        (case, name)
        for case in zoo.METHODS
        for name in PROBLEMS
        if name not in NOISES or case.name in LOOKING
    ]


def pose(name: str, device: torch.device) -> tuple[Problem, Prior]:
    make, noise = PROBLEMS[name]
    prior, operator = zoo.gaussian().to(device), make().to(device)
    ids = zoo.ids(LANES)
    x = prior.sample(torch.empty(LANES, 6, dtype=zoo.F64, device=device), Keys(1, ids).at(DRAWING))
    return Problem.simulate(x, operator, noise, ids=ids), prior


@pytest.mark.parametrize(
    ("case", "name"), [pytest.param(*one, id=f"{one[0].name}-{one[1]}") for one in tried()]
)
def test_runs_or_refuses(case: zoo.SolverCase, name: str, device: torch.device) -> None:
    problem, prior = pose(name, device)
    solver = case.make(STEPS)
    if case.name in REFUSED[name]:
        with pytest.raises(Unsupported, match=r": expected .*, got "):
            solve(problem, prior, solver)
        return
    result = solve(problem, prior, solver, seed=5)
    assert torch.isfinite(result.x).all()
    assert result.status.eq(int(Status.COMPLETED)).all()
    factor = 0.5 if name == "clipped" else 1.5  # beyond its limits there is no y
    other = solve(replace(problem, y=factor * problem.y), prior, solver, seed=5)
    if case.name != "sds":  # it knows of y by its start alone, which a nonlinear A has none of
        assert torch.equal(other.x, result.x) == case.blind


@pytest.mark.typed
@zoo.every("case", zoo.SOLVERS)
def test_single_precision(case: zoo.SolverCase, device: torch.device) -> None:
    """Everything stays in the dtype of y."""
    problem, prior = zoo.solver_problem(LANES, device)
    single = Problem(
        problem.y.float(), problem.operator.float(), Gaussian(problem.noise.std(problem.y)[:, 0])
    )
    if case.name == "start-given":
        return  # it is given in double
    x = solve(single, prior.float(), case.make(STEPS), seed=5).x
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()

"""A lane that turns NaN is DIVERGED, keeps its last finite estimate, and disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.public import public
from torch import Tensor

import zoo
from laws import test_takes as takes
from reddiff import Gaussian, Problem, Snapshot, Status, UnknownGaussian, iterate, noise, solve
from reddiff.hooks import History, Hook, Progress
from reddiff.operators import Operator
from reddiff.priors import Covariance, Prior
from reddiff.random import Rng
from reddiff.schedules import vp
from reddiff.solvers import REDDiff

STEPS, LANES, SICK = 5, 4, 2


class Poisoned(Prior):
    """Gives one lane a bad value from the moment it is told to.

    Arguments:
        inner: The prior behind it.
        value: The bad value.
        lanes: How many lanes there are.
    """

    trusted = True

    def __init__(self, inner: Prior, value: float, lanes: int = LANES) -> None:
        super().__init__(inner.shape)
        self.count = lanes
        self.inner, self.value, self.armed = inner, value, False

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The inner denoiser, or not."""
        out = self.inner.denoise(x, sigma).clone()
        if self.armed:
            out.view(self.count, -1, *out.shape[1:])[SICK] = self.value
        return out

    def error_covariance(self, s: Tensor, like: Tensor) -> Covariance:
        return self.inner.error_covariance(s, like)


class Arm(Hook):
    """Arms a poisoned prior after so many steps."""

    def __init__(self, prior: Poisoned, after: int) -> None:
        self.prior, self.after = prior, after
        prior.armed = after == 0

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Arm it in time."""
        self.prior.armed = progress.step >= self.after
        return None


@zoo.every("case", zoo.SOLVERS)
def test_lane(case: zoo.SolverCase, device: torch.device) -> None:
    """In the first step and in a later one; the law below has both bad values in one step."""
    problem, prior = zoo.solver_problem(LANES, device)
    solver = case.make(STEPS)
    clean = [p.x.clone() for p in iterate(problem, prior, solver, seed=5)]
    start = solve(problem, prior, solver, seed=5, stop_at=0).x
    others = [i for i in range(LANES) if i != SICK]
    for after, value, wanted in ((0, torch.nan, start), (3, torch.inf, clean[2])):
        poisoned = Poisoned(prior, value)
        got = solve(problem, poisoned, solver, seed=5, hooks=[Arm(poisoned, after), History()])
        assert torch.equal(got.x[others], clean[-1][others])
        assert torch.equal(got.x[SICK], wanted[SICK])
        assert got.status[SICK].item() == Status.DIVERGED
        assert got.steps[SICK].item() == after
        assert got.status[others].eq(int(Status.COMPLETED)).all()
        assert got.steps[others].eq(STEPS).all()
        assert f"lane {SICK}, run 0, step {after}: DIVERGED." in got.report()
        change = got.history["change"][:, :, 0]
        assert torch.isnan(change[after:, SICK]).all()
        assert torch.isfinite(change[:, others]).all()


def unknown(make: Callable[[], Operator], device: torch.device) -> tuple[Problem, Prior]:
    prior = zoo.gaussian().to(device)
    operator = make().to(device)
    x = zoo.randn(takes.LANES, 6, seed=9).to(device)
    problem = Problem.simulate(x, operator, Gaussian(0.2), ids=zoo.ids(takes.LANES))
    return replace(problem, noise=UnknownGaussian()), prior


def stacked(device: torch.device) -> tuple[Problem, Prior]:
    parts = [takes.pose(name, device) for name in ("laplace", "no-spectrum")]
    return Problem.stack([problem for problem, _ in parts]), parts[0][1]


EVERY = {name: partial(takes.pose, name) for name in takes.PROBLEMS} | {
    "unknown": partial(unknown, takes.matrix),
    "unknown-no-spectrum": partial(unknown, takes.composed),
    "unknown-nonlinear": partial(unknown, zoo.SoftClip),
    "stacked": stacked,
}
ALL = {"noise-aware", "nats", "daps"}  # on every noise, and the others on the last that they take


def noisy() -> list[Any]:
    """Every noise with a few solvers, and every method with one noise."""
    found = []
    for case in zoo.METHODS:
        taken = [n for n in EVERY if case.name not in takes.REFUSED.get(n, takes.GAUSSIAN)]
        if not case.make(STEPS).estimates_noise:
            taken = [n for n in taken if not n.startswith("unknown")]
        names = taken if case.name in ALL else taken[-1:]
        found += [pytest.param(case, name, id=f"{case.name}-{name}") for name in names]
    return found


def test_every_noise_is_there(device: torch.device) -> None:
    """The law below runs over all noises of the package."""
    used = {type(make(device)[0].noise).__name__ for make in EVERY.values()}
    assert used == public(noise) - {"Noise"}


@pytest.mark.parametrize(("case", "name"), noisy())
def test_every_noise(case: zoo.SolverCase, name: str, device: torch.device) -> None:
    """Whatever the noise, the others get the same bits."""
    problem, prior = EVERY[name](device)
    solver, lanes = case.make(STEPS), len(problem)
    clean = solve(problem, prior, solver, seed=5)
    start = [p.x[SICK] for p in iterate(problem, prior, solver, seed=5)][1]
    for value in (torch.nan, torch.inf):
        poisoned = Poisoned(prior, value, lanes)
        got = solve(problem, poisoned, solver, seed=5, hooks=[Arm(poisoned, 2)])
        others = [i for i in range(lanes) if i != SICK]
        assert torch.equal(got.x[others], clean.x[others])
        assert torch.equal(got.status[others], clean.status[others])
        assert torch.equal(got.x[SICK], start)
        assert got.status[SICK].item() == Status.DIVERGED
        assert got.steps[SICK].item() == 2
        assert torch.isnan(got.residual_ratio[SICK]).all()


def test_it_stops_at_once(device: torch.device) -> None:
    """Where every lane has failed, no evaluation is made any more."""
    problem, prior = zoo.solver_problem(1, device)

    class All(Poisoned):
        def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
            out = self.inner.denoise(x, sigma)
            return torch.full_like(x, torch.nan) if self.armed else out

    poisoned = All(prior, torch.nan)
    result = solve(problem, poisoned, REDDiff(vp(20)), hooks=[Arm(poisoned, 5)])
    assert result.status.item() == Status.DIVERGED
    assert result.cost.evaluations == (6 if device.type == "cpu" else 20,)


def test_all_lanes(device: torch.device) -> None:
    """A run in which nothing is alive ends before its last step."""
    problem, prior = zoo.solver_problem(LANES, device)
    poisoned = Poisoned(prior, torch.nan)
    one = problem.select(torch.full((LANES,), SICK, device=device))

    class All(Poisoned):
        def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
            return torch.full_like(x, torch.nan)

    for sick in (All(prior, torch.nan), poisoned):
        result = solve(one, sick, REDDiff(vp(500)), hooks=[Arm(poisoned, 2)], stop_at=200)
        if sick is poisoned:
            assert max(result.cost.evaluations) == 200
            assert result.status.flatten().tolist().count(Status.DIVERGED) == 1
        else:
            assert max(result.cost.evaluations) < 100
            assert result.status.eq(int(Status.DIVERGED)).all()
            assert result.steps.eq(0).all()
            assert torch.equal(result.x, one.initial_estimate())


def test_at_the_start(device: torch.device) -> None:
    """A start that is not finite: nothing was ever estimated, and x says so with zeros."""

    def start(problem: Problem, rng: Rng) -> Tensor:
        x = problem.initial_estimate().clone()
        x[SICK, 0] = torch.inf
        return x

    problem, prior = zoo.solver_problem(LANES, device)
    result = solve(problem, prior, REDDiff(vp(3), start=start))
    assert result.status[:, 0].tolist() == [2, 2, Status.DIVERGED, 2]
    assert result.steps[SICK].item() == 0
    assert result.x[SICK].eq(0).all()
    assert torch.isfinite(result.x).all()


def test_resumed(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A lane that failed stays failed through a snapshot."""
    path = tmp_path_factory.mktemp("diverged") / "snapshot"
    problem, prior = zoo.solver_problem(LANES, device)
    solver, poisoned = zoo.SOLVERS[0].make(STEPS), Poisoned(prior, torch.nan)
    whole = solve(problem, poisoned, solver, hooks=[Arm(poisoned, 2)])
    half = solve(problem, poisoned, solver, hooks=[Arm(poisoned, 2)], stop_at=4)
    half.snapshot.save(path)
    end = solve(problem, poisoned, solver, hooks=[Arm(poisoned, 2)], resume=Snapshot.load(path))
    assert torch.equal(end.samples, whole.samples)
    assert torch.equal(end.status, whole.status)
    assert torch.equal(end.steps, whole.steps)

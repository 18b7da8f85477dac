"""Pure: no method changes an object, and the caller's tensors are never written to."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import zoo
from laws.compare import fingerprint, versions
from reddiff import Gaussian, Keys, Problem, Reconstruction, Snapshot, Unsupported, solve
from reddiff.hooks import History
from reddiff.operators import LinearOperator, Mask, SpectralOperator
from reddiff.priors import GaussianMixture, GaussianPrior
from reddiff.priors.gaussian import GaussianBase
from reddiff.solvers import Solver

INT64 = st.integers(-(2**63), 2**63 - 1)


@zoo.every("case", zoo.SOLVERS)
def test_solver(case: zoo.SolverCase, device: torch.device) -> None:
    """A run leaves everything it was given as it was, and gives the same again."""
    problem, prior = zoo.solver_problem(device=device)
    solver = case.make(4)
    given_ = problem, prior, solver
    before, written = fingerprint(given_), versions(*given_)

    def once() -> Reconstruction:
        return solve(problem, prior, solver, seed=5, hooks=[History()], tol=1e-9)

    first = once()
    assert fingerprint(given_) == before
    assert versions(*given_) == written
    kept = fingerprint(first.samples)
    assert fingerprint(once().samples) == kept
    assert fingerprint(first.samples) == kept  # the second run did not write into the first


@torch.no_grad()
@zoo.every("case", zoo.SOLVERS)
def test_state(case: zoo.SolverCase, device: torch.device) -> None:
    """A state stays good after later steps: stepping from it again gives the same."""
    problem, prior = zoo.solver_problem(device=device)
    solver = case.make(4).to(device)
    keys = Keys(5, zoo.ids(len(problem)))
    state = solver.init(problem, prior, keys.at(-1))
    history = []
    for step in range(4):
        k = torch.full((len(problem),), step, device=device)
        before, x = fingerprint(solver.dump(state)), solver.estimate(state)
        kept = fingerprint(x)
        first, second = (solver.step(state, problem, prior, k, keys.at(step)) for _ in range(2))
        solver.step(first, problem, prior, k, keys.at(step + 1))
        _read(solver, first, keys)
        assert fingerprint(solver.dump(state)) == before
        assert fingerprint(solver.estimate(state)) == kept == fingerprint(x)
        assert fingerprint(solver.dump(first)) == fingerprint(solver.dump(second))
        history.append((state, before))
        state = first
    for old, before in history:
        assert fingerprint(solver.dump(old)) == before


def _read(solver: Solver[Any], state: object, keys: Keys) -> None:
    """What looks at a state, without a step."""
    before = fingerprint(solver.dump(state))
    index = torch.tensor([2, 0], device=solver.estimate(state).device)
    chosen = solver.select(state, index)
    assert torch.equal(solver.estimate(chosen), solver.estimate(state)[index])
    assert fingerprint(solver.dump(solver.load(solver.dump(state)))) == before
    with contextlib.suppress(Unsupported):
        solver.sample(state, 2, keys.at(7))
    assert fingerprint(solver.dump(state)) == before


def test_results_stay(device: torch.device) -> None:
    """A paused run's snapshot and answer outlive the run that goes on from them."""
    problem, prior = zoo.solver_problem(device=device)
    solver = zoo.SOLVERS[0].make(6)
    half = solve(problem, prior, solver, stop_at=3)
    assert isinstance(half.snapshot, Snapshot)
    before = fingerprint([half.snapshot, half.samples])
    ends = [solve(problem, prior, solver, resume=half.snapshot).x for _ in range(2)]
    assert fingerprint([half.snapshot, half.samples]) == before
    assert torch.equal(*ends)


@zoo.every("case", zoo.OPERATORS)
def test_operator(case: zoo.OperatorCase, device: torch.device) -> None:
    """Every method of an operator, and of the problem around it."""
    operator = case.make(3, device)
    x = zoo.randn(3, *case.x_shape).to(device)
    y = operator(x)
    problem = Problem(y, operator, Gaussian(0.1))
    given_ = operator, x, y, problem
    before, written = fingerprint(given_), versions(*given_)
    operator.vjp(x)[1](y)
    operator.measured(y)
    operator.initial_estimate(y)
    operator.x_shape(tuple(y.shape[1:]))
    operator.select(torch.tensor([1], device=device))
    if isinstance(operator, LinearOperator):
        operator.adjoint(y)
        operator.solve(x, 0.3, 2.0)
        operator.pinv(y)
        operator.norm(x)
    if isinstance(operator, SpectralOperator):
        z = operator.vt(x)
        operator.v(z), operator.u(z), operator.ut(y), operator.spectrum(z)
    for method in (problem.nll, problem.grad, problem.residual, problem.misfit_grad):
        method(x)
    problem.residual_ratio(x), problem.initial_estimate(), problem.adjoint()
    assert fingerprint(given_) == before
    assert versions(*given_) == written


@zoo.every("case", zoo.PRIORS)
def test_prior(case: zoo.PriorCase, device: torch.device) -> None:
    """Every method of a prior."""
    problem, prior = zoo.prior_problem(case, device=device)
    s = torch.full((len(problem),), case.levels[1], dtype=zoo.F64, device=device)
    given_ = prior, problem, s
    before, written = fingerprint(given_), versions(*given_)
    x_0, pullback = prior.vjp(problem.y, s)
    assert fingerprint(pullback(x_0)) == fingerprint(pullback(x_0))
    assert torch.equal(prior(problem.y, s), prior(problem.y, s))
    if isinstance(prior, GaussianBase | GaussianMixture):
        posterior = prior.posterior(problem)
        posterior.covariance(x_0)
        assert torch.equal(posterior.sample(2), posterior.sample(2))
        assert torch.equal(posterior.mean, posterior.mean)
        prior.sample(x_0, Keys(0, (0, 1, 2)).at(0))
    assert not x_0.requires_grad
    assert fingerprint(given_) == before
    assert versions(*given_) == written


def draw(
    keys: Keys, step: int, number: int, shape: tuple[int, ...], device: torch.device
) -> Tensor:
    """The noise of one draw of one step."""
    rng = keys.at(step)
    like = torch.empty(len(keys), *shape, dtype=zoo.F64, device=device)
    return [rng.randn_like(like) for _ in range(number + 1)][-1]


@given(
    seed=INT64,
    lanes=st.lists(INT64, min_size=1, max_size=4, unique=True),
    step=INT64,
    number=st.integers(0, 3),
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=2).map(tuple),
)
def test_noise(
    seed: int,
    lanes: list[int],
    step: int,
    number: int,
    shape: tuple[int, ...],
    device: torch.device,
) -> None:
    """Noise is a function of (seed, id, copy, step, draw): the same alone, in any place, again."""
    keys = Keys(seed, tuple(lanes))
    noise = draw(keys, step, number, shape, device)
    assert torch.equal(noise, draw(keys, step, number, shape, device))
    turned = keys.select([*reversed(range(len(lanes)))])
    assert torch.equal(noise.flip(0), draw(turned, step, number, shape, device))
    for row, lane in zip(noise, lanes, strict=True):
        assert torch.equal(row, draw(Keys(seed, (lane,)), step, number, shape, device)[0])
    copies = draw(keys.repeat(2), step, number, shape, device)
    assert torch.equal(noise, copies[::2])
    others = [
        draw(Keys(seed ^ 1, tuple(lanes)), step, number, shape, device),
        draw(Keys(seed, tuple(i ^ 1 for i in lanes)), step, number, shape, device),
        draw(keys, step ^ 1, number, shape, device),
        draw(keys, step, number + 1, shape, device),
        copies[1::2],
    ]
    for other in others:
        assert (other != noise).all()


def test_noise_is_white(device: torch.device) -> None:
    """Draws of neighboring keys have the moments of independent normal numbers."""
    grid = [
        draw(Keys(seed, (0, 1, 2)).repeat(2), step, number, (500,), device)
        for seed in (0, 1)
        for step in (-1, 0, 1)
        for number in (0, 1)
    ]
    z = torch.cat(grid)  # (72, 500)
    assert abs(float(z.mean())) < 5 / z.numel() ** 0.5
    assert abs(float((z**2).mean()) - 1) < 5 * (2 / z.numel()) ** 0.5
    correlation = z @ z.mT / z.shape[1]
    off = correlation - torch.diag(correlation.diagonal())
    assert off.abs().max() < 6 / z.shape[1] ** 0.5


def test_measurement_noise_is_its_own(device: torch.device) -> None:
    """With one seed for all, no solver and no posterior draws the noise that is in y."""
    x = torch.zeros(2, 6, dtype=zoo.F64, device=device)
    operator = Mask(torch.ones(6, dtype=zoo.F64)).to(device)
    problem = Problem.simulate(x, operator, Gaussian(1.0), seed=3, ids=(4, 5))
    keys = Keys(3, (4, 5))
    for step in range(-1, 50):
        for number in range(3):
            assert (draw(keys, step, number, (6,), device) != problem.y).all()
    prior = GaussianPrior(torch.zeros(6, dtype=zoo.F64), torch.eye(6, dtype=zoo.F64))
    samples = prior.to(device).posterior(
        Problem.simulate(x, operator, Gaussian(1.0), seed=3, ids=(0, 1))
    )
    first = samples.sample(1, seed=3)[:, 0]  # y / 2 + (n_x - n_y) / 2 with noise of its own
    for step in (-1, 0, 1):
        x_noise, y_noise = (draw(Keys(3, (0, 1)), step, i, (6,), device) for i in (0, 1))
        assert not torch.allclose(first, (samples.problem.y + x_noise - y_noise) / 2)

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import zoo
from torch import Tensor

from reddiff import Gaussian, InvalidArgument, Keys, Poisson, Problem, Snapshot, Unsupported, solve
from reddiff.operators import BlockMean, Mask, Matrix
from reddiff.priors import Prior
from reddiff.random import STARTING
from reddiff.schedules import Schedule, vp
from reddiff.solvers import DDNM, DDRM, DDNMPlus
from reddiff.solvers.time_travel import walk

pytestmark = pytest.mark.usefixtures("untyped")

BOTH = pytest.mark.parametrize("solver", [DDNM, DDNMPlus])


class Oracle(Prior):
    """Knows the truth, and keeps the levels it was asked for."""

    trusted = True

    def __init__(self, truth: Tensor) -> None:
        super().__init__(tuple(truth.shape[1:]))
        self.truth, self.levels = truth, []

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.levels.append(float(sigma.flatten()[0]))
        return self.truth.expand_as(x)


def vp_variables(schedule: Schedule) -> tuple[list[float], list[float]]:
    """a_t and sigma_t of x_t = a_t x_0 + sigma_t n, noisiest first."""
    s = schedule.levels
    return (1 + s**2).rsqrt().tolist(), (s * (1 + s**2).rsqrt()).tolist()


def first(problem: Problem, keys: Keys, sigma: float) -> Tensor:
    """x_T, whose mean is zero."""
    like = torch.zeros(len(problem), *problem.x_shape, dtype=zoo.F64)
    return sigma * keys.at(STARTING).randn_like(like)


def null_space(problem: Problem, prior: Prior, schedule: Schedule, keys: Keys) -> Tensor:
    """DDNM in the paper's variables: Equation 13, and DDIM."""
    eta = 0.85
    a, sg = vp_variables(schedule)
    x_t = first(problem, keys, sg[0])
    pinv = torch.linalg.pinv(problem.operator.a)
    for t in range(len(schedule)):
        x_0 = prior(x_t, sg[t], a[t])
        e = (x_t - a[t] * x_0) / sg[t]
        gap = (problem.operator.a @ x_0[..., None])[..., 0] - problem.y
        x_0 = x_0 - (pinv @ gap[..., None])[..., 0]
        z = keys.at(t).randn_like(x_t)
        x_t = a[t + 1] * x_0 + sg[t + 1] * (eta * z + np.sqrt(1 - eta**2) * e)
    return x_t


def noisy(problem: Problem, prior: Prior, schedule: Schedule, keys: Keys) -> Tensor:
    """DDNM+ in the paper's variables: Equations 17 to 19 with the share eta of fresh noise."""
    eta = 0.85
    a, sg = vp_variables(schedule)
    x_t = first(problem, keys, sg[0])
    for t in range(len(schedule)):
        x_0s = prior(x_t, sg[t], a[t])
        noise = keys.at(t).randn_like(x_t)
        after = torch.empty_like(x_t)
        for i, matrix in enumerate(problem.operator.a.numpy()):
            u, sing, vt = np.linalg.svd(matrix, full_matrices=True)
            sing = np.concatenate([sing, np.zeros(vt.shape[0] - len(sing))])
            sigma_y, uty = float(problem.noise.sigma[i]), u.T @ problem.y[i].numpy()
            x_0, z = vt @ x_0s[i].numpy(), vt @ noise[i].numpy()
            e = (vt @ x_t[i].numpy() - a[t] * x_0) / sg[t]
            down, up = a[t + 1], sg[t + 1]
            for j, s in enumerate(sing):
                if s == 0:
                    new = down * x_0[j] + eta * up * z[j] + np.sqrt(1 - eta**2) * up * e[j]
                elif up >= down * sigma_y / s:
                    new = down * uty[j] / s
                    new += np.sqrt(up**2 - (down * sigma_y / s) ** 2) * z[j]
                else:
                    weak = s * up * np.sqrt(1 - eta**2) / (down * sigma_y)
                    new = down * (x_0[j] - weak * (x_0[j] - uty[j] / s)) + eta * up * z[j]
                x_0[j] = new
            after[i] = torch.as_tensor(vt.T @ x_0)
        x_t = after
    return x_t


@pytest.mark.parametrize(("solver", "naive"), [(DDNM, null_space), (DDNMPlus, noisy)])
def test_is_the_papers(solver, naive):
    problem, prior = zoo.solver_problem()
    keys = Keys(5, zoo.ids(len(problem)))
    schedule = vp(12)
    got = solve(problem, prior, solver(schedule), seed=5, ids=keys.ids).x
    wanted = naive(problem, prior, schedule, keys)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-8)


@BOTH
@pytest.mark.parametrize("travel", [1, 3])
def test_without_noise_the_answer_explains_y(solver, travel):
    problem, prior = zoo.solver_problem()
    exact = Problem(problem.y, problem.operator, Gaussian(0.0))
    x = solve(exact, prior, solver.paper(9, travel=travel, repeats=2)).x
    assert exact.residual(x).abs().max() < 1e-10


def test_any_linear_operator_will_do():
    """Also one of which only A and its adjoint are known; what y does not see is the prior's."""
    mask = zoo.coin(1, 3, 3, p=0.5)[0]
    operator = Mask(mask) @ BlockMean(2)
    truth = zoo.randn(2, 1, 6, 6)
    problem = Problem.simulate(truth, operator, Gaussian(0.0))
    guess = truth + 1
    x = solve(problem, Oracle(guess), DDNM.paper(8)).x
    assert problem.residual(x).abs().max() < 1e-8
    blind = (1 - mask).repeat_interleave(2, 0).repeat_interleave(2, 1).expand(2, 1, 6, 6)
    torch.testing.assert_close(blind * x, blind * guess)


def test_noise_is_ignored():
    problem, prior = zoo.solver_problem()
    loud = Problem(problem.y, problem.operator, Gaussian(9.0))
    solver = DDNM.paper(5)
    assert torch.equal(solve(problem, prior, solver).x, solve(loud, prior, solver).x)


def test_with_noise_it_is_ddrm_from_another_start():
    problem, prior = zoo.solver_problem()
    schedule = vp(7)
    plus, ddrm = DDNMPlus(schedule), DDRM(schedule)
    keys = Keys(0, zoo.ids(len(problem)))
    state = plus.init(problem, prior, keys.at(STARTING))
    k = torch.full((len(problem),), 3)
    got, wanted = (s.step(state, problem, prior, k, keys.at(3)).x for s in (plus, ddrm))
    torch.testing.assert_close(got, wanted)


# ------------------------------------------------------------------------------- time travel


def retraced(levels: int, length: int, repeats: int) -> list[int]:
    """The chain by its own counter t, from levels - 1 to 0: turn back at multiples of `length`."""
    left = dict.fromkeys(range(0, levels - length, length), repeats - 1)
    t, asked = levels - 1, []
    while t >= 0:
        if left.get(t, 0) > 0:  # arrived at t: go up, and come down again
            left[t] -= 1
            t += length
        asked.append(levels - 1 - t)
        t -= 1
    return asked


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_the_walk_turns_back_where_it_should(levels, travel, repeats):
    visits = list(walk(levels, travel, repeats))
    assert visits == retraced(levels, travel, repeats)
    assert visits[0] == 0
    assert visits[-1] == levels - 1
    steps = np.diff(visits)
    assert set(steps.tolist()) <= {1, 1 - travel}
    turns = max(0, (levels - 1) // travel)
    assert len(visits) == levels + turns * (repeats - 1) * travel
    if repeats == 1:
        assert visits == list(range(levels))


def test_a_walk_by_hand():
    """Arriving at level 3 (2 before the last) it goes back to 1, and arriving at 5, to 3."""
    assert walk(6, 2, 2) == (0, 1, 2, 1, 2, 3, 4, 3, 4, 5)
    assert walk(3, 5, 4) == (0, 1, 2)


@BOTH
def test_each_step_of_the_walk_is_one_evaluation(solver):
    problem, _ = zoo.solver_problem()
    prior = Oracle(zoo.randn(1, 6))
    made = solver(vp(9), travel=3, repeats=2)
    result = solve(problem, prior, made)
    assert made.steps == 9 + 2 * 3
    assert result.cost.evaluations == (made.steps,) * len(problem)
    wanted = vp(9).levels[list(walk(9, 3, 2))].tolist()
    assert prior.levels == pytest.approx(wanted)


@BOTH
def test_on_the_way_up_noise_is_added_to_the_level(solver):
    """With the truth for an estimate, x is N(truth, s^2 I) at every step of the walk."""
    lanes = 4000
    truth = zoo.randn(1, 4)
    sigma = 0.0 if solver is DDNM else 0.1
    operator = Matrix(torch.tensor([[1.0, 0, 0, 0], [0, 0.3, 0, 0], [0, 0, 0.02, 0]]).double())
    problem = Problem.simulate(truth.expand(lanes, -1), operator, Gaussian(sigma))
    keys, prior = Keys(0, tuple(range(lanes))), Oracle(truth)
    made = solver(vp(7), travel=2, repeats=2)
    state = made.init(problem, prior, keys.at(STARTING))
    visits = walk(7, 2, 2)
    for step in range(made.steps - 1):
        k = torch.full((lanes,), step)
        state = made.step(state, problem, prior, k, keys.at(step))
        z = (state.x - truth) / made.schedule.levels[visits[step + 1]]
        assert (z.T @ z / lanes - torch.eye(4, dtype=zoo.F64)).abs().max() < 0.12


@BOTH
def test_a_walk_resumes_anywhere(solver, tmp_path):
    problem, prior = zoo.solver_problem()
    made = solver(vp(6), travel=2, repeats=3)
    whole = solve(problem, prior, made).x
    for stop in range(1, made.steps):
        solve(problem, prior, made, stop_at=stop).snapshot.save(tmp_path / "snapshot")
        resume = Snapshot.load(tmp_path / "snapshot")
        assert torch.equal(solve(problem, prior, made, resume=resume).x, whole)


# --------------------------------------------------------------------------------- refusals


@BOTH
@pytest.mark.parametrize("name", ["travel", "repeats"])
@pytest.mark.parametrize("value", [0, -1])
def test_travel_is_counted(solver, name, value):
    with pytest.raises(InvalidArgument, match=f"{name}: expected an integer of at least 1"):
        solver(vp(3), **{name: value})


@BOTH
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_eta_is_a_share(solver, value):
    with pytest.raises(InvalidArgument, match="eta: expected a number from 0 to 1"):
        solver(vp(3), value)


def test_refuses_other_operators_and_noises():
    x = zoo.randn(2, 1, 4, 4).abs()
    curved = Problem(x, zoo.SoftClip(), Gaussian(0.1))
    with pytest.raises(Unsupported, match="DDNM: expected operator of type LinearOperator"):
        solve(curved, Oracle(x), DDNM.paper(3))
    masked = Problem(x[..., :2, :2], Mask(torch.eye(2).double()) @ BlockMean(2), Gaussian(0.1))
    with pytest.raises(Unsupported, match="DDNMPlus: expected operator of type SpectralOperator"):
        solve(masked, Oracle(x), DDNMPlus.paper(3))
    counts = Problem(x, Mask(torch.ones(4, 4).double()), Poisson(10.0))
    with pytest.raises(Unsupported, match="DDNMPlus: expected noise of type Gaussian, got Poisson"):
        solve(counts, Oracle(x), DDNMPlus.paper(3))

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from reddiff import Gaussian, Keys, Problem, Status, Unsupported, iterate, sample_posterior, solve
from reddiff.operators import Mask
from reddiff.priors import GaussianRandomField, Prior
from reddiff.schedules import karras, vp
from reddiff.solvers import DPS, NoiseAwareREDDiff, PnPDM, REDDiff, Solver
from reddiff.solvers.variants import Variant

STEPS = 6
SOLVER = REDDiff(karras(STEPS, 0.01, 1.0))


@dataclass(frozen=True)
class Step:
    """One call of the prior: the rows whose answer it is to spoil."""

    call: int
    row: int


class Spoiled(Prior):
    """A prior that answers NaN for one row from a given call on."""

    trusted = True

    def __init__(self, step: Step) -> None:
        super().__init__((2, None, None))
        self.inner, self.spoil, self.calls = GaussianRandomField(channels=2), step, 0

    def denoise(self, x, sigma):
        x_0 = self.inner.denoise(x, sigma)
        if self.calls >= self.spoil.call:
            x_0[self.spoil.row] = torch.nan
        self.calls += 1
        return x_0


def test_iterate_is_solve_one_step_at_a_time(problem, prior):
    steps = list(iterate(problem, prior, SOLVER, seed=3))
    assert len(steps) == STEPS
    assert torch.equal(steps[-1].x, solve(problem, prior, SOLVER, seed=3).x)
    for k in (1, 4):
        assert torch.equal(steps[k - 1].x, solve(problem, prior, SOLVER, seed=3, stop_at=k).x)


def test_the_default_ids_are_the_places(problem, prior):
    expected = solve(problem, prior, SOLVER, ids=(0, 1, 2))
    assert torch.equal(solve(problem, prior, SOLVER).x, expected.x)
    assert expected.ids == (0, 1, 2)
    assert not torch.equal(solve(problem, prior, SOLVER, ids=[5, 6, 7]).x, expected.x)
    assert not torch.equal(solve(problem, prior, SOLVER, seed=1).x, expected.x)


def test_the_estimate_is_the_mean_of_the_samples_and_the_first_of_them_is_the_single_run(
    problem, prior
):
    many = solve(problem, prior, SOLVER, runs=3)
    assert many.samples.shape == (3, 3, 2, 6, 6)
    torch.testing.assert_close(many.x, many.samples.mean(1))
    assert (many.std > 0).all()
    single = solve(problem, prior, SOLVER)
    torch.testing.assert_close(many.samples[:, 0], single.x, rtol=1e-10, atol=1e-10)
    assert many.status.shape == many.steps.shape == (3, 3)


@pytest.mark.parametrize("call", [0, 2, STEPS - 1])
def test_a_lane_that_turns_nan_keeps_its_last_estimate_and_leaves_the_others_alone(problem, call):
    good = list(iterate(problem, Spoiled(Step(call=99, row=0)), SOLVER))
    result = solve(problem, Spoiled(Step(call, row=1)), SOLVER)
    assert result.status.flatten().tolist() == [
        Status.COMPLETED,
        Status.DIVERGED,
        Status.COMPLETED,
    ]
    assert result.steps.flatten().tolist() == [STEPS, call, STEPS]
    assert torch.equal(result.x[[0, 2]], good[-1].x[[0, 2]])
    last = good[call - 1].x[1] if call else problem.initial_estimate()[1]
    assert torch.equal(result.x[1], last)
    assert f"lane 1, run 0, step {call}: DIVERGED" in result.report()


def test_every_run_has_its_measures(problem, prior):
    result = solve(problem, prior, SOLVER, runs=3)
    for name in ("residual_ratio", "change", "data_term"):
        assert getattr(result, name).shape == (3, 3)
    for run in range(3):
        x = result.samples[:, run]
        torch.testing.assert_close(result.residual_ratio[:, run], problem.residual_ratio(x))
        torch.testing.assert_close(result.data_term[:, run], problem.nll(x))
    least = problem.nll(result.best)
    assert torch.equal(least, result.data_term.min(1).values)


def test_when_every_lane_has_failed_the_run_ends(problem, prior):
    one = problem.select(torch.tensor([0]))
    steps = 200
    solver = REDDiff(karras(steps, 0.01, 1.0))
    spoiled = Spoiled(Step(call=1, row=0))
    result = solve(one, spoiled, solver)
    assert result.status.item() == Status.DIVERGED
    assert spoiled.calls < steps / 2


def test_a_paused_run_says_so_and_a_finished_one_is_not_begun_again(problem, prior):
    half = solve(problem, prior, SOLVER, stop_at=2)
    assert (half.status == Status.RUNNING).all()
    assert (half.steps == 2).all()
    assert "RUNNING" in half.report()
    full = solve(problem, prior, SOLVER, resume=half.snapshot)
    again = solve(problem, prior, SOLVER, resume=full.snapshot)
    assert torch.equal(again.x, full.x)
    assert again.cost.evaluations == full.cost.evaluations
    assert torch.equal(full.x, solve(problem, prior, SOLVER).x)


def test_change_is_that_of_the_last_step_that_moved(problem, prior):
    steps = list(iterate(problem, prior, SOLVER))
    assert torch.equal(solve(problem, prior, SOLVER).change[:, 0], steps[-1].change)
    lagging = REDDiff(SOLVER.schedule, variant=Variant(lag=True))  # its last step changes nothing
    steps = list(iterate(problem, prior, lagging))
    assert steps[-1].change.eq(0).all()
    assert torch.equal(solve(problem, prior, lagging).change[:, 0], steps[-2].change)
    assert torch.isnan(solve(problem, prior, SOLVER, stop_at=0).change).all()


def test_a_run_that_stops_on_the_way_says_so_and_one_that_is_paused_does_not(problem, prior):
    fast = REDDiff(karras(2, 0.01, 1.0), weight=3.0)  # Adam's steps are of 0.1 at least
    assert any("not converged" in text for text in solve(problem, prior, fast).warnings)
    paused = solve(problem, prior, fast, stop_at=1)
    assert paused.warnings == ()
    assert (paused.change > 0).all()
    ended = solve(problem, prior, fast, tol=1e9)
    assert not any("not converged" in text for text in ended.warnings)


def test_measures_of_a_lane_that_failed_are_nan_and_it_is_not_the_best(problem):
    spoiled = Spoiled(Step(call=2, row=1))  # row 1 is run 1 of lane 0
    result = solve(problem, spoiled, SOLVER, runs=2)
    for values in (result.residual_ratio, result.change, result.data_term):
        assert torch.isnan(values).tolist() == [[False, True], [False] * 2, [False] * 2]
    assert torch.equal(result.best[0], result.samples[0, 0])
    assert not any("lane 0, run 1" in text for text in result.warnings)


def test_measures_take_one_evaluation_of_the_operator_and_none_of_the_prior(problem):
    calls = []

    class Counting(Mask):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    operator = Counting(torch.ones(6, 6, dtype=torch.float64))
    spoiled = Spoiled(Step(call=99, row=0))
    run = iterate(Problem(problem.y, operator, problem.noise), spoiled, SOLVER)
    *_, last = run
    calls.clear()
    before = spoiled.calls
    last.result()
    assert calls == [3]
    assert spoiled.calls == before


def test_a_solver_that_is_not_variational_has_no_samples(problem):
    class Plain(Solver[torch.Tensor]):
        def init(self, problem, prior, rng):
            return problem.y

        def step(self, state, problem, prior, k, rng):
            return state

        def estimate(self, state):
            return state

    with pytest.raises(Unsupported, match=r"Plain: expected a variational solver for `sample`"):
        Plain(karras(2)).sample(problem.y, 1, Keys(0, (0, 1, 2)).at(0))


def test_gradients_are_not_recorded(problem):
    class Trainable(GaussianRandomField):
        def __init__(self) -> None:
            super().__init__(channels=2)
            self.gain = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def filter(self, v, f):
            return self.gain * super().filter(v, f)

    y = problem.y.clone().requires_grad_()
    result = solve(Problem(y, problem.operator, problem.noise), Trainable(), SOLVER)
    assert not result.x.requires_grad


@pytest.mark.usefixtures("untyped")
def test_numpy_numbers_are_numbers(prior, problem, tmp_path):
    noisy = Problem(problem.y, problem.operator, Gaussian(np.float32(0.1)))
    one, two = np.arange(1, 3)
    result = solve(noisy, prior, REDDiff(vp(2)), ids=[*np.arange(3)], seed=one, runs=two)
    assert result.ids == (0, 1, 2)
    assert torch.equal(result.x, solve(noisy, prior, REDDiff(vp(2)), seed=1, runs=2).x)
    assert result.snapshot.seed == 1
    draws = sample_posterior(noisy, prior, two, solver=REDDiff(vp(2)), seed=one)
    assert torch.equal(draws.samples, result.samples)
    result.snapshot.save(tmp_path / "snapshot.safetensors")


@pytest.mark.parametrize(
    ("make", "draws"),
    [
        (lambda: NoiseAwareREDDiff.default(5), False),
        (lambda: NoiseAwareREDDiff.default(5, realism=1.0), True),
        (lambda: SOLVER, False),
        (lambda: DPS(karras(5)), True),
        (lambda: PnPDM.paper(5, average=1), True),
        (lambda: PnPDM.paper(5, average=2), False),
    ],
    ids=["default", "realism 1", "red-diff", "dps", "pnpdm", "averaged"],
)
def test_several_runs_that_are_no_draws_say_so(problem, prior, make, draws):
    solver = make()
    assert solver.draws_posterior == draws
    several = solve(problem, prior, solver, runs=2)
    said = [w for w in several.warnings if "not draws from the posterior" in w]
    assert len(said) == (0 if draws else 1)
    assert not any("draws" in w for w in solve(problem, prior, solver).warnings)


def test_progress_is_shown_on_a_terminal_and_nowhere_else(problem, prior, capsys, monkeypatch):
    plain = solve(problem, prior, SOLVER)
    assert capsys.readouterr().err == ""
    asked = solve(problem, prior, SOLVER, progress=True)
    assert "6 steps: 6 network evaluations for each of 3 runs, 18 evaluations in all" in one_line(
        capsys.readouterr().err
    )
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    shown = solve(problem, prior, DPS(karras(4)), runs=2)
    assert (
        "4 steps: 4 network evaluations and 4 backward passes for each of 6 runs, 24 evaluations "
        "in all"
    ) in one_line(capsys.readouterr().err)
    solve(problem, prior, SOLVER, progress=False)
    assert capsys.readouterr().err == ""
    assert shown.x.isfinite().all()
    assert torch.equal(asked.x, plain.x)
    assert asked.cost.evaluations == plain.cost.evaluations


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_problems_and_answers_print_as_a_few_lines_without_tensors(problem, prior):
    sigma = torch.linspace(0.1, 0.5, 3, dtype=torch.float64)
    for one in (problem, replace(problem, noise=Gaussian(sigma))):
        result = solve(one, prior, SOLVER, runs=2)
        for value in (one, result):
            for text in (str(value), repr(value), repr(result.snapshot)):
                assert "tensor" not in text
                assert len(text) < 600
            assert len(str(value).splitlines()) in (4, 5)
            assert "\n" not in repr(value)
    assert str(one).splitlines() == [
        "Problem with 3 lanes, float64 on cpu",
        f"  y: (2, 6, 6), {int(one.count[0])} of 72 entries measured, "
        f"from {float(one.y.min()):.3g} to {float(one.y.max()):.3g}",
        "  operator: Mask((6, 6), 56% measured), x (2, 6, 6) -> y (2, 6, 6)",
        "  noise: Gaussian(sigma=0.1 to 0.5)",
    ]
    first, runs, fit, cost, warnings = str(result).splitlines()
    assert first == "Reconstruction with 3 lanes, 2 runs each: x (2, 6, 6), float64 on cpu"
    assert runs == "  runs: 6 COMPLETED after 6 to 6 steps"
    assert fit.startswith("  residual / noise: ")
    assert cost.startswith("  cost: 12 network evaluations per lane, ")
    assert warnings.startswith("  warnings: ")

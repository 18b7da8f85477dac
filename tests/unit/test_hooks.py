from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from reddiff import InvalidArgument, Status, iterate, solve
from reddiff.hooks import EarlyStop, History, Hook, ProgressBar
from reddiff.schedules import karras
from reddiff.solvers import REDDiff

STEPS = 6
SOLVER = REDDiff(karras(STEPS, 0.01, 1.0))


class Recorder(Hook):
    """Ends the lanes given at the steps given, and counts its calls."""

    def __init__(self, ends: dict[int, int] | None = None) -> None:
        self.ends = ends or {}
        self.calls = self.closed = 0

    def __call__(self, progress):
        self.calls += 1
        done = torch.tensor([self.ends.get(i) == progress.step for i in range(len(progress.alive))])
        return {"done": done, "step": torch.full((len(done),), float(progress.step))}

    def close(self):
        self.closed += 1


class Broken(Hook):
    def __call__(self, progress):
        raise RuntimeError("a hook's own error")


def test_history_holds_the_residual_and_the_change_of_every_step(problem, prior):
    history = solve(problem, prior, SOLVER, samples=2, hooks=[History()]).history
    steps = list(iterate(problem, prior, SOLVER, samples=2))
    for name in ("residual", "change"):
        assert history[name].shape == (STEPS, 3, 2)
    lane, copy = 1, 1
    row = 2 * lane + copy
    for k, progress in enumerate(steps):
        x, before = progress.x[row], progress.previous[row]
        r = (problem.operator(x[None])[0] - problem.y[lane])[problem.measured[lane]]
        assert history["residual"][k, lane, copy] == pytest.approx(r.square().mean().sqrt().item())
        change = (x - before).norm() / x.norm()
        assert history["change"][k, lane, copy] == pytest.approx(change.item())


def test_progress_tells_how_a_run_stands(problem, prior):
    steps = list(iterate(problem, prior, REDDiff(SOLVER.schedule, draws=2)))
    assert [p.step for p in steps] == list(range(1, STEPS + 1))
    assert {p.steps for p in steps} == {STEPS}
    assert [p.evaluations for p in steps] == [2 * p.step for p in steps]
    assert all(torch.equal(b.previous, a.x) for a, b in pairwise(steps))
    assert steps[-1].alive.all()


def test_early_stop_ends_what_stands_still_but_not_before_its_time(problem, prior):
    result = solve(problem, prior, SOLVER, hooks=[EarlyStop(1e9, after=3)])
    assert (result.status == Status.CONVERGED).all()
    assert result.steps.tolist() == [[3]] * 3
    assert result.cost.evaluations == (3, 3, 3)
    assert (solve(problem, prior, SOLVER, tol=1e9).steps == 2).all()
    assert (solve(problem, prior, SOLVER, tol=1e-9).status == Status.EXHAUSTED).all()


@pytest.mark.parametrize("tol", [0.0, -1.0, float("nan"), float("inf")])
def test_early_stop_needs_a_positive_tolerance(tol):
    with pytest.raises(InvalidArgument, match="tol: expected a positive finite number, got"):
        EarlyStop(tol)


def test_a_hook_of_ones_own_ends_single_lanes(problem, prior):
    hook = Recorder({0: 2, 2: 4})
    result = solve(problem, prior, SOLVER, hooks=[hook])
    full = list(iterate(problem, prior, SOLVER))
    assert result.steps.flatten().tolist() == [2, STEPS, 4]
    assert result.cost.evaluations == (2, STEPS, 4)
    names = [Status(s).name for s in result.status.flatten().tolist()]
    assert names == ["CONVERGED", "EXHAUSTED", "CONVERGED"]
    assert torch.equal(result.x[0], full[1].x[0])
    torch.testing.assert_close(result.x[2], full[3].x[2])
    recorded = result.history["step"][:, :, 0]
    assert "done" not in result.history
    assert recorded[:, 1].tolist() == [1, 2, 3, 4, 5, 6]
    assert torch.isnan(recorded).sum(0).tolist() == [4, 0, 2]
    assert (hook.calls, hook.closed) == (STEPS, 1)


def test_hooks_are_closed_when_a_run_fails(problem, prior):
    hook = Recorder()
    with pytest.raises(RuntimeError, match="a hook's own error"):
        solve(problem, prior, SOLVER, hooks=[hook, Broken()])
    assert hook.closed == 1
    steps = iterate(problem, prior, SOLVER, hooks=[hook])
    next(steps)
    steps.close()
    assert hook.closed == 2


def test_the_progress_bar_draws_and_leaves_the_terminal_as_it_was(
    problem, prior, capsys, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    bar = ProgressBar("restoring")
    solve(problem, prior, SOLVER, hooks=[bar])
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("restoring", f"{STEPS}/{STEPS}", "evaluations/s", "residual 0."):
        assert text in captured.err
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert captured.err.count(hide) == captured.err.count(show) == 1
    bar.close()
    with pytest.raises(RuntimeError):
        solve(problem, prior, SOLVER, hooks=[bar, Broken()])
    assert show in capsys.readouterr().err

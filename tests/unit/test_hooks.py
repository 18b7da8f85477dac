from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from reddiff import InvalidArgument, Status, iterate, solve
from reddiff.hooks import EarlyStop, History, Hook
from reddiff.run.progress_bar import ProgressBar
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
        return {"step": torch.full((len(progress.alive),), float(progress.step))}

    def converged(self, progress):
        ends = [self.ends.get(i) == progress.step for i in range(len(progress.alive))]
        return torch.tensor(ends)

    def close(self):
        self.closed += 1


class Broken(Hook):
    def __call__(self, progress):
        raise RuntimeError("a hook's own error")


def test_history_holds_the_residual_and_the_change_of_every_step(problem, prior):
    history = solve(problem, prior, SOLVER, runs=2, hooks=[History()]).history
    steps = list(iterate(problem, prior, SOLVER, runs=2))
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
    assert (solve(problem, prior, SOLVER, tol=1e-9).status == Status.COMPLETED).all()


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
    assert names == ["CONVERGED", "COMPLETED", "CONVERGED"]
    assert torch.equal(result.x[0], full[1].x[0])
    torch.testing.assert_close(result.x[2], full[3].x[2])
    recorded = result.history["step"][:, :, 0]
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


class Gives(Hook):
    """Whatever it is told to."""

    def __init__(self, function):
        self.function, self.closed = function, 0

    def __call__(self, progress):
        return self.function(progress)

    def close(self):
        self.closed += 1


GIVEN = {
    "a list": (
        lambda p: [1],
        "hook Gives: expected a mapping from names to tensors, or None, got list",
    ),
    "other names": (
        lambda p: {1: torch.ones(3)},
        "hook Gives: expected names that are strings, got 1",
    ),
    "a number": (lambda p: {"a": 1.0}, "hook Gives, a: expected a tensor, got float"),
    "rows": (
        lambda p: {"a": torch.ones(7)},
        r"hook Gives, a: expected shape \(3,\), one per run, got \(7,\)",
    ),
    "one for all": (lambda p: {"a": torch.ones(())}, r"a: expected shape \(3,\).*, got \(\)"),
    "complex": (
        lambda p: {"a": 1j * torch.ones(3)},
        "a: expected real numbers, got ",
    ),
    "place": (
        lambda p: {"a": torch.ones(3, device="meta")},
        "a tensor on cpu, got meta",
    ),
    "odd steps": (
        lambda p: {"a": torch.ones(3)} if p.step % 2 else None,
        r"hook Gives: expected the same names at every step, \['a'\], got \[\] at 2",
    ),
}


class Ends(Hook):
    def __init__(self, ended):
        self.ended = ended

    def converged(self, progress):
        return self.ended


ENDED = {
    "floats": (torch.ones(3), "hook Ends, converged: expected torch.bool, got torch.float32"),
    "rows": (torch.ones(2, dtype=torch.bool), r"converged: expected shape \(3,\), one per run"),
    "a bool": (True, "converged: expected a tensor, got bool"),
}


@pytest.mark.parametrize(("ended", "message"), ENDED.values(), ids=ENDED)
def test_what_a_hook_ends_is_checked(problem, prior, ended, message):
    with pytest.raises(InvalidArgument, match=message):
        solve(problem, prior, SOLVER, hooks=[Ends(ended)])


@pytest.mark.parametrize(("gives", "message"), GIVEN.values(), ids=GIVEN)
def test_what_a_hook_gives_is_checked(problem, prior, gives, message):
    hook = Gives(gives)
    with pytest.raises(InvalidArgument, match=message):
        solve(problem, prior, SOLVER, hooks=[hook])
    assert hook.closed == 1


def test_two_hooks_do_not_record_the_same_name(problem, prior):
    with pytest.raises(InvalidArgument, match="hook History: expected names that no other hook"):
        solve(problem, prior, SOLVER, hooks=[History(), History()])


def test_a_run_can_go_on_from_before_a_hook_failed(problem, prior):
    """What a hook raises comes out as it is, and the snapshot of a step before is whole."""
    kept, error = [], KeyError("its own")

    def function(progress):
        if progress.step == 3:
            raise error
        kept.append(progress.snapshot())

    with pytest.raises(KeyError) as caught:
        solve(problem, prior, SOLVER, hooks=[History(), Gives(function)])
    assert caught.value is error
    end = solve(problem, prior, SOLVER, hooks=[History()], resume=kept[-1])
    whole = solve(problem, prior, SOLVER, hooks=[History()])
    assert torch.equal(end.x, whole.x)
    assert torch.equal(end.history["change"], whole.history["change"])


def test_a_snapshot_of_a_hook_costs_nothing_more_for_runs_that_have_just_ended(problem, prior):
    kept = {}

    def function(progress):
        kept[progress.step] = progress.snapshot()

    whole = solve(problem, prior, SOLVER, hooks=[Recorder({0: 2, 2: 4}), Gives(function)])
    for snapshot in kept.values():
        end = solve(problem, prior, SOLVER, hooks=[Recorder({0: 2, 2: 4})], resume=snapshot)
        assert end.cost.evaluations == whole.cost.evaluations == (2, STEPS, 4)
        assert torch.equal(end.x, whole.x)
        assert torch.equal(end.status, whole.status)


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


def test_a_bar_that_vanishes_leaves_nothing_in_a_log(problem, prior, capsys):
    solve(problem, prior, SOLVER, hooks=[ProgressBar("restoring", transient=True)])
    assert capsys.readouterr() == ("", "")

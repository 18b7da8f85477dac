from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam

from reddiff import InvalidArgument, Keys, Snapshot, SnapshotError, Unsupported, draw, solve
from reddiff.hooks import Hook
from reddiff.random import DRAWING
from reddiff.schedules import karras
from reddiff.solvers import DDIM, REDDiff

SCHEDULE = karras(6, 0.05, 2.0)
SOLVER = REDDiff(SCHEDULE, partial(Adam, lr=0.05), sigma_q=0.3, learn_sigma_q=True, weight=2.0)


def test_draws_have_the_learned_spread(problem, prior):
    result = solve(problem, prior, SOLVER, runs=2)
    draws = draw(result, SOLVER, 3000, seed=1)
    assert draws.shape == (3, 2, 3000, 2, 6, 6)
    state = SOLVER.load(result.snapshot.tree["state"])
    sigma_q = state.log_sigma_q.x.exp().view(3, 2)
    assert (sigma_q - 0.3).abs().min() > 0.01  # it was learned
    variance = (draws - result.samples[:, :, None]).square().mean((2, 3, 4, 5))
    torch.testing.assert_close(variance, sigma_q**2, rtol=0.02, atol=0)
    torch.testing.assert_close(draws.mean(2), result.samples, atol=0.05, rtol=0)


def test_a_lanes_draws_are_its_own(problem, prior):
    ids = (5, 9, 2)
    result = solve(problem, prior, SOLVER, ids=ids)
    draws = draw(result, SOLVER, 4, seed=3)
    assert torch.equal(draw(result, SOLVER, 4, seed=3), draws)
    assert not torch.equal(draw(result, SOLVER, 4, seed=4), draws)
    one = problem.select(torch.tensor([1]))
    alone = draw(solve(one, prior, SOLVER, ids=(9,)), SOLVER, 4, seed=3)
    torch.testing.assert_close(alone[0], draws[1])
    fixed = REDDiff(SCHEDULE, sigma_q=0.2)
    result = solve(problem, prior, fixed, ids=ids)
    z = Keys(3, ids).at(DRAWING).randn_like(draws[:, 0])
    expected = result.x[:, None] + 0.2 * z
    torch.testing.assert_close(draw(result, fixed, 4, seed=3)[:, 0], expected)


def test_a_result_from_a_file_is_as_good(problem, prior, tmp_path):
    result = solve(problem, prior, SOLVER)
    result.snapshot.save(tmp_path / "snapshot")
    loaded = replace(result, snapshot=Snapshot.load(tmp_path / "snapshot"))
    assert torch.equal(draw(loaded, SOLVER, 2), draw(result, SOLVER, 2))


class End(Hook):
    """Ends some lanes after three steps."""

    def __init__(self, *lanes: int) -> None:
        self.lanes = lanes

    def converged(self, progress):
        done = torch.zeros_like(progress.alive)
        if progress.step == 3:
            done[list(self.lanes)] = True
        return done


def test_lanes_that_ended_before_the_others(problem, prior):
    message = r"result: expected the states of all 3 runs .*, got those of 2, because"
    with pytest.raises(InvalidArgument, match=message):
        draw(solve(problem, prior, SOLVER, hooks=[End(1)]), SOLVER, 2)


def test_lanes_that_ended_together(problem, prior):
    result = solve(problem, prior, SOLVER, hooks=[End(0, 1, 2)])
    assert result.steps.eq(3).all()
    paused = solve(problem, prior, SOLVER, stop_at=3)
    assert torch.equal(draw(result, SOLVER, 2), draw(paused, SOLVER, 2))


def test_what_cannot_be_drawn_from(problem, prior):
    result = solve(problem, prior, SOLVER)
    for n in (0, -1):
        with pytest.raises(InvalidArgument, match=r"n: expected an integer of at least 1, got"):
            draw(result, SOLVER, n)
    with pytest.raises(SnapshotError, match=r"result: expected one of .*REDDiff"):
        draw(result, REDDiff(SCHEDULE, partial(SGD, lr=0.1)), 2)
    sampler = DDIM(SCHEDULE)
    with pytest.raises(Unsupported, match=r"DDIM: expected a variational solver"):
        draw(solve(problem, prior, sampler), sampler, 2)

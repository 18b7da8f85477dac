"""The live table of a benchmark, and how long it says that the rest will take."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from reddiff.bench.estimates import Estimates
from reddiff.bench.live import LiveTable
from reddiff.bench.planning import Cost, Job
from reddiff.bench.rows import Result
from reddiff.bench.summary import Cell
from reddiff.run.progress_bar import duration

CELL = Cell("photo", "sr4", 0.05)
JOBS = [Job(CELL, solver, (f"{i}",)) for i in range(2) for solver in ("fast", "slow")]
COSTS = {(CELL, "fast"): Cost(10, 0), (CELL, "slow"): Cost(10, 10)}


def result(job: Job, seconds: float, status: str = "ok") -> Result:
    key = ("photo", "sr4", 0.05, job.images[0])
    metrics = {"psnr": 21.5} if status == "ok" else {}
    return Result(key, job.solver, status, metrics=metrics, seconds=seconds)


def test_what_is_left_follows_from_what_each_solver_took() -> None:
    estimates = Estimates(COSTS)
    assert estimates.expected(JOBS[0]) is None
    estimates.learn("fast", estimates.work(JOBS[0]), 5.0)
    assert estimates.expected(JOBS[0]) == pytest.approx(5)
    assert estimates.expected(JOBS[1]) == pytest.approx(15)  # a backward pass counts as two
    estimates.learn("slow", estimates.work(JOBS[1]), 60.0)
    assert estimates.expected(JOBS[3]) == pytest.approx(60)
    assert estimates.expected(JOBS[2]) == pytest.approx(5)


def test_rows_of_an_earlier_run_count() -> None:
    estimates = Estimates(COSTS)
    estimates.learn_rows([{"solver": "slow", "evaluations": 10, "vjps": 10, "seconds": 9.0}])
    assert estimates.expected(JOBS[1]) == pytest.approx(9)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_on_a_terminal_and_lines_elsewhere(terminal: bool) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with LiveTable(console, JOBS, Estimates(COSTS)) as table:
        table(JOBS[0], [result(JOBS[0], 1.0)])
        table(JOBS[1], [result(JOBS[1], 3.0, "diverged")])
    text = out.getvalue()
    assert "21.5" in text
    assert "left" in text
    if terminal:
        assert "2 of 4 images" in text
        assert "1/2, 1 without result" in text
    else:
        assert text.count("\n") == 2
        assert "photo, sr4 at 0.05, fast: 1 image, psnr 21.50, 1.00 s an image; " in text
        assert "slow: 1 image, 1 diverged (None)" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "3 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words

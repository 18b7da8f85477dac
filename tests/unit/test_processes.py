"""A pool whose processes die: at their start, at a job once, and at a job always."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from reddiff.processes import READY, Died, WorkerError, run_jobs


def serve(pipe: Any, folder: str) -> None:
    """Doubles numbers; dies at the first try of 3, at every try of 5, and at its start for none."""
    if not folder:
        os._exit(7)
    pipe.send(READY)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        seen = Path(folder, str(job))
        if job == 5 or (job == 3 and not seen.exists()):
            seen.touch()
            os._exit(9)
        pipe.send(ValueError("eight") if job == 8 else 2 * job)


def test_jobs_outlive_processes(tmp_path: Path) -> None:
    found = dict(run_jobs(serve, str(tmp_path), range(8), 2))
    assert found.pop(5) == Died(9)
    assert found == {i: 2 * i for i in range(8) if i != 5}


def serve_several(pipe: Any, folder: str) -> None:
    """Doubles the numbers of a job; dies at every job with 5, and takes down the jobs it began."""
    pipe.send(READY)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        with Path(folder, "begun").open("a") as file:
            file.write(f"{job}\n")
        if 5 in job:
            os._exit(9)
        pipe.send([2 * n for n in job])


def singly(job: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(n,) for n in job]


def test_jobs_that_kill_their_process_are_tried_part_by_part_and_twice_in_all(tmp_path: Path):
    jobs = [(0, 1, 2), (3, 4, 5), (6, 7)]
    found = dict(run_jobs(serve_several, str(tmp_path), jobs, 2, singly))
    alone = {(3,): [6], (4,): [8], (5,): Died(9)}
    assert found == {(0, 1, 2): [0, 2, 4], (6, 7): [12, 14], **alone}
    begun = (tmp_path / "begun").read_text().splitlines()
    assert [line for line in begun if "5" in line] == ["(3, 4, 5)", "(5,)"]


def test_an_error_that_is_sent_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="eight"):
        list(run_jobs(serve, str(tmp_path), range(9, 7, -1), 1))


def test_processes_that_do_not_start() -> None:
    with pytest.raises(WorkerError, match="3 processes ended before their first job, with code 7"):
        list(run_jobs(serve, "", range(3), 1))


@pytest.mark.parametrize("times", [2, 9])
def test_a_fork_server_that_is_killed_while_it_starts_a_process(times, tmp_path, monkeypatch):
    real, deaths = forkserver.read_signed, []

    def read(descriptor: int) -> int:
        if len(deaths) < times:
            deaths.append(1)
            server = forkserver._forkserver._forkserver_pid
            os.kill(server, signal.SIGKILL)
            os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
            raise EOFError
        found: int = real(descriptor)
        return found

    monkeypatch.setattr(forkserver, "read_signed", read)
    jobs = run_jobs(serve, str(tmp_path), range(3), 1)
    if times == 2:
        assert dict(jobs) == {0: 0, 1: 2, 2: 4}
    else:
        with pytest.raises(WorkerError, match="no process can be started"):
            list(jobs)

"""Processes that run jobs; what they find is stored by the one that started them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from reddiff.bench.spec import Spec
from reddiff.errors import ReddiffError

TIMES = 2  # that a job is tried where its process dies


class WorkerError(ReddiffError):
    """A process that died, such as one that the system killed for its memory."""


@dataclass(frozen=True)
class Setup:
    """What a process needs to run jobs.

    Arguments:
        spec: The spec.
        limit, device: As for `Context`.
        threads: Threads of torch.
    """

    spec: Spec
    limit: int | None
    device: str
    threads: int


def run_jobs(setup: Setup, jobs: Sequence[Any], count: int) -> Iterator[tuple[Any, Any]]:
    """Run jobs in processes; yields each with its rows, in the order in which they end.

    A process takes one job after the other, so that none waits for a slower one. The job of a
    process that dies is given to another.

    Raises:
        WorkerError: If a job's process dies twice.
    """
    context = multiprocessing.get_context("spawn")
    waiting, tries = list(reversed(jobs)), dict.fromkeys(jobs, 0)
    busy: dict[Any, tuple[Any, Any]] = {}

    def begin(pipe: Any, process: Any) -> None:
        job = waiting.pop()
        tries[job] += 1
        busy[pipe] = process, job
        pipe.send(job)

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, setup), daemon=True)
        process.start()
        theirs.close()
        begin(ours, process)

    try:
        for _ in range(min(count, len(waiting))):
            start()
        while busy:
            for ready in wait(list(busy)):
                pipe: Any = ready
                process, job = busy.pop(pipe)
                try:
                    found = pipe.recv()
                except (EOFError, OSError) as error:
                    process.join()
                    if tries[job] == TIMES:
                        sentence = f"{job}: its process ended with code {process.exitcode}, twice"
                        raise WorkerError(sentence) from error
                    waiting.append(job)
                    start()
                    continue
                if isinstance(found, BaseException):
                    raise found
                if waiting:
                    begin(pipe, process)
                else:
                    pipe.close()
                yield job, found
    finally:
        for process, _ in busy.values():
            process.kill()


def _serve(pipe: Connection[Any, Any], setup: Setup) -> None:
    """Run jobs until the pipe is closed, or the process at its other end is gone."""
    import signal

    import torch

    from reddiff.bench.context import Context
    from reddiff.bench.solving import Bench
    from reddiff.hooks import Hook, Progress

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    parent = os.getppid()

    class Watch(Hook):
        """Ends the process with the one that started it."""

        def __call__(self, progress: Progress) -> None:
            if os.getppid() != parent:
                os._exit(1)

    torch.set_num_threads(setup.threads)
    bench = None
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if bench is None:
                bench = Bench(Context(setup.spec, setup.limit, setup.device), [Watch()])
            found: Any = bench.run(job)
        except Exception as error:  # noqa: BLE001 - it is raised in the first process
            found = error
        try:
            pipe.send(found)
        except (BrokenPipeError, OSError):
            return

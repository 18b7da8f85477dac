"""A pool of worker processes that tolerates crashes of workers."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from reddiff.errors import ReddiffError

TIMES = 2  # attempts per job, if its process crashes
STARTS = 5  # attempts to start a process
READY = "ready"


class WorkerError(ReddiffError):
    """A process that crashed, for example because the system ran out of memory."""


@dataclass(frozen=True)
class Died:
    """The result for a job whose process crashed at each attempt.

    Arguments:
        code: The exit code of the last process; negative for a signal.
    """

    code: int | None

    @property
    def sentence(self) -> str:
        return f"its process ended with code {self.code}, twice"


def run_jobs(
    serve: Callable[[Any, Any], None],
    setup: Any,
    jobs: Iterable[Any],
    count: int,
    split: Callable[[Any], Sequence[Any]] = lambda job: [job],
) -> Iterator[tuple[Any, Any]]:
    """Run jobs in processes, and yield each job with its result as soon as it is finished.

    Each process takes the next job when it is free. A job whose process crashes is given to another
    process once. Processes end when the iterator is closed.

    Arguments:
        serve: Runs in each process, with its end of a pipe and the setup. It sends `READY` when it
            can begin, then receives jobs and sends results, until the pipe is closed. An exception
            that it sends is raised here.
        setup: Any picklable object.
        jobs: The jobs, hashable. Each is taken from the iterable when a process is free.
        count: The number of processes.
        split: Splits a job whose process crashed into parts, which are attempted separately. By
            default the whole job is attempted again.

    Raises:
        WorkerError: If processes cannot be started, or crash before they are ready.
    """
    context = _context(serve.__module__)
    again: list[Any] = []
    waiting, tries, failed = iter(jobs), dict[Any, int](), 0
    busy: dict[Any, tuple[Any, Any]] = {}  # pipe -> process, its job or READY while it starts
    idle: dict[Any, Any] = {}

    def start() -> None:
        ours, process = _started(context, serve, setup)
        busy[ours] = process, READY

    def begin(pipe: Any, process: Any) -> None:
        """Give a job to a free process."""
        job = again.pop() if again else next(waiting, READY)
        if job is READY:
            idle[pipe] = process
            return
        tries[job] = tries.get(job, 0) + 1
        busy[pipe] = process, job
        with suppress(OSError):  # it crashed, which the pipe will report
            pipe.send(job)

    try:
        for _ in range(count):
            start()
        while busy:
            for ready in wait(list(busy)):
                pipe: Any = ready
                process, job = busy.pop(pipe)
                try:
                    found = pipe.recv()
                except (EOFError, OSError) as error:
                    process.join()
                    failed += job is READY
                    if failed > TIMES * count:
                        sentence = f"{failed} processes ended before their first job"
                        raise WorkerError(f"{sentence}, with code {process.exitcode}") from error
                    start()
                    if job is READY:
                        continue
                    if tries[job] < TIMES:
                        made = tries.pop(job)
                        parts = split(job)
                        again += parts
                        tries |= dict.fromkeys(parts, made)
                        continue
                    found = Died(process.exitcode)
                else:
                    if isinstance(found, BaseException):
                        raise found
                    begin(pipe, process)
                if job is not READY:
                    del tries[job]
                    yield job, found
            while again and idle:
                begin(*idle.popitem())
    finally:
        for process, _ in busy.values():
            process.kill()
        for process in idle.values():
            process.kill()


def _started(context: Any, serve: Callable[[Any, Any], None], setup: Any) -> tuple[Any, Any]:
    """Our end of the pipe of a new process, and the process. The fork server may be killed, too."""
    failed = 0
    while True:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, setup), daemon=True)
        try:
            process.start()
        except (EOFError, OSError) as error:  # the next start begins a new fork server
            ours.close()
            failed += 1
            time.sleep(0.1 * failed)  # until the system knows that it is gone
            if failed == STARTS:
                reason = getattr(error, "strerror", None) or error
                raise WorkerError(f"no process can be started: {reason}") from error
        else:
            return ours, process
        finally:
            theirs.close()


def answer(pipe: Any, work: Callable[[Any], Any]) -> None:
    """The loop of `serve`: send `READY`, then do jobs until the pipe is closed."""
    with suppress(EOFError, OSError):
        pipe.send(READY)
        while True:
            pipe.send(work(pipe.recv()))


def _context(module: str) -> Any:
    """The start method: a fork server that has imported the module, if available, else spawn."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context

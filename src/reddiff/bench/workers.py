"""Processes that run jobs. The main process stores their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from reddiff import processes
from reddiff.bench.spec import Spec
from reddiff.processes import Died, WorkerError


@dataclass(frozen=True)
class Setup:
    """The configuration of a process.

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

    Raises:
        WorkerError: If a job's process dies twice.
    """
    for job, found in processes.run_jobs(_serve, setup, jobs, min(count, len(jobs))):
        if isinstance(found, Died):
            raise WorkerError(f"{job}: {found.sentence}")
        yield job, found


def _serve(pipe: Connection[Any, Any], setup: Setup) -> None:
    """Run jobs until the pipe is closed, or the process at its other end has ended."""
    from reddiff.bench.context import Context
    from reddiff.bench.solving import Bench
    from reddiff.run.parent import begin_work

    watch = begin_work(setup.threads)
    bench: Bench | None = None

    def work(job: Any) -> Any:
        nonlocal bench
        try:
            if bench is None:
                bench = Bench(Context(setup.spec, setup.limit, setup.device), [watch])
            return bench.run(job)
        except Exception as error:  # noqa: BLE001 - it is raised in the main process
            return error

    processes.answer(pipe, work)

"""What the resume law runs in a process of its own.

`worker.py resume FOLDER DEVICE` ends every run whose snapshot lies in FOLDER.
`worker.py run FOLDER DEVICE CASE` saves a snapshot after each step, slowly: it is there to be
killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import seeds  # noqa: F401 - before the zoo, as in the tests that start this process
import zoo
from reddiff import Problem, Reconstruction, Snapshot, solve
from reddiff.hooks import History, Hook, Progress
from reddiff.priors import Prior
from reddiff.snapshot import Tree

STEPS = 9
LANES = 3
CASES = {case.name: case for case in zoo.SOLVERS}


def assemble(device: torch.device) -> tuple[Problem, Prior]:
    """The problem of every run."""
    return zoo.solver_problem(LANES, device)


class EndSome(Hook):
    """Ends one lane before the pause, and one run of another lane after it."""

    def converged(self, progress: Progress) -> Tensor:
        done = torch.zeros_like(progress.alive)
        if progress.step == STEPS // 3:
            done[2:4] = True
        if progress.step == STEPS - 3:
            done[5] = True
        return done


def run(
    name: str,
    device: torch.device,
    *,
    stop_at: int | None = None,
    resume: Snapshot | None = None,
    extra: list[Hook] | None = None,
) -> Reconstruction:
    """The run of one solver, or a part of it."""
    return solve(
        *assemble(device),
        CASES[name].make(STEPS),
        seed=11,
        ids=zoo.ids(LANES),
        runs=2,
        hooks=[History(), EndSome(), *(extra or [])],
        stop_at=stop_at,
        resume=resume,
    )


def outcome(result: Reconstruction) -> Tree:
    """What must agree, bit by bit."""
    return {
        "samples": result.samples,
        "status": result.status,
        "steps": result.steps,
        "history": dict(result.history),
        "evaluations": list(result.cost.evaluations),
    }


class SaveSlowly(Hook):
    """A snapshot per step, and a pause to be killed in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, progress: Progress) -> Mapping[str, Tensor] | None:
        """Save, say so, and wait."""
        progress.snapshot().save(self.path)
        sys.stdout.write(f"{progress.step}\n")
        sys.stdout.flush()
        time.sleep(0.05)
        return None


def main() -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    task, folder, device = sys.argv[1], Path(sys.argv[2]), torch.device(sys.argv[3])
    if task == "run":
        (name,) = sys.argv[4:]
        run(name, device, extra=[SaveSlowly(folder / f"{name}.killed")])
        return
    for path in sorted(folder.glob("*.snapshot")):
        run(path.stem, device, resume=Snapshot.load(path)).snapshot.save(
            path.with_suffix(".resumed")
        )


if __name__ == "__main__":
    main()

"""Resume: K steps = stop at j, save, load in a new process, K - j steps; bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import reddiff
import zoo
from laws import worker
from laws.compare import assert_bits, fingerprint
from reddiff import Reconstruction, Snapshot

ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(Path(reddiff.__file__).parents[1]), str(Path(__file__).parents[1])]
    ),
}


def command(task: str, folder: Path, device: torch.device, *more: str) -> list[str]:
    return [sys.executable, worker.__file__, task, str(folder), str(device), *more]


@pytest.fixture(scope="module")
def straight(device: torch.device) -> dict[str, Reconstruction]:
    """Every solver's run, in one go."""
    return {name: worker.run(name, device) for name in worker.CASES}


@pytest.fixture(scope="module")
def resumed(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every solver stopped half-way here, and taken to its end in one other process."""
    folder = tmp_path_factory.mktemp("resume")
    for name in worker.CASES:
        half = worker.run(name, device, stop_at=worker.STEPS // 2)
        half.snapshot.save(folder / f"{name}.snapshot")
    subprocess.run(command("resume", folder, device), check=True, env=ENV, timeout=300)
    return folder


@zoo.every("case", zoo.SOLVERS)
def test_new_process(
    case: zoo.SolverCase, straight: dict[str, Reconstruction], resumed: Path
) -> None:
    wanted = straight[case.name].snapshot
    got = Snapshot.load(resumed / f"{case.name}.resumed")
    here = fingerprint(reddiff.snapshot.to_device(wanted.tree, torch.device("cpu")))
    assert fingerprint(got.tree) == here
    assert (got.step, got.ids, got.seed) == (wanted.step, wanted.ids, wanted.seed)


@pytest.mark.parametrize("stop_at", [0, worker.STEPS - 1])
@zoo.every("case", zoo.SOLVERS)
def test_first_and_last_step(
    case: zoo.SolverCase,
    stop_at: int,
    device: torch.device,
    straight: dict[str, Reconstruction],
    tmp_path: Path,
) -> None:
    through_a_file(case, stop_at, device, straight, tmp_path)


@pytest.mark.parametrize("stop_at", range(1, worker.STEPS + 1))
@zoo.every("case", zoo.SOLVERS, lambda case: case.name in ("everything", "noise-aware"))
def test_any_step(
    case: zoo.SolverCase,
    stop_at: int,
    device: torch.device,
    straight: dict[str, Reconstruction],
    tmp_path: Path,
) -> None:
    through_a_file(case, stop_at, device, straight, tmp_path)


def through_a_file(
    case: zoo.SolverCase,
    stop_at: int,
    device: torch.device,
    straight: dict[str, Reconstruction],
    tmp_path: Path,
) -> None:
    """The same through a file, stopping anywhere."""
    half = worker.run(case.name, device, stop_at=stop_at)
    path = tmp_path / "snapshot"
    half.snapshot.save(path)
    got = worker.run(case.name, device, resume=Snapshot.load(path))
    assert_bits(got, straight[case.name])


def test_some_runs_end_early(straight: dict[str, Reconstruction]) -> None:
    """The runs compared here do lose lanes on the way, before and after the pause."""
    early, late, end = worker.STEPS // 3, worker.STEPS - 3, worker.STEPS
    for result in straight.values():
        assert result.steps.tolist() == [[end, end], [early, early], [end, late]]


@pytest.mark.parametrize(
    "name", ["everything", pytest.param("optimizers-learned-lbfgs", marks=pytest.mark.slow)]
)
def test_killed(
    name: str, device: torch.device, straight: dict[str, Reconstruction], tmp_path: Path
) -> None:
    """A process that saves as it goes is killed; another one ends its run."""
    process = subprocess.Popen(
        command("run", tmp_path, device, name), env=ENV, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL
    snapshot = Snapshot.load(tmp_path / f"{name}.killed")
    assert 5 <= snapshot.step < worker.STEPS
    assert_bits(worker.run(name, device, resume=snapshot), straight[name])

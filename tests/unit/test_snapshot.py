from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.optim import Adam

import reddiff
from reddiff import Problem, Snapshot, SnapshotError, snapshot, solve
from reddiff.optim import cosine_lr
from reddiff.schedules import karras
from reddiff.snapshot import describe, select_tree, to_device
from reddiff.solvers import REDDiff
from reddiff.solvers.weightings import const, linear

TREE = {
    "x": torch.arange(6.0).view(3, 2),
    "lanes": [{"step": torch.tensor(3.0)}, {"step": None, "al": [1, "two", 0.1]}, {}],
    "half": torch.ones(3, dtype=torch.bfloat16),
    "count": 7,
    "nothing": None,
    "empty": {},
}


def made(tree=TREE, **changes) -> Snapshot:
    fields = {"solver": {"class": "S"}, "y_shape": (3, 4), "seed": 5, "ids": (1, 2, 9)}
    return Snapshot(**{**fields, "samples": 1, "step": 2, "tree": tree, **changes})


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_round_trip(tmp_path):
    before, path = made(), tmp_path / "run"
    before.save(path)
    after = Snapshot.load(path)
    assert same(before.tree, after.tree)
    for name in ("solver", "y_shape", "seed", "ids", "samples", "step"):
        assert getattr(before, name) == getattr(after, name)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_file_is_safetensors_with_a_json_header(tmp_path):
    made().save(tmp_path / "run")
    with safe_open(tmp_path / "run", framework="pt") as file:
        header = json.loads(file.metadata()["reddiff"])
    assert header["format"] == snapshot.FORMAT
    assert header["ids"] == [1, 2, 9]


def test_nothing_in_the_package_can_unpickle():
    forbidden = re.compile(r"\b(pickle|shelve|joblib|dill|torch\.load|torch\.save)\b")
    for path in Path(reddiff.__file__).parent.rglob("*.py"):
        code = re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.DOTALL)
        assert not forbidden.search(code), path


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "run"
    made().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SnapshotError, match="run: expected a reddiff snapshot, got "):
        Snapshot.load(path)


def test_files_that_are_no_snapshots_are_refused(tmp_path):
    (tmp_path / "text").write_text("not a snapshot, but longer than a header of eight bytes")
    save_file({"x": torch.ones(2)}, tmp_path / "weights")
    save_file({"x": torch.ones(2)}, tmp_path / "json", metadata={"reddiff": "{"})
    save_file({"x": torch.ones(2)}, tmp_path / "string", metadata={"reddiff": '"1"'})
    save_file({"x": torch.ones(2)}, tmp_path / "fields", metadata={"reddiff": '{"format": 2}'})
    for path in tmp_path.iterdir():
        with pytest.raises(SnapshotError, match=f"{path.name}: expected a reddiff snapshot"):
            Snapshot.load(path)
    with pytest.raises(FileNotFoundError):
        Snapshot.load(tmp_path / "missing")


@pytest.mark.parametrize("version", [0, snapshot.FORMAT + 1, None])
def test_another_format_is_refused(tmp_path, monkeypatch, version):
    monkeypatch.setattr(snapshot, "FORMAT", version)
    made().save(tmp_path / "run")
    monkeypatch.undo()
    message = f"expected format {snapshot.FORMAT}, got {version}"
    with pytest.raises(SnapshotError, match=message):
        Snapshot.load(tmp_path / "run")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def write_half(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError("No space left on device")

    path = tmp_path / "run"
    made(seed=1).save(path)
    monkeypatch.setattr(snapshot, "save_file", write_half)
    with pytest.raises(OSError, match="No space"):
        made(seed=2).save(path)
    assert Snapshot.load(path).seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_tree_with_something_else_in_it_is_refused(tmp_path):
    with pytest.raises(SnapshotError, match="/a/1: cannot save a object"):
        made({"a": [1, object()]}).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def paused(problem, prior, solver) -> Snapshot:
    return solve(problem, prior, solver, stop_at=2).snapshot


SOLVER = REDDiff(karras(4, 0.01, 1.0))


@pytest.mark.parametrize(
    "other",
    [
        REDDiff(karras(5, 0.01, 1.0)),
        REDDiff(karras(4, 0.01, 2.0)),
        REDDiff(SOLVER.schedule, weight=0.3),
        REDDiff(SOLVER.schedule, weighting=const),
        REDDiff(SOLVER.schedule, partial(Adam, lr=0.2, betas=(0.9, 0.99))),
        REDDiff(SOLVER.schedule, lr_schedule=cosine_lr),
    ],
    ids=["steps", "levels", "weight", "weighting", "optimizer", "lr_schedule"],
)
def test_a_snapshot_of_another_solver_is_refused(problem, prior, other):
    snapshot = paused(problem, prior, SOLVER)
    with pytest.raises(SnapshotError, match=r"resume: expected a snapshot of .*, got one of"):
        solve(problem, prior, other, resume=snapshot)


def test_a_snapshot_of_another_problem_is_refused(problem, prior):
    snapshot = paused(problem, prior, SOLVER)
    smaller = Problem(problem.y[:2], problem.operator, problem.noise)
    message = r"resume: expected y of shape \(3, 2, 6, 6\), got \(2, 2, 6, 6\)"
    with pytest.raises(SnapshotError, match=message):
        solve(smaller, prior, SOLVER, resume=snapshot)


def test_settings_are_described_alike_in_every_process():
    value = {
        "partial": partial(Adam, lr=0.1),
        "function": linear,
        "tensor": torch.arange(3),
        "number": torch.tensor(0.5),
        "tuple": (1, None, "a"),
        "schedule": karras(2),
    }
    description = describe(value)
    assert description == json.loads(json.dumps(description))
    assert description["partial"]["call"] == "torch.optim.adam.Adam"
    assert description["function"] == "reddiff.solvers.weightings.linear"
    assert description["tensor"] != describe(torch.arange(3).flip(0))
    assert description["number"] != describe(torch.tensor(0.6))
    assert description["schedule"]["class"] == "Schedule"


def test_lanes_are_picked_from_tensors_by_axis_0_and_from_lists_entry_by_entry():
    picked = select_tree({"x": TREE["x"], "lanes": [10, 11, 12], "n": 7}, torch.tensor([2, 0]))
    assert torch.equal(picked["x"], TREE["x"][[2, 0]])
    assert (picked["lanes"], picked["n"]) == ([12, 10], 7)


def test_to_device_reaches_every_tensor():
    moved = to_device(TREE, torch.device("meta"))
    assert moved["x"].device.type == moved["lanes"][0]["step"].device.type == "meta"
    assert moved["count"] == 7

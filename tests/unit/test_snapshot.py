from __future__ import annotations

import errno
import json
import os
import pickle
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.optim import Adam

import reddiff
import zoo
from reddiff import (
    Gaussian,
    LaneOptimizer,
    Laplace,
    Problem,
    Snapshot,
    SnapshotError,
    operator,
    solve,
)
from reddiff.operators import CircularBlur, Mask, Operator, gaussian_psf
from reddiff.optim import cosine_lr
from reddiff.priors import FlowPrior, GaussianRandomField, Prior, TiledPrior
from reddiff.run.fingerprints import fingerprint
from reddiff.schedules import karras
from reddiff.snapshot import State, describe, select_tree, to_device
from reddiff.snapshot import snapshot as snapshot_module
from reddiff.snapshot.state import selected
from reddiff.solvers import DDRM, REDDiff
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
    assert header["format"] == snapshot_module.FORMAT
    assert header["ids"] == [1, 2, 9]


def test_nothing_in_the_package_can_unpickle():
    """But with `weights_only`, which reads tensors alone.

    That is how checkpoints are converted, and the weights of a network of features read.
    """
    forbidden = re.compile(r"\b(pickle|shelve|joblib|dill|torch\.load|torch\.save)\b")
    for path in Path(reddiff.__file__).parent.rglob("*.py"):
        code = re.sub(r'""".*?"""|"[^"\n]*"|#[^\n]*', "", path.read_text(), flags=re.DOTALL)
        if path.name in ("checkpoints.py", "efficientnet.py"):
            loads = re.compile(r"torch\.load\(.*weights_only=True.*\)")
            assert len(loads.findall(code)) == 1
            code = loads.sub("", code).replace("from pickle import UnpicklingError", "")
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
    save_file({"x": torch.ones(2)}, tmp_path / "fields", metadata={"reddiff": '{"format": 5}'})
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in tmp_path.iterdir():
        message = f"{path.name}: expected (a reddiff snapshot|format 5), got "
        with pytest.raises(SnapshotError, match=message):
            Snapshot.load(path)
    with pytest.raises(FileNotFoundError):
        Snapshot.load(tmp_path / "missing")


@pytest.mark.parametrize("version", [0, snapshot_module.FORMAT + 1, None])
def test_another_format_is_refused(tmp_path, monkeypatch, version):
    monkeypatch.setattr(snapshot_module, "FORMAT", version)
    made().save(tmp_path / "run")
    monkeypatch.undo()
    message = (
        f"expected format {snapshot_module.FORMAT}, got {version} .of another version of reddiff"
    )
    with pytest.raises(SnapshotError, match=message):
        Snapshot.load(tmp_path / "run")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "run"
    made(seed=1).save(path)
    monkeypatch.setattr("reddiff.staging.fsync", full)
    with pytest.raises(SnapshotError, match=r"run: expected .*, got no space left on device"):
        made(seed=2).save(path)
    assert Snapshot.load(path).seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_only_regular_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    before = sorted((p.name, p.lstat().st_mode, p.lstat().st_ino) for p in tmp_path.iterdir())
    for name in ("folder", "dangling", "loop", "null", "pipe"):
        with pytest.raises(SnapshotError, match=f"{name}: expected a file, got a "):
            made().save(tmp_path / name)
    with pytest.raises(SnapshotError, match="run: expected an existing folder, got no such folder"):
        made().save(tmp_path / "none" / "run")
    after = sorted((p.name, p.lstat().st_mode, p.lstat().st_ino) for p in tmp_path.iterdir())
    assert before == after


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path, fsync = tmp_path / "run", os.fsync

    def late(descriptor):
        path.write_text("somebody else's")
        fsync(descriptor)

    monkeypatch.setattr("reddiff.staging.fsync", late)
    with pytest.raises(
        SnapshotError, match=r"run: expected a new file .force replaces one., got one"
    ):
        made().save(path)
    assert path.read_text() == "somebody else's"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_link_is_followed_and_stays_one(tmp_path):
    made(seed=1).save(tmp_path / "run")
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    made(seed=2).save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert Snapshot.load(tmp_path / "run").seed == 2


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
    with pytest.raises(
        SnapshotError, match=r"resume: expected a snapshot of REDDiff with .*, got one with "
    ):
        solve(problem, prior, other, resume=snapshot)


def test_what_differs_of_the_solver_is_named(problem, prior):
    snapshot = paused(problem, prior, SOLVER)
    with pytest.raises(SnapshotError) as caught:
        solve(problem, prior, replace(SOLVER, weight=0.3, draws=2), resume=snapshot)
    expected = "resume: expected a snapshot of REDDiff with weight=0.3, draws=2, "
    assert str(caught.value) == expected + "got one with weight=0.25, draws=1"
    with pytest.raises(SnapshotError, match="expected a snapshot of DDRM, got one of REDDiff"):
        solve(problem, prior, DDRM(SOLVER.schedule), resume=snapshot)


def test_functions_of_ones_own_are_told_apart_by_their_code(problem, prior):
    def halving(factor):
        return REDDiff(SOLVER.schedule, lr_schedule=lambda progress: factor * (1 - progress))

    snapshot = paused(problem, prior, halving(0.5))
    solve(problem, prior, halving(0.5), resume=snapshot)
    others = halving(0.6), REDDiff(SOLVER.schedule, lr_schedule=lambda p: 0.5 * (1 + p))
    for other in others:
        with pytest.raises(SnapshotError, match="with lr_schedule="):
            solve(problem, prior, other, resume=snapshot)


def test_a_snapshot_of_another_shape_is_refused(problem, prior):
    snapshot = paused(problem, prior, SOLVER)
    smaller = Problem(problem.y[:2], problem.operator, problem.noise)
    message = r"resume: expected y of shape \(3, 2, 6, 6\), got \(2, 2, 6, 6\)"
    with pytest.raises(SnapshotError, match=message):
        solve(smaller, prior, SOLVER, resume=snapshot)


def saved(path, problem, prior, solver=SOLVER) -> Snapshot:
    paused(problem, prior, solver).save(path)
    return Snapshot.load(path)


MASK = (torch.arange(36).view(6, 6) % 3 > 0).double()
OTHERS = {
    "y": (r"y", lambda p, prior: (replace(p, y=p.y.flip(0)), prior)),
    "operator": (
        r"operator \(CircularBlur, was Mask\)",
        lambda p, prior: (replace(p, operator=CircularBlur(gaussian_psf(0.6, 2))), prior),
    ),
    "mask": (r"y, operator", lambda p, prior: (replace(p, operator=Mask(MASK)), prior)),
    "level": (r"noise", lambda p, prior: (replace(p, noise=Gaussian(0.2)), prior)),
    "noise": (
        r"noise \(Laplace, was Gaussian\)",
        lambda p, prior: (replace(p, noise=Laplace(0.1)), prior),
    ),
    "exponent": (r"prior", lambda p, prior: (p, GaussianRandomField(-1.0, channels=2))),
    "std": (r"prior", lambda p, prior: (p, GaussianRandomField(std=0.4, channels=2))),
    "mean": (r"prior", lambda p, prior: (p, GaussianRandomField(mean=1e-12, channels=2))),
    "prior": (
        r"prior \(TiledPrior, was GaussianRandomField\)",
        lambda p, prior: (p, TiledPrior(prior, 32, 8)),
    ),
    "dtype": (
        r"dtype \(float32, was float64\), y, operator, prior",
        lambda p, prior: (
            Problem(p.y.float(), Mask(p.operator.mask.float()), p.noise),
            GaussianRandomField(channels=2, dtype=torch.float32),
        ),
    ),
}


@pytest.mark.parametrize(("named", "change"), OTHERS.values(), ids=OTHERS)
def test_a_snapshot_of_another_problem_or_prior_is_refused(problem, prior, tmp_path, named, change):
    expected = "resume: expected the y, operator, noise and prior of the snapshot, got another "
    for half in (paused(problem, prior, SOLVER), saved(tmp_path / "run", problem, prior)):
        with pytest.raises(SnapshotError, match=f"^{expected}{named}$"):
            solve(*change(problem, prior), SOLVER, resume=half)
        solve(problem, prior, SOLVER, resume=half)


def test_one_can_insist(problem, prior):
    snapshot = replace(paused(problem, prior, SOLVER), origin=None)
    solve(replace(problem, noise=Gaussian(0.2)), prior, SOLVER, resume=snapshot)


class Gain(Operator):
    """x -> g x^3; counts its calls, which is not to matter."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain, self.calls = gain, 0

    def forward(self, x):
        self.calls += 1
        return self.gain * x**3

    def x_shape(self, y_shape):
        return y_shape


def scaled(gain: float, calls: list[int]) -> Operator:
    factor = torch.full((6, 6), gain, dtype=torch.float64)

    def function(x):
        calls.append(1)
        return factor * x

    like = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    return operator(function, lambda y: factor * y, example=like)


def by_numpy(gain: float) -> Operator:
    return operator(lambda x: gain * x, lambda y: gain * y, x_shape=(2, 6, 6), numpy=True)


def leaning(gain: float) -> Operator:
    """Its adjoint is what is told apart."""
    return operator(lambda x: x, lambda y: gain * y, x_shape=(2, 6, 6), numpy=True, linear=True)


@pytest.mark.parametrize(
    "make",
    [Gain, partial(scaled, calls=[]), by_numpy, leaning, lambda gain: Gain(gain) @ Mask(MASK)],
)
def test_an_operator_of_ones_own_is_known_by_what_it_does(problem, prior, tmp_path, make):
    def given(gain):
        return replace(problem, operator=make(gain))

    snapshot = saved(tmp_path / "run", given(1.0), prior)
    end = solve(given(1.0), prior, SOLVER, resume=snapshot)
    assert torch.equal(end.x, solve(given(1.0), prior, SOLVER).x)
    with pytest.raises(SnapshotError, match=r"got another (y, )?operator$"):
        solve(given(1.001), prior, SOLVER, resume=snapshot)


class Shrink(Prior):
    """A prior of one's own, with a setting, a counter, and a cache."""

    def __init__(self, amount: float = 0.5) -> None:
        super().__init__((None, None, None))
        self.amount, self.calls, self.last = amount, 0, torch.zeros(())

    def denoise(self, x, sigma):
        self.calls += 1
        self.last = self.amount * x
        return self.last


class Shrinks(Shrink):
    def denoise(self, x, sigma):
        return self.amount * x / (1 + sigma)


def test_a_prior_of_ones_own_is_known_by_its_code_and_attributes(problem, tmp_path):
    snapshot = saved(tmp_path / "run", problem, Shrink())
    used = Shrink()
    for prior in (Shrink(), used, used):
        assert solve(problem, prior, SOLVER, resume=snapshot).x.isfinite().all()
    for other in (Shrink(0.6), Shrinks(), type("Shrink", (Shrinks,), {})()):
        with pytest.raises(SnapshotError, match="got another prior"):
            solve(problem, other, SOLVER, resume=snapshot)


def test_hashes_are_made_when_they_are_asked_for(problem, prior, monkeypatch):
    def asked(*args):
        raise AssertionError

    monkeypatch.setattr("reddiff.run.fingerprints.hashed", asked)
    half = paused(problem, prior, SOLVER)
    with pytest.raises(AssertionError):
        _ = half.origin.tree


def test_answers_can_be_pickled_and_do_not_carry_the_prior(problem):
    net = torch.nn.Linear(1000, 1000, dtype=torch.float64)
    heavy = FlowPrior(net, (2, None, None))
    origin = fingerprint(problem, heavy)
    data = pickle.dumps(origin)
    assert len(data) < 4000
    assert pickle.loads(data).differences(origin) == []


EDITS = {
    "no state": lambda t: t.pop("state"),
    "an entry more": lambda t: t.update(more=1),
    "state of another solver": lambda t: t.update(state={"x": torch.zeros(3, 2, 6, 6)}),
    "state is a number": lambda t: t.update(state=7),
    "lanes lost": lambda t: t["state"]["mu"].update(lanes=[{}]),
    "x of another shape": lambda t: t["state"]["mu"].update(x=torch.zeros(3, 1, 6, 6)),
    "x of another dtype": lambda t: t["state"]["mu"].update(x=torch.zeros(3, 2, 6, 6)),
    "loop without x": lambda t: t["loop"].pop("x"),
    "status of others": lambda t: t["loop"].update(status=torch.tensor([0, 0])),
    "no such status": lambda t: t["loop"].update(status=torch.tensor([0, 0, 9])),
    "status as floats": lambda t: t["loop"].update(status=torch.zeros(3)),
    "rows twice": lambda t: t.update(rows=torch.tensor([0, 0, 1])),
    "rows beyond": lambda t: t.update(rows=torch.tensor([0, 1, 3])),
    "rows of a word": lambda t: t.update(rows="012"),
    "said nothing": lambda t: t.update(said=None),
    "history": lambda t: t.update(history={"a": torch.zeros(2, 4)}),
    "a list": lambda t: t.update(loop=[1]),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_damaged_tree_is_refused(problem, prior, tmp_path, edit):
    snapshot = saved(tmp_path / "run", problem, prior)
    edit(snapshot.tree)
    with pytest.raises(SnapshotError, match="resume: expected an undamaged snapshot, got "):
        solve(problem, prior, SOLVER, resume=snapshot)


@pytest.mark.parametrize("change", [{"ids": (1, 2)}, {"samples": 2}, {"samples": 0}, {"step": -1}])
def test_numbers_that_do_not_fit_are_refused(problem, prior, change):
    snapshot = replace(paused(problem, prior, SOLVER), **change)
    with pytest.raises(SnapshotError, match="resume: expected an undamaged snapshot, got "):
        solve(problem, prior, SOLVER, resume=snapshot)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 20_000 + "1" + "}" * 20_000])
def test_a_header_that_is_nested_too_deep_is_refused(tmp_path, deep):
    save_file({"x": torch.ones(2)}, tmp_path / "inner", metadata={"reddiff": deep})
    data = deep.encode()
    (tmp_path / "outer").write_bytes(len(data).to_bytes(8, "little") + data)
    header = json.loads(json.dumps({"format": snapshot_module.FORMAT, "tree": None}))
    text = json.dumps(header).replace("null", '{"list":[' * 500 + '{"value":1}' + "]}" * 500)
    sums = {"reddiff": text, "sha256": snapshot_module._checksum(text, {})}
    save_file({}, tmp_path / "tree", metadata=sums)
    for path in tmp_path.iterdir():
        with pytest.raises(SnapshotError, match=f"{path.name}: expected a reddiff snapshot"):
            Snapshot.load(path)


def test_a_header_that_claims_too_much_is_refused_at_once(tmp_path):
    path = tmp_path / "run"
    entry = {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}
    header = json.dumps({"__metadata__": {"reddiff": "{}"}, "x": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(SnapshotError, match=r"run: expected a reddiff snapshot, got \d+ bytes of"):
        Snapshot.load(path)
    for length in (0, 2**30, 2**63):
        with path.open("wb") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(2**31)  # takes no room on the disk
        with pytest.raises(SnapshotError, match="got a file without its header"):
            Snapshot.load(path)


def test_names_that_join_to_the_same_one_are_kept_apart(tmp_path):
    tree = {"a": {"b": torch.zeros(1)}, "a/b": torch.ones(1)}
    made(tree).save(tmp_path / "run")
    assert same(tree, Snapshot.load(tmp_path / "run").tree)


@pytest.mark.parametrize(
    "cases", [zoo.OPERATORS, zoo.PRIORS, zoo.SOLVERS], ids=["operators", "priors", "solvers"]
)
def test_what_is_made_alike_is_described_alike_and_all_are_told_apart(cases):
    def described(case):
        if isinstance(case, zoo.SolverCase):
            return describe(case.make(5))
        if isinstance(case, zoo.PriorCase):
            return describe(case.make())
        return case.x_shape, fingerprint(*zoo.operator_problem(case)).tree["operator"]

    first, again = ([json.dumps(described(case)) for case in cases] for _ in range(2))
    assert first == again
    apart = [text for text, case in zip(first, cases, strict=True) if case.name[:3] != "own"]
    assert len(set(apart)) == len(apart)  # some functions do the same in several ways


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
    assert description["tensor"] != describe(torch.arange(3, dtype=torch.int32))
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


@dataclass(frozen=True, eq=False)
class Inner(State):
    v: torch.Tensor


@dataclass(frozen=True, eq=False)
class Outer(State):
    x: torch.Tensor
    inner: Inner | None
    words: list[str]
    optimizer: LaneOptimizer
    count: int = 3


def test_the_state_of_a_solver_is_saved_loaded_and_cut_without_its_help(tmp_path):
    x = torch.arange(6.0).view(3, 2)
    moved = LaneOptimizer(x, rows=1).step(Adam, torch.ones(3, 2))
    state = Outer(x, Inner(-x), ["a", "b", "c"], moved)
    Snapshot("", (), 0, (), 1, 0, state.dump()).save(tmp_path / "run")
    again = Outer.load(Snapshot.load(tmp_path / "run").tree)
    few = selected(again, torch.tensor([2, 0]))
    assert isinstance(few, Outer)
    assert isinstance(few.inner, Inner)
    assert torch.equal(few.inner.v, -x[[2, 0]])
    assert (few.words, few.count) == (["c", "a"], 3)
    grad = torch.ones(2, 2)
    straight = moved.step(Adam, torch.ones(3, 2)).x[[2, 0]]
    assert torch.equal(few.optimizer.step(Adam, grad).x, straight)
    assert Outer.load(Outer(x, None, [], moved).dump()).inner is None
    with pytest.raises(ValueError, match="expected the entries"):
        Inner.load({"w": x})

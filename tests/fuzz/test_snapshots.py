"""Damaged snapshots are refused, and savers that are killed leave none."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from laws import worker
from laws.compare import assert_bits
from reddiff import Reconstruction, Snapshot, SnapshotError, solve
from reddiff.hooks import History, Hook, Progress

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS = 6
NAMES = ["default", "noise-aware", "dps", "ddrm", "rsd", "pnp-admm", "optimizer-lbfgs"]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    3,
    1.5,
    float("inf"),
    float("nan"),
    2**63,
    2**70,
    "",
    "x",
]
VALUES += [[], [1], {}, {"value": 1}, {"tensor": "none"}, {"tensor": 1}, {"list": 3}, {"dict": [1]}]
VALUES += ["1" * 5000, [[1, 2]], int("9" * 4000)]
DTYPES = ["F32", "F64", "I64", "I32", "BOOL", "BF16", "F16", "U8", "C64", "X", 3, None]
Tree = Any


def run(name: str, **options: Any) -> Reconstruction:
    problem, prior = zoo.solver_problem(3)
    solver = worker.CASES[name].make(STEPS)
    return solve(problem, prior, solver, runs=2, hooks=[History()], **options)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A snapshot file of each solver."""
    folder, files = tmp_path_factory.mktemp("sound"), {}
    for name in NAMES:
        run(name, stop_at=3).snapshot.save(folder / name)
        files[name] = (folder / name).read_bytes()
    return files


def split(data: bytes) -> tuple[Tree, bytes]:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def join(header: Tree, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def paths(tree: Tree, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from paths(value, (*path, key))


def edited(rng: random.Random, tree: Tree) -> None:
    """One entry of a tree is lost, or becomes something else."""
    path = rng.choice([p for p in paths(tree) if p])
    for key in path[:-1]:
        tree = tree[key]
    if rng.random() < 0.25:
        del tree[path[-1]]
    else:
        tree[path[-1]] = rng.choice(VALUES)


def flipped(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))] + rng.choice([b"", b"", bytes(rng.randrange(99))])


def one_bit_of_the_numbers(rng: random.Random, data: bytes) -> bytes:
    header, numbers = split(data)
    out = bytearray(numbers)
    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return join(header, bytes(out))


def other_metadata(rng: random.Random, data: bytes) -> bytes:
    header, numbers = split(data)
    record = json.loads(header["__metadata__"]["reddiff"])
    for _ in range(rng.choice([1, 1, 2])):
        edited(rng, record)
    header["__metadata__"]["reddiff"] = json.dumps(record)
    return join(header, numbers)


def other_table(rng: random.Random, data: bytes) -> bytes:
    header, numbers = split(data)
    names = [name for name in header if name != "__metadata__"]
    name, other = rng.choice(names), rng.choice(names)
    shape = header[name]["shape"]
    kind = rng.randrange(5)
    if kind == 0:
        header[name]["dtype"] = rng.choice(DTYPES)
    elif kind == 1:
        shapes = [[], [0], [2**40], [-1], [1.5], None, shape[::-1], [*shape, 1], [1, *shape]]
        header[name]["shape"] = rng.choice(shapes)
    elif kind == 2:
        header[name], header[other] = header[other], header[name]
    elif kind == 3:
        del header[name]
    else:
        edited(rng, header)
    return join(header, numbers)


def deep(rng: random.Random, data: bytes) -> bytes:
    header, numbers = split(data)
    times = rng.choice([10, 1000, 100_000])
    texts = ["[" * times, '{"a":' * times + "1" + "}" * times]
    record = header["__metadata__"]["reddiff"]
    nested = '"tree": ' + '{"list": [' * times + '{"value": 1}' + "]}" * times + "}"
    texts.append(record[: record.index('"tree": ')] + nested)
    header["__metadata__"]["reddiff"] = rng.choice(texts)
    return join(header, numbers)


MUTATIONS = [
    flipped,
    cut,
    one_bit_of_the_numbers,
    other_metadata,
    other_metadata,
    other_table,
    deep,
]


def test_damaged_files(
    cases: Callable[[int], range], sound: dict[str, bytes], tmp_path: Path
) -> None:
    """A damaged file is refused; one that is not is whatever it was before."""
    path, counts = tmp_path / "run", Counter[str]()
    for seed in cases(500):
        rng = random.Random(seed)
        name = rng.choice(NAMES)
        path.write_bytes(rng.choice(MUTATIONS)(rng, sound[name]))
        try:
            loaded = Snapshot.load(path)
        except SnapshotError as error:
            message = str(error)
            counts["refused"] += 1
            counts["odd"] += not message.startswith(f"{path}: expected ")
            counts["long"] += len(message) > 500 + len(str(path))
        else:  # a change of nothing, such as of one space to another
            counts["sound"] += 1
            again = tmp_path / "again"
            loaded.save(again)
            counts["other"] += split(again.read_bytes()) != split(sound[name])
    assert counts["odd"] == counts["long"] == counts["other"] == 0, counts
    assert counts["refused"] > 5 * counts["sound"], counts


def test_damaged_trees(
    cases: Callable[[int], range], sound: dict[str, bytes], tmp_path: Path
) -> None:
    """What was damaged before it was saved is refused, unless it is as good as any other."""
    path, refused = tmp_path / "run", 0
    for seed in cases(200):
        rng = random.Random(seed)
        name = rng.choice(NAMES)
        path.write_bytes(sound[name])
        snapshot = Snapshot.load(path)
        tree = snapshot.tree
        places = [p for p in paths(tree) if p and p[0] != "state"]
        place = rng.choice([*places, ("state",)])
        for key in place[:-1]:
            tree = tree[key]
        if rng.random() < 0.25:
            del tree[place[-1]]
        else:
            values = [*VALUES, torch.zeros(3), torch.zeros(6, 6), torch.tensor(1)]
            tree[place[-1]] = rng.choice(values)
        try:
            run(name, resume=snapshot)
        except SnapshotError:
            refused += 1
    assert refused > 0.7 * len(cases(200))


class Save(Hook):
    """A snapshot after every step, without a pause."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, progress: Progress) -> None:
        """Save it."""
        progress.snapshot().save(self.path)


def saving(path: Path, name: str) -> int:
    """A process that saves over and over, until it is killed."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            while True:
                worker.run(name, CPU, extra=[Save(path)])
        finally:
            os._exit(1)
    return child


def test_killed_savers(cases: Callable[[int], range], tmp_path: Path) -> None:
    """Processes that save after every step are killed at any time: no half file, all resume."""
    names, counts = ["noise-aware", "ddrm", "everything"], Counter[str]()
    straight = {name: worker.run(name, CPU) for name in names}
    for seed in cases(100):
        rng = random.Random(seed)
        name = names[seed % len(names)]
        path = tmp_path / f"{seed}.{name}"
        child = saving(path, name)
        try:
            end = time.monotonic() + 60
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.1))
        finally:
            os.kill(child, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            os.waitpid(child, 0)
        snapshot = Snapshot.load(path)
        counts[f"step {snapshot.step}"] += 1
        assert_bits(worker.run(name, CPU, resume=snapshot), straight[name])
    left = [p.name for p in tmp_path.iterdir() if p.suffix == ".part"]
    assert len(left) <= len(cases(100)) // 20, left  # whole, between two names

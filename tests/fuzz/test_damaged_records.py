"""500 damaged records, shown and replayed: no code is run, nothing is written elsewhere."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
import sandbox
from forked import faults, manifest

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 1.5, 1e400, float("nan"), 2**63, 10**30, -(2**63)),
    *("", "x", "photo", "denoise", "..", "/etc/passwd", "mine.py:lens", "\0", "a\0b", "\ud800"),
    *("\x1b[31m", "\u202e", [], [1], {}, {"a": 1}, "cpu", "meta", "1" * 5000, "ddrm", "/dev/zero"),
    *("two", "fifo.png", "pics/gray.png", "../outside.png", "out/existing.png", "tiny.safetensors"),
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything in a record."""
    if path:
        yield path
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield from paths(item, (*path, key))


def damaged(record: dict[str, Any], rng: random.Random) -> bytes:
    """The record with a few values, entries or bytes that are others."""
    record = copy.deepcopy(record)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        *where, last = rng.choice(list(paths(record)) or [("job",)])
        parent: Any = record
        for key in where:
            parent = parent[key]
        if not isinstance(parent, (dict, list)) or (isinstance(parent, dict) and not parent):
            continue
        choice = rng.randrange(4)
        if choice == 0:
            del parent[last]
        elif choice == 1 and isinstance(parent, dict):
            parent[rng.choice(["new", "source", "task", "output", "__class__", ""])] = rng.choice(
                VALUES
            )
        else:
            parent[last] = rng.choice(VALUES)
    data = bytearray(json.dumps(record).encode())
    if rng.random() < 0.15:
        for _ in range(rng.choice([1, 3, 10])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.05 else data)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))  # for several processes
def test_damaged_records(cases: Callable[[int], range], tmp_path: Path, part: int) -> None:
    forked.preload()
    root = tmp_path / "box"
    sandbox.build(root)
    words = ["restore", "pics/rgb.png", "-o", "good.png", "--task", "denoise", "--noise", "0.05"]
    ended = forked.run([*words, "--steps", "2", "--prior", "tiny.safetensors"], root)
    assert ended.code == 0, ended.text
    good = json.loads((root / "good.png.json").read_text())
    outside, wrong = manifest(tmp_path), []
    for seed in cases(500)[part::4]:
        rng = random.Random(seed)
        (root / "bad.json").write_bytes(damaged(good, rng))
        force = rng.random() < 0.3
        output = ["-o", "out/again.png"] * rng.randrange(2)
        replay = ["replay", "bad.json", *output, *["--force"] * force]
        words = rng.choice([["show", "bad.json"], ["show", "--full", "bad.json"], replay, replay])
        before = manifest(tmp_path)
        ended = forked.run(words, root)
        after = manifest(tmp_path)
        (tmp_path / "box.printed").unlink()
        for listed in (before, after):
            listed.pop(str(tmp_path / "box.printed"), None)
        ran = (root / "RAN").exists()
        # Where the pixels differ the picture is written, and the message says so.
        told = "expected pixels" in ended.text
        found = faults(ended, after if told else before, after, force=False)
        if ran:
            found.append("ran code")
        if found:
            wrong.append((seed, words, found, ended.text[-400:]))
        for path in set(after) - set(outside) - {str(root / "bad.json")}:
            if Path(path).is_file():
                Path(path).unlink()
        if ran:
            sandbox.build(root)
    assert not wrong, f"{len(wrong)}: " + "\n".join(map(str, wrong[:20]))

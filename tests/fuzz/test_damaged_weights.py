"""Damaged weights files: loaded, or refused in one line, in little time and memory."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from bounded import MEMORY, ended

from reddiff.priors import photo_prior
from reddiff.priors.photo import ASSET

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NUMBERS: tuple[Any, ...] = (0, 1, -1, 3, 2**20, 10**7, 2**40, 10**30, 1.5, True, None, "a", [], {})


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file with something else in its header, or elsewhere."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    config = json.loads(header["__metadata__"]["config"])
    way = rng.randrange(7)
    if way == 0:
        return data[: rng.randrange(len(data))]
    if way == 1:
        new = bytearray(data)
        for _ in range(rng.choice([1, 4, 40])):
            new[rng.randrange(min(len(new), rng.choice([9, 400, size])))] = rng.randrange(256)
        return bytes(new)
    if way == 2:
        return struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63, size + 1])) + data[8:]
    tensors = sorted(key for key in header if key != "__metadata__")
    if way == 3:
        entry = header[rng.choice(tensors)]
        entry["shape"] = rng.choice([[2**40], [2**20, 2**20], [0], [], [-1], entry["shape"][::-1]])
    elif way == 4:
        header.pop(rng.choice(tensors))
    else:
        key = rng.choice([*config, "width"])
        value = rng.choice(NUMBERS)
        if isinstance(config.get(key), list) and rng.random() < 0.7:
            value = [value] * rng.choice([1, 4, 4, 1000])
        config[key] = value
        header["__metadata__"]["config"] = rng.choice(
            [json.dumps(config), json.dumps(config), json.dumps(config)[:-1], "[" * 10_000, "3"]
        )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_damaged_weights(cases: Callable[[int], range], tmp_path: Path) -> None:
    data = files("reddiff").joinpath(ASSET).read_bytes()
    path, bad = tmp_path / "a.safetensors", []
    path.write_bytes(data)
    how, base = ended(lambda: photo_prior(path), tmp_path / "printed")
    assert how == "ok"
    for seed in cases(50):
        path.write_bytes(damaged(random.Random(seed), data))
        how, peak = ended(lambda: photo_prior(path), tmp_path / "printed")
        if how != "ok" or peak > base + MEMORY:
            bad.append(f"seed {seed}, {(peak - base) >> 20} MB: {how}")
    assert not bad, "\n".join(bad)

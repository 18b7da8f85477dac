"""`reddiff bench`, killed 200 times: nothing finished is lost, or done again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml

import reddiff.bench.live
import reddiff.bench.running
import reddiff.bench.summary
import reddiff.bench.verdict  # noqa: F401 - a fork has them then

KILLS = 200
SPEC: dict[str, Any] = {
    "priors": {"field": {"field": {"std": 0.4}}},
    "images": {"drawn": 6, "size": 16},
    "tasks": {"noise": {"task": "denoise"}, "holes": {"task": "inpaint", "mask": "random:0.5"}},
    "noise": [0.05, 0.1],
    "solvers": {
        "y": {"solver": "degraded"},
        "default": {"solver": "noise-aware", "steps": 12},
        "red-diff": {"solver": "red-diff", "steps": 12},
        "dps": {"solver": "dps", "steps": 6},
    },
    "metrics": ["psnr", "residual"],
    "batch": 2,
}
COLUMNS = (
    "prior, task, noise, image, seed, y_hash, solver, status, metrics, evaluations, vjps, "
    "seconds, batch, length(truth), length(degraded), length(picture)"
)
ALL = 2 * 2 * 6 * 4


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, cases: Callable[[int], range], measure: Callable[[str], None]
) -> None:
    forked.preload()
    torch.optim.Adam([torch.zeros(1)])  # the first one imports for seconds
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    printed = tmp_path / "printed"
    words = ["bench", "spec.yaml", "-o"]
    start = time.monotonic()
    ended = forked.finish(forked.start([*words, "whole.sqlite"], tmp_path, printed), printed, 120)
    took = time.monotonic() - start
    assert ended.code == 0, ended.text
    whole = rows(tmp_path / "whole.sqlite")
    assert len(whole) == ALL
    chance = random.Random(1)
    kills = landed = finished = 0
    name, before = "0.sqlite", {}
    while kills < len(cases(KILLS)):
        pid = forked.start([*words, name], tmp_path, printed)
        if kills % 3:  # around a moment at which it writes
            wait_for_change(tmp_path / name, limit=took)
            time.sleep(chance.expovariate(1 / 0.02))
        else:
            time.sleep(chance.uniform(0, 0.2 * took))
        os.kill(pid, signal.SIGKILL)
        ended = forked.finish(pid, printed, 60)
        assert ended.code in (0, -signal.SIGKILL), ended.text
        kills += ended.code != 0
        now = rows(tmp_path / name)
        assert now | before == now, "a finished result was lost or done again"
        landed += before != now
        before = now
        if len(now) == ALL:
            assert same(now, whole)
            finished, before = finished + 1, {}
            name = f"{finished}.sqlite"
    ended = forked.finish(forked.start([*words, name], tmp_path, printed), printed, 120)
    assert ended.code == 0, ended.text
    now = rows(tmp_path / name)
    assert now | before == now
    assert same(now, whole)
    measure(f"bench: {kills} kills, {landed} of them after new results, {finished} files finished")


def wait_for_change(path: Path, limit: float) -> None:
    """Until the file, or its journal, changes."""
    parts, end = (path, path.with_name(f"{path.name}-journal")), time.monotonic() + limit

    def state() -> list[Any]:
        return [p.stat().st_mtime_ns if p.exists() else None for p in parts]

    before = state()
    while state() == before and time.monotonic() < end:
        time.sleep(0.0005)


def rows(path: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Every result with its measurement, by cell and solver; the file is sound."""
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'result'").fetchone():
            return {}
        query = f"SELECT {COLUMNS} FROM result JOIN measurement ON measurement.id = measurement"
        found = db.execute(query).fetchall()
        orphans = (
            "SELECT count(*) FROM result WHERE measurement NOT IN (SELECT id FROM measurement)"
        )
        assert db.execute(orphans).fetchone() == (0,)
    db.close()
    return {(*row[:4], row[6]): row for row in found}


def same(a: dict[tuple[Any, ...], tuple[Any, ...]], b: dict[Any, tuple[Any, ...]]) -> bool:
    """Whether two files have the same results, up to the time that they took and rounding."""
    import json

    for key, row in a.items():
        other = b[key]
        assert row[4:8] == other[4:8]
        assert row[9:11] == other[9:11]
        assert json.loads(row[8]) == pytest.approx(json.loads(other[8]), rel=1e-6)
    return a.keys() == b.keys()

"""Runs of many pictures whose processes are killed: nothing is lost, there twice or different."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests import scripts

engine = scripts.benchmark("engine")


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_killed_runs(cases, tmp_path: Path) -> None:
    """A twentieth of 60 kills, or all of them; `benchmarks/engine.py kills` makes more."""
    count, made = 20, {"first": 0, "other": 0, "all": 0}
    engine.pictures(tmp_path / "in", count, 16)
    prior = engine.tiny(tmp_path / "tiny.safetensors")
    setup = engine.settings(prior, 2)
    whole = engine.timed(tmp_path / "in", tmp_path / "whole", 0, settings=setup)
    good = engine.outputs(tmp_path / "whole", count)
    kills = len(cases(60))
    engine.killed_run(tmp_path, prior, random.Random(0), whole / 4, made, kills)
    assert engine.outputs(tmp_path / "out", count) == good

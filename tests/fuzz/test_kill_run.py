"""Runs of many pictures whose processes are killed: nothing is lost, there twice or different."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests import scripts

kills = scripts.benchmark("kills")


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_killed_runs(cases, tmp_path: Path) -> None:
    """A twentieth of 60 kills, or all of them; `benchmarks/kills.py` makes more."""
    count, made = 20, {"first": 0, "other": 0, "all": 0}
    kills.pictures(tmp_path / "in", count, 16)
    prior = kills.tiny(tmp_path / "tiny.safetensors")
    setup = kills.settings(prior, 2)
    whole = kills.timed(tmp_path / "in", tmp_path / "whole", 0, settings=setup)
    good = kills.outputs(tmp_path / "whole", count)
    most = len(cases(60))
    kills.killed_run(tmp_path, prior, random.Random(0), whole / 4, made, most)
    assert kills.outputs(tmp_path / "out", count) == good

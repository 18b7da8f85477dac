"""`reddiff run` when disks are full, processes die, files vanish and clocks jump."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import killer_operator
from picture_sets import COUNT, interrupt_after, picture, pixels, restored_from_now, run
from reddiff.engine import worker


@pytest.mark.slow
def test_a_picture_that_kills_its_process_fails_alone(here, monkeypatch):
    """See `killer_operator`."""
    shutil.copy(killer_operator.__file__, "killer.py")
    Image.new("RGB", (16, 12)).save("in/black.png")
    words = ("--task", "killer.py:killer", "--workers", 1)
    text = run("in", "out", *words, code=5)
    assert "black.png: its process ended with code -9, twice" in text
    assert len(pixels("out")) == COUNT


@pytest.mark.parametrize(
    ("output", "most"), [("files", 900), ("webdataset", 3000), ("parquet", 3000)]
)
def test_a_full_disk_ends_the_run_and_nothing_is_half(here, output, most):
    """Files of at most so many bytes: less than a result, or than a shard."""
    run("in", "whole", "--output-format", output)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        text = run("in", "out", "--output-format", output, code=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "file too large" in text
    assert not list(Path("out/_run").glob("*_stats.json"))
    run("in", "out", "--output-format", output)
    assert pixels("out") == pixels("whole")
    assert not [p for p in Path("out").rglob("*") if p.name.endswith(".part")]


def test_pictures_that_vanish_or_change_while_it_runs(here, monkeypatch):
    """Between the listing and the reading: one is failed, the other is what it was when read."""
    run("in", "whole")
    real, gone = worker.restored, Path("in/p2.png")

    def restored(units: Any, *words: Any) -> Any:
        gone.unlink(missing_ok=True)
        return real(units, *words)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "restored", restored)
        text = run("in", "out", code=5)
    assert "p2.png: expected a file that can be read" in text
    good = pixels("whole")
    del good["p2.png"]
    assert pixels("out") == good


def test_the_clock_decides_nothing(here, monkeypatch):
    """It jumps by years, and files have times of the future and of the past."""
    run("in", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        run("in", "out", code=130)
    made = restored_from_now(monkeypatch)
    for years, path in enumerate(p for top in ("in", "out") for p in Path(top).rglob("*")):
        then = time.time() + (-1) ** years * 3e7 * years
        os.utime(path, (then, then))
    clock = iter(range(2_000_000_000, 0, -100_000_000))
    monkeypatch.setattr(time, "time", lambda: next(clock, 0))
    run("in", "out")
    assert len(made) == 2
    assert pixels("out") == pixels("whole")


def test_a_mask_of_another_size_fails_the_picture_alone(here):
    picture("in/wide.png", 9, (12, 20, 3))
    picture("mask.png", 9, (12, 16))
    text = run("in", "out", "--task", "inpaint", "--mask", "mask.png", code=5)
    assert "wide.png: expected a mask of 20x12 pixels" in text
    assert len(pixels("out")) == COUNT

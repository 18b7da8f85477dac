"""`reddiff run` when disks are full, processes die, files vanish or are odd, and clocks jump."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
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


def test_a_folder_of_odd_names_and_files(here):
    """Good ones are restored in each format, the others are listed with a reason."""
    names = ("with space.png", "-dash.png", "[1].png", os.fsdecode(b"latin\xe9.png"))
    for name in names:
        picture(f"odd/{name}", 1)
    picture("odd/one.png", 1, (1, 1, 3))
    picture("odd/._a.png", 1)
    Path("odd/empty.png").touch()
    Path(os.fsdecode(b"odd/bad\xe9.png")).write_text("no picture")
    Path("odd/up").symlink_to("..")
    Path("odd/loop.png").symlink_to("loop.png")
    for kind in ("files", "webdataset", "parquet"):
        text = run("odd", kind, "--output-format", kind, code=5)
        assert "8 pictures: 5 done, 3 failed" in text
    assert set(pixels("files")) == set(pixels("webdataset")) == {*names, "one.png"}
    escaped = {name.encode("utf-8", "backslashreplace").decode() for name in names}
    assert set(pixels("parquet")) == {*escaped, "one.png"}
    rows = parquet.read_table("parquet/failed.parquet").to_pylist()
    assert [row["key"] for row in rows] == [r"bad\udce9.png", "empty.png", "loop.png"]

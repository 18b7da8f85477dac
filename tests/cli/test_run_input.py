"""What `reddiff run` refuses before any work, in one line."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import commands
from picture_sets import picture, run
from reddiff.engine.target import Target


def test_targets_that_are_in_the_way(here):
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    assert "full: expected a new or empty folder" in run("in", "full", code=3)
    assert [p.name for p in Path("full").iterdir()] == ["notes.txt"]
    Path("file").touch()
    assert "file: not a directory" in run("in", "file", code=4)
    Path("state").mkdir()
    Path("state/_run").touch()
    assert "state/_run: expected a folder, got a file" in run("in", "state", code=4)
    with Target(Path("used")).locked():
        assert "expected a target that no other run is writing to" in run("in", "used", code=4)
    run("in", "used")  # the lock of a run that is gone is nobody's
    Path("in/dst").mkdir()
    run("in", "in/dst")
    run("in", "in/dst")


def test_a_target_that_may_not_be_written(here):
    """A place where root may not make a folder, either."""
    assert "expected a writable path, got " in run("in", "/proc/results", code=4)


SOURCES: list[tuple[str, Callable[[], Any], str]] = [
    ("nowhere", lambda: None, "which does not exist"),
    ("in.zip", lambda: Path("in.zip").touch(), "SRC: expected a folder, a list"),
    ("foo://bucket/*.png", lambda: None, "expected a store that can be listed"),
    ("file:///nowhere/*.png", lambda: None, "expected pictures in file:///nowhere"),
    ("a.txt", lambda: Path("a.txt").write_text("in/p0.png\nin/no.png\n"), "1 of 2 missing"),
    ("b.txt", lambda: Path("b.txt").write_text(""), "expected pictures in b.txt, got none"),
    ("c.tar", lambda: Path("c.tar").write_bytes(b"no tar" * 200), "an uncompressed tar file"),
    ("{0..1}.tar", lambda: None, "2 of 2 missing, the first: 0.tar"),
    ("d.parquet", lambda: Path("d.parquet").write_bytes(b"none"), "expected a Parquet file"),
    ("e*.tar", lambda: None, "expected files e*.tar, got none"),
]


@pytest.mark.parametrize(("source", "make", "said"), SOURCES, ids=[s[0] for s in SOURCES])
def test_sources_that_cannot_be_used(here, source, make, said):
    make()
    text = run(source, "out", code=4 if "directory" in said else 3)
    assert said in text
    assert len(text.splitlines()) == 1
    assert not Path("out").exists()


def test_names_that_are_taken_twice_or_lead_out(here):
    picture("in/P0.png", 3)
    assert "got P0.png and p0.png" in run("in", "out", code=3)
    with tarfile.open("out.tar", "w") as tar:
        tar.add("in/p2.png", "../../p2.png")
    assert "expected relative names without .." in run("out.tar", "out", code=3)
    parquet.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), "two.parquet")
    assert "one column of bytes in two.parquet" in run("two.parquet", "out", code=3)
    assert not Path("out").exists()


def test_options_that_cannot_be_used(here):
    assert "--shard-size: expected" in run("in", "out", "--shard-size", 0, code=3)
    assert "--workers: expected" in run("in", "out", "--workers", -1, code=3)
    assert "noise: expected" in run("in", "out", "--noise", 3, code=3)
    text = run("in", "out", "--task", "inpaint", "--mask", "no.png", code=4)
    assert "no.png: expected a file that can be read" in text
    assert "expected the target of `reddiff run`" in commands.run("run", "--status", "in", code=3)
    assert not Path("out").exists()


def test_ray_that_is_not_installed(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    text = run("in", "out", "--distributor", "ray", "--workers", 1, code=3)
    assert "--distributor: expected the package ray (pip install 'reddiff[ray]')" in text
    assert not Path("out").exists()

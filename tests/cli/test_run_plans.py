"""`reddiff run` on the target of an earlier run, and pictures that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as parquet

from picture_sets import COUNT, picture, pixels, run
from tiny import save_tiny


def test_another_plan_is_refused_and_the_difference_named(here):
    picture("mask.png", 9, (12, 16))
    words = ("--task", "inpaint", "--mask", "mask.png")
    run("in", "out", *words)
    text = run("in", "out", *words, "--noise", 0.1, "--shard-size", 3, code=3)
    assert "noise 0.05 -> 0.1, shard-size 2 -> 3" in text
    assert "--new-run starts another run" in text
    picture("mask.png", 8, (12, 16))
    assert "other mask (another file)" in run("in", "out", *words, code=3)
    picture("mask.png", 9, (12, 16))
    picture("in/new.png", 20)
    Path("in/p0.png").unlink()
    Path("in/p2.png").write_bytes(Path("in/p2.png").read_bytes() + b"\0")
    text = run("in", "out", *words, code=3)
    expected = "1 new, the first: new.png; 1 missing, the first: p0.png; 1 of another size"
    assert f"source ({expected}" in text
    save_tiny(here / "tiny.safetensors", seed=1)
    assert "weights" in run("in", "out", *words, code=3)


def test_an_earlier_run_is_set_aside_or_removed(here):
    run("in", "out", "--output-format", "webdataset")
    first = pixels("out")
    text = run("in", "out", "--output-format", "webdataset", "--seed", 1, "--new-run")
    assert "now in out/previous-1" in text
    assert pixels("out/previous-1") == first
    assert set(pixels("out")) == set(first)
    text = run("in", "out", "--mode", "overwrite", "--shard-size", 100)
    assert not list(Path("out").glob("*.tar"))
    assert pixels("out/previous-1") == first
    assert "both" in run("in", "out", "--mode", "overwrite", "--new-run", code=3)


def test_failures_end_nothing_and_are_listed(here):
    Path("in/cut.png").write_bytes(Path("in/p0.png").read_bytes()[:60])
    text = run("in", "out", "--output-format", "parquet", code=5)
    assert "cut.png: expected a whole picture" in text
    assert "6 pictures: 5 done, 1 failed" in text
    (row,) = (json.loads(line) for line in Path("out/failed.jsonl").read_text().splitlines())
    assert row["key"] == "cut.png"
    assert parquet.read_table("out/failed.parquet").to_pylist() == [row]
    assert "finished before" in run("in", "out", "--output-format", "parquet", code=5)
    Path("in/cut.png").write_bytes(Path("in/p0.png").read_bytes()[:59] + b"\0")
    run("in", "out", "--output-format", "parquet", "--retry-failed", code=5)
    assert len(pixels("out")) == COUNT
    for path in Path("in").rglob("p*.png"):
        path.write_bytes(b"no picture")
    run("in", "none", code=3)

"""`reddiff run`: every result once, with the pixels that any other way to run gives."""

from __future__ import annotations

import json
import tarfile
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from rich.console import Console

import commands
from picture_sets import COUNT, interrupt_after, pixels, restored_from_now, run
from reddiff.cli.run_display import Display
from reddiff.engine import worker
from reddiff.engine.events import Event
from reddiff.images.io import read_picture


def test_formats_shards_and_sources_give_the_same_pixels(here):
    text = run("in", "files")
    assert "shard 2: 1 done" in text
    assert f"{COUNT} pictures: {COUNT} done, 0 failed" in text
    good = pixels("files")
    assert sorted(good) == sorted(p.relative_to("in").as_posix() for p in Path("in").rglob("*.png"))
    assert len(set(good.values())) == COUNT
    run("in", "tars", "--output-format", "webdataset", "--shard-size", 4)
    run("in", "tables", "--output-format", "parquet", "--shard-size", 100)
    assert pixels("tars") == pixels("tables") == good

    Path("list.txt").write_text("".join(f"in/{key}\n" for key in sorted(good, reverse=True)))
    run("list.txt", "listed")
    run(f"file://{here}/in/**/*.png", "globbed")
    assert pixels("listed") == pixels("globbed") == good
    for numbers in range(2):
        with tarfile.open(f"in-{numbers}.tar", "w") as tar:
            for key in sorted(good)[numbers::2]:
                tar.add(f"in/{key}", key)
            tar.add("list.txt")
    text = run("in-{0..1}.tar", "unpacked")
    assert "Skipped, as not pictures: 2 members" in text
    assert {key.split("/", 1)[1]: value for key, value in pixels("unpacked").items()} == good
    rows = [{"image": Path("in", key).read_bytes(), "path": key} for key in good]
    parquet.write_table(pa.Table.from_pylist(rows), "in.parquet", row_group_size=2)
    run("in.parquet", "selected")
    assert {key.removeprefix("in/"): v for key, v in pixels("selected").items()} == good


def test_a_record_beside_a_picture_is_replayed(here):
    run("in", "out")
    commands.run("replay", "out/sub/p1.png.json", "-o", "again.png")
    again, first = read_picture("again.png"), read_picture("out/sub/p1.png")
    assert (again.pixels == first.pixels).all()
    record = json.loads(Path("out/sub/p1.png.json").read_text())
    assert record["job"]["lane"] != json.loads(Path("out/p0.png.json").read_text())["job"]["lane"]


def test_processes_give_what_one_gives(here):
    run("in", "one")
    run("in", "two", "--workers", 2)
    assert pixels("two") == pixels("one")
    assert not list(Path("two/_run").glob("spool"))


def test_a_finished_run_does_nothing_more(here, monkeypatch):
    run("in", "out")
    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("*.png")}
    monkeypatch.setattr(worker, "restored", None)
    text = run("in", "out")
    assert "5 pictures of 5 finished before" in text
    assert {p: p.stat().st_mtime_ns for p in Path("out").rglob("*.png")} == before
    monkeypatch.undo()
    monkeypatch.chdir(here)
    whole = pixels("out")
    Path("out/p2.png").unlink()  # its shard is no longer whole
    run("in", "out")
    assert pixels("out") == whole
    Path("out/p2.png").write_bytes(b"cut")
    run("in", "out")
    assert pixels("out") == whole


def test_an_interrupted_run_goes_on_with_the_picture_after(here, monkeypatch):
    run("in", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        run("in", "out", code=130)
    text = commands.run("run", "--status", "out")
    assert "1 of 3 shards finished (files); no run is writing to it" in text
    assert "5 pictures: 2 done, 0 failed, 1 waiting for their shard, 2 left" in text
    spool = next(Path("out/_run/spool").rglob("*.spool"))
    spool.write_bytes(spool.read_bytes()[:-1])  # damaged by a power cut: made again
    made = restored_from_now(monkeypatch)
    run("in", "out")
    assert len(made) == 3
    assert pixels("out") == pixels("whole")


def test_what_is_printed_while_it_runs():
    out = StringIO()
    display = Display(Console(file=out, force_terminal=True, width=100))
    display.begin(4, 1, [])
    assert display.left() is None
    display(Event("a.png", "", 0.0, 0, fresh=False))
    assert display.left() is None
    display.start -= 60
    display(Event("b.png", "", 60.0, 0))
    assert display.left() == pytest.approx(60, abs=1)
    display.close()
    assert "3/4" in out.getvalue()
    assert "60 s left" in out.getvalue()

"""`reddiff run`: every result once, with the pixels that any other way to run gives."""

from __future__ import annotations

import json
import resource
import signal
import tarfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from rich.console import Console

import commands
from reddiff.cli.run_display import Display
from reddiff.engine import worker
from reddiff.engine.events import Event
from reddiff.engine.target import Target
from reddiff.images.io import read_picture
from tiny import save_tiny

LIGHT = ("--task", "denoise", "--noise", 0.05, "--steps", 2, "--prior", "tiny.safetensors")
COUNT = 5


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test stands: a tiny prior and a folder `in` of five pictures."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    for i in range(COUNT):
        picture(f"in/{'sub/' * (i % 2)}p{i}.png", i)
    return tmp_path


def picture(name: str, seed: int, size: tuple[int, ...] = (12, 16, 3)) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(name)


def run(source: str, output: str, *words: object, code: int = 0) -> str:
    few = () if "--workers" in words else ("--workers", 0)
    more = ("--recursive", "--shard-size", 2) if "--shard-size" not in words else ("--recursive",)
    return commands.run("run", source, "-o", output, *LIGHT, *more, *few, *words, code=code)


def pixels(folder: str) -> dict[str, str]:
    """Key -> the hash of the pixels, of all results as they are read; and that none is twice."""
    found: list[tuple[str, str]] = []
    top = Path(folder)
    for path in sorted(top.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            data = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
        for name in names:
            if name.endswith(".json"):
                record = json.loads(data[name])
                key = record["key"]
                image = data[f"{Path(name).stem}{Path(record['job']['output']).suffix}"]
                found.append((key, digest(image)))
    for path in sorted(top.glob("[0-9]*.parquet")):
        found += [(r["key"], digest(r["image"])) for r in parquet.read_table(path).to_pylist()]
    for path in sorted(p for p in top.rglob("*.json") if "_run" not in p.parts):
        key = path.relative_to(top).as_posix().removesuffix(".json")
        found.append((key, digest(path.with_suffix("").read_bytes())))
    assert len(dict(found)) == len(found)
    return dict(found)


def digest(data: bytes) -> str:
    return np.asarray(Image.open(BytesIO(data))).tobytes().hex()


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


def interrupt_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends as if by Ctrl-C before this picture."""
    real, made = worker.restored, []

    def restored(units: Any, *words: Any) -> Any:
        made.extend(units)
        if len(made) >= count:
            raise KeyboardInterrupt
        return real(units, *words)

    monkeypatch.setattr(worker, "restored", restored)


def test_an_interrupted_run_goes_on_with_the_picture_after(here, monkeypatch):
    run("in", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        run("in", "out", code=130)
    text = commands.run("run", "--status", "out")
    assert "1 of 3 shards finished (files); no run is writing to it" in text
    assert "5 pictures: 2 done, 0 failed, 1 waiting for their shard, 2 left" in text
    spooled = next(Path("out/_run/spool").rglob("*.out"))
    spooled.write_bytes(spooled.read_bytes()[:-1])  # damaged by a power cut: made again
    made = []
    real = worker.restored
    monkeypatch.setattr(
        worker, "restored", lambda units, *words: made.extend(units) or real(units, *words)
    )
    run("in", "out")
    assert len(made) == 3
    assert pixels("out") == pixels("whole")


def test_another_plan_is_refused_and_the_difference_named(here):
    picture("mask.png", 9, (12, 16))
    words = ("--task", "inpaint", "--mask", "mask.png")
    run("in", "out", *words)
    text = run("in", "out", *words, "--noise", 0.1, "--shard-size", 3, code=3)
    assert "noise 0.05 -> 0.1, shard-size 2 -> 3" in text
    assert "--new-run begins another" in text
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


@pytest.mark.slow
def test_a_picture_that_kills_its_process_fails_alone(here, monkeypatch):
    """An operator of the user's that kills its process where a pixel says so."""
    Path("killer.py").write_text(
        "import os, signal\n"
        "from reddiff.operators import Identity\n"
        "class Killer(Identity):\n"
        "    def forward(self, x):\n"
        "        return x\n"
        "    def measured(self, y):\n"
        "        if float(y.max()) < -0.99: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().measured(y)\n"
        "killer = Killer()\n"
    )
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


def test_targets_that_are_in_the_way(here):
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    assert "full: expected a new or empty folder" in run("in", "full", code=3)
    assert [p.name for p in Path("full").iterdir()] == ["notes.txt"]
    Path("file").touch()
    assert "file: not a directory" in run("in", "file", code=4)
    with Target(Path("used")).locked():
        assert "expected a target that no other run is writing to" in run("in", "used", code=4)
    run("in", "used")  # the lock of a run that is gone is nobody's
    Path("in/dst").mkdir()
    run("in", "in/dst")
    run("in", "in/dst")


def test_a_target_that_may_not_be_written(here):
    """A place where root may not make a folder, either."""
    assert "expected a folder to write to, got " in run("in", "/proc/results", code=4)


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
    assert "1 that name several, the first: p0.png" in run("in", "out", code=3)
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

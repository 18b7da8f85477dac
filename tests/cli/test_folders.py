"""Folders of pictures: trees, reruns, reports, and what is no picture."""

from __future__ import annotations

import csv
import json
import os
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import reddiff
from commands import run
from reddiff.cli.folder_bar import FolderBar
from reddiff.images import making
from reddiff.images.io import read_picture
from reddiff.images.jobs import Job
from reddiff.images.reports import Outcome, Row
from reddiff.images.settings import Settings
from reddiff.priors.photo import weights_hash
from reddiff.run import loop
from tiny import save_tiny

LIGHT = ("--noise", 0.05, "--steps", 2, "--prior", "tiny.safetensors")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test stands: a tiny prior and a folder `in` of two pictures."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    Path("in").mkdir()
    picture("in/a.png", 0)
    picture("in/b.jpg", 1)
    return tmp_path


def picture(name: str, seed: int, shape: tuple[int, ...] = (16, 20, 3)) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(name)


def restore(*words: object, code: int = 0) -> str:
    return run("restore", *words, "--task", "denoise", *LIGHT, code=code)


def tree(folder: str) -> list[str]:
    """All files but records."""
    files = (p for p in Path(folder).rglob("*") if p.is_file() and p.suffix != ".json")
    return sorted(str(p.relative_to(folder)) for p in files)


def test_the_tree_and_the_formats_are_kept(here):
    picture("in/x/c.tif", 2)
    picture("in/x/y/c.webp", 3)
    picture("in/x/y/d.jfif", 4)
    picture("in/x/y/d.JPG", 5)
    picture("in/x/.hidden/e.png", 6)
    picture("in/x/._c.png", 7)
    Path("in/x/notes.txt").write_text("not a picture")
    Path("in/x/z").symlink_to(here / "in", target_is_directory=True)
    text = restore("in", "-o", "out", "--recursive")
    assert tree("out") == ["a.png", "b.jpg", "x/c.tif", "x/y/c.webp", "x/y/d.JPG", "x/y/d.png"]
    assert "as not pictures (1): 1 .txt" in text
    assert "6 pictures: 6 done" in text
    assert read_picture("out/x/y/d.JPG").format == "JPEG"


def test_sub_folders_are_spoken_of(here):
    picture("in/x/c.png", 2)
    picture("in/x/y/c.png", 3)
    text = restore("in", "-o", "out")
    assert "in sub-folders (2): 2 pictures; --recursive" in text
    assert tree("out") == ["a.png", "b.jpg"]
    text = restore("in/x/y/..", "-o", "other")
    assert "in sub-folders (1): 1 pictures" in text
    shutil.rmtree("in/x/y")
    Path("in/x/c.png").rename("in/x/c.txt")
    assert "none" in restore("in/x", "-o", "third", code=3)
    assert not Path("third").exists()


def test_results_in_the_folder_itself_are_not_restored_again(here):
    for _ in range(2):
        restore("in", "-o", "in/out", "--recursive", "--on-existing", "skip")
    assert tree("in") == ["a.png", "b.jpg", "out/a.png", "out/b.jpg"]
    assert "another folder" in restore("in", "-o", "in", code=3)
    assert "another folder" in restore("in", "-o", "in", "--force", code=3)


def test_equal_stems_get_results_of_their_own(here):
    for number, name in enumerate(("a.jpg", "a.jfif", "a.jpe", "b.jfif", "c.jfif")):
        picture(f"in/{name}", number)
    restore("in", "-o", "out")
    assert tree("out") == ["a.jfif.png", "a.jpe.png", "a.jpg", "a.png", "b.jpg", "b.png", "c.png"]
    picture("other/a.png", 9)
    restore("in/a.png", "other/a.png", "in/../in/a.png", "-o", "flat")
    assert tree("flat") == ["a-2.png", "a.png"]


def test_a_finished_folder_is_skipped(here, monkeypatch):
    first = restore("in", "-o", "out")
    assert "2 done, 0 skipped" in first
    assert "2 of 2 pictures failed" in restore("in", "-o", "out", code=3)
    before = {p: p.stat().st_mtime_ns for p in Path("out").iterdir()}

    def never(*args, **more):
        raise AssertionError("a run was made")

    with monkeypatch.context() as patch:
        patch.setattr("reddiff.images.making.prepare", never)
        text = restore("in", "-o", "out", "--on-existing", "skip")
    assert "0 done, 2 skipped" in text
    assert {p: p.stat().st_mtime_ns for p in Path("out").iterdir()} == before
    assert "2 done" in restore("in", "-o", "out", "--on-existing", "overwrite")


@pytest.mark.parametrize("what", ["noise", "input", "weights", "mask", "damaged", "interrupted"])
def test_what_changed_is_made_anew_and_said(here, what):
    Image.new("L", (20, 16), 255).save("mask.png")
    words = ["in", "-o", "out", "--task", "inpaint", "--mask", "mask.png", "--steps", 2]
    words += ["--prior", "tiny.safetensors", "--noise"]
    run("restore", *words, 0.05)
    said = f"changed since: {what}"
    record = Path("out/a.png.json")
    if what == "input":
        picture("in/a.png", 7)
        said = "changed since: source"
    elif what == "weights":
        save_tiny(here / "tiny.safetensors", seed=1)
        said = "changed since: prior"
    elif what == "mask":
        Image.new("L", (20, 16), 254).save("mask.png")
    elif what == "damaged":
        data = Path("out/a.png").read_bytes()
        Path("out/a.png").write_bytes(data[: len(data) // 2])
        said = "it is damaged"
    elif what == "interrupted":  # between the record of a run and the picture it replaces
        old = json.loads(record.read_text())
        new = old | {"replaced": old["written"], "written": "0" * 64}
        record.write_text(json.dumps(new))
        said = "interrupted"
    text = run("restore", *words, 0.06 if what == "noise" else 0.05, "--on-existing", "skip")
    assert said in text
    one = what in ("input", "damaged", "interrupted")
    assert ("1 done, 1 skipped" if one else "2 done, 0 skipped") in text
    again = run("restore", *words, 0.06 if what == "noise" else 0.05, "--on-existing", "skip")
    assert "0 done, 2 skipped" in again


def test_what_the_user_made_is_never_replaced_by_a_rerun(here):
    restore("in", "-o", "out")
    picture("out/a.png", 9)  # retouched
    Path("out/b.jpg").unlink()
    Path("out/b.jpg").symlink_to(here / "in" / "b.jpg")
    Path("out/b.jpg.json").unlink()
    kept = Path("out/a.png").read_bytes()
    text = restore("in", "-o", "out", "--on-existing", "skip", code=5)
    assert "kept: it was changed after it was restored" in text
    assert "expected a result with its record" in text
    assert Path("out/a.png").read_bytes() == kept
    assert Path("out/b.jpg").is_symlink()


def test_a_record_without_its_picture_does_not_stand_in_the_way(here):
    restore("in", "-o", "out", "--preview", "films")
    Path("out/a.png").unlink()  # as if the run had been killed before the picture was placed
    text = restore("in", "-o", "out", "--preview", "films", "--on-existing", "skip")
    assert "1 done, 1 skipped" in text
    assert tree("films") == ["a.webp", "b.webp"]


class Odd(Exception):
    pass


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), KeyError("x"), Odd()])
def test_no_picture_ends_the_others(here, monkeypatch, error):
    from reddiff.images import runs

    real = runs.read_picture

    def sometimes(path, **more):
        if str(path).endswith("a.png"):
            raise error
        return real(path, **more)

    monkeypatch.setattr(runs, "read_picture", sometimes)
    text = restore("in", "-o", "out", "--report", "r.csv", code=5)
    assert "in/a.png" in text
    assert "1 of 2 pictures failed" in text
    assert tree("out") == ["b.jpg"]
    with Path("r.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["failed", "done"]


def test_the_report_has_every_picture(here):
    Path("in/cut.png").write_bytes(Path("in/a.png").read_bytes()[:60])
    words = ("in", "-o", "out", "--report", "r.csv")
    restore(*words, code=5)
    with Path("r.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows["in/a.png"]) == {
        *("file", "status", "reason", "seconds", "noise", "residual", "output")
    }
    assert rows["in/a.png"]["output"] == "out/a.png"
    assert float(rows["in/a.png"]["noise"]) == 0.05
    assert float(rows["in/a.png"]["residual"]) > 0
    assert rows["in/cut.png"]["status"] == "failed"
    assert "whole picture" in rows["in/cut.png"]["reason"]
    restore(*words, code=4)  # the report is not overwritten ...
    restore(*words, "--on-existing", "skip", code=5)  # ... but by a rerun
    with Path("r.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["skipped", "skipped", "failed"]
    Path("r.csv").write_text("my notes")
    restore(*words, "--on-existing", "skip", code=4)
    assert Path("r.csv").read_text() == "my notes"


def test_pipes_in_a_folder_do_not_hang(here):
    os.mkfifo("in/pipe.png")
    Path("in/gone.png").symlink_to("nowhere")
    text = restore("in", "-o", "out", code=5)
    assert "gone.png" in text
    assert "as not pictures (1)" in text
    assert tree("out") == ["a.png", "b.jpg"]


@pytest.mark.parametrize("batch", [1, 2])
def test_the_weights_are_hashed_once_for_a_folder(here, monkeypatch, batch):
    """Not for each picture: it takes as long as half an evaluation at 64 x 64."""
    picture("in/c.png", 2)
    expected = weights_hash(reddiff.prior("tiny.safetensors"))
    monkeypatch.setattr(making, "weights_hash", None)
    restore("in", "-o", "out", "--batch", batch)
    words = ("--task", "denoise", *LIGHT, "--workers", 0, "--batch", batch)
    run("run", "in", "-o", "run", *words)
    for name in ("a.png", "b.jpg", "c.png"):
        one, other = (json.loads(Path(top, f"{name}.json").read_text()) for top in ("out", "run"))
        assert one["weights"] == other["weights"] == expected


def test_names_that_mean_something_elsewhere(here):
    for name in ("b{1}", "{task.id}", "[bold]x", "%s", "ü 图", "-n", "x\ny"):
        picture(f"in/{name}.png", 0)
    Path(os.fsdecode(b"in/\xff\x1b[31m.png")).write_bytes(Path("in/a.png").read_bytes())
    text = restore("in", "-o", "out", "--preview", "films", "--report", "r.csv")
    assert "10 pictures: 10 done" in text
    assert "\x1b" not in text
    assert len(tree("out")) == len(tree("films")) == 10


def test_sixteen_bits_gray_and_alpha_are_kept_in_a_tree(here):
    import imagecodecs

    shutil.rmtree("in")
    picture("in/x/gray.png", 0, (16, 20))
    picture("in/x/alpha.png", 0, (16, 20, 4))
    deep = np.arange(320, dtype=np.uint16).reshape(16, 20) * 200
    Path("in/x/deep.png").write_bytes(imagecodecs.png_encode(deep))
    restore("in", "-o", "out", "--recursive")
    assert read_picture("out/x/gray.png").pixels.shape[0] == 1
    assert read_picture("out/x/alpha.png").alpha is not None
    assert read_picture("out/x/deep.png").bits == 16


def test_diverged_runs_are_no_results(here, monkeypatch):
    save_tiny(here / "nan.safetensors", factor=float("nan"))
    words = ("--task", "denoise", "--noise", 0.05, "--steps", 40, "--prior", "nan.safetensors")
    text = run("restore", "in/a.png", "-o", "n.png", *words, code=3)
    assert "prior: expected finite estimates" in text
    monkeypatch.setattr(loop, "require_denoiser", lambda *args, **kwargs: None)
    text = run("restore", "in/a.png", "-o", "n.png", *words, code=6)
    assert "diverged at step 1:" in text
    assert "in/a.png" not in text or "--keep-diverged" in text
    assert not Path("n.png").exists()
    assert not Path("n.png.json").exists()
    run("restore", "in", "-o", "out", *words, code=6)
    assert not Path("out").exists()
    text = run("restore", "in/a.png", "-o", "n.png", *words, "--keep-diverged", code=6)
    assert "DIVERGED" in text
    assert read_picture("n.png").pixels.isfinite().all()
    run("sample", "-o", "s", "--size", 8, "--steps", 2, "--prior", "nan.safetensors", code=6)
    assert not Path("s").exists()


@pytest.mark.slow
def test_199_files_interrupted_and_run_again(here, monkeypatch):
    """A folder as people have them: nested, of all formats, some files broken."""
    import imagecodecs

    from reddiff.images import making

    shutil.rmtree("in")
    rng = np.random.default_rng(0)
    kinds = ["png", "jpg", "tif", "bmp", "gray.png", "deep.png", "alpha.png", "deep.tif", "webp"]
    good = 0
    for i in range(173):
        kind = kinds[i % len(kinds)]
        path = Path(f"in/{'/'.join(['year', f'{i % 7}', f'{i % 3}'][: i % 4])}/p{i}.{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (12, 16) if "gray" in kind else (12, 16, 4 if "alpha" in kind else 3)
        levels = rng.integers(0, 255, shape, dtype=np.uint8)
        if kind == "deep.png":
            path.write_bytes(imagecodecs.png_encode(levels.astype(np.uint16) * 257))
        elif kind == "deep.tif":
            imagecodecs.imwrite(path, levels.astype(np.uint16) * 257)
        else:
            Image.fromarray(levels).save(path)
        good += 1
    sound = next(Path("in").rglob("p9.png")).read_bytes()
    for i in range(6):
        Path(f"in/year/broken{i}.png").write_bytes(sound[: 10 + 9 * i])
        Path(f"in/year/.hidden{i}.png").write_bytes(sound)
    Path("in/year/empty.png").touch()
    Path("in/year/text.jpg").write_text("a text")
    for i in range(12):
        Path(f"in/year/notes{i}.txt").write_text("a text")
    assert sum(p.is_file() for p in Path("in").rglob("*")) == 199
    bad = 8
    words = ["in", "-o", "out", "--recursive", "--on-existing", "skip", "--report", "r.csv"]
    words += ["--batch", 1]
    real, made = making.prepare, []

    def counted(*args, **more):
        made.append(1)
        if len(made) == 80:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(making, "prepare", counted)
    restore(*words, code=130)
    assert len(tree("out")) == 79
    text = restore(*words, code=5)
    assert f"{good + bad} pictures: {good - 79} done, 79 skipped, {bad} failed" in text
    assert "as not pictures (12): 12 .txt" in text
    assert len(made) == good + 1
    assert len(tree("out")) == good
    for source in Path("in").rglob("p*"):
        kept = source.relative_to("in")
        result = "out" / kept
        before, after = read_picture(source), read_picture(result)
        assert (before.bits, before.size) == (after.bits, after.size)
        assert (before.alpha is None) == (after.alpha is None)
    text = restore(*words, code=5)
    assert f"0 done, {good} skipped, {bad} failed" in text
    assert len(made) == good + 1
    with Path("r.csv").open() as file:
        assert len(list(csv.DictReader(file))) == good + bad
    for path in [p for p in Path("in").rglob("*") if "broken" in p.name]:
        path.unlink()
    Path("in/year/empty.png").unlink()
    Path("in/year/text.jpg").unlink()
    assert f"0 done, {good} skipped, 0 failed" in restore(*words)


def test_extensions_and_suffix(here):
    picture("in/x/c.TIF", 2)
    picture("in/x/d.gif", 3)
    words = ("in", "-o", "out", "--recursive", "--ext", "tif,.gif", "--suffix", "-clean")
    text = restore(*words)
    assert tree("out") == ["x/c-clean.TIF", "x/d-clean.png"]
    assert "as not .tif, .gif files (2): 1 .png, 1 .jpg" in text
    restore(*words, "--on-existing", "skip")
    assert tree("out") == ["x/c-clean.TIF", "x/d-clean.png"]
    restore("in/*", "-o", "flat", "--ext", "jpg")
    assert tree("flat") == ["b.jpg"]
    assert "expected .webp files in in, got none" in restore(
        "in", "-o", "no", "--ext", "webp", code=3
    )
    assert "--ext: expected some of png, " in restore("in", "-o", "no", "--ext", "psd", code=3)
    assert "--suffix: expected a part" in restore("in", "-o", "no", "--suffix", "a/b", code=3)
    text = restore("in/a.png", "-o", "one.png", "--suffix", "-x", code=3)
    assert "--suffix: expected a folder as the output, got the file one.png" in text
    assert not Path("no").exists()


def test_failures_are_named_with_their_reasons_at_the_end(here):
    Path("in/cut.png").write_bytes(Path("in/a.png").read_bytes()[:60])
    end = restore("in", "-o", "out", code=5).split("1 of 3 pictures failed:")[1]
    assert "in/cut.png: expected a whole picture" in end


def test_the_bar_shows_what_is_left(here):
    out = StringIO()
    bar = FolderBar(4, Console(file=out, force_terminal=True, width=100))
    job = Job("in/a.png", "out/a.png", Settings(task="denoise"))
    assert bar.left() is None
    bar.end(Row(job, Outcome.SKIPPED))
    assert bar.left() is None
    bar.end(Row(job, Outcome.DONE, seconds=60.0))
    assert bar.left() == 120
    bar.close()
    assert "2/4" in out.getvalue()
    assert "2 min left" in out.getvalue()

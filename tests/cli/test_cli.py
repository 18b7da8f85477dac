"""The command line, end to end, on real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from commands import run
from reddiff.cli import app
from reddiff.images.io import read_picture

runner = CliRunner()


@pytest.fixture
def degraded(photo: Path) -> Path:
    path = photo.with_name("degraded.png")
    run("degrade", photo, "-o", path, "--task", "denoise", "--noise", 0.1)
    return path


def restore(*words: object, code: int = 0) -> str:
    return run("restore", *words, "--task", "denoise", "--steps", 3, code=code)


def test_restore_writes_picture_and_record_and_prints_metrics(photo, degraded):
    out = photo.with_name("out.png")
    text = restore(degraded, "-o", out, "--truth", photo)
    assert "PSNR" in text
    assert "SSIM" in text
    assert "LPIPS" in text
    assert "estimated" in text
    record = json.loads(out.with_name("out.png.json").read_text())
    assert record["job"]["task"] == "denoise"
    assert record["metrics"]["psnr"] > 24
    assert record["cost"]["evaluations"] == 3
    assert {"versions", "weights", "units", "status", "residual_ratio", "pixels"} <= set(record)
    assert "PSNR" in run("show", out.with_name("out.png.json"))


def test_replay_gives_the_same_pixels(photo, degraded):
    out, again = photo.with_name("out.png"), photo.with_name("again.png")
    restore(degraded, "-o", out)
    record = out.with_name("out.png.json")
    run("replay", record, "-o", again)
    assert np.array_equal(Image.open(out), Image.open(again))
    degraded.write_bytes(photo.read_bytes())
    text = run("replay", record, "-o", again, "--force", code=3)
    assert "source" in text


def test_warnings_follow_the_summary(photo, degraded):
    out = photo.with_name("out.png")
    text = restore(degraded, "-o", out, "--noise", 0.4)
    summary, *notes = text.strip().splitlines()
    assert "residual/noise" in summary
    assert any("The noise level may be too high: y is consistent with" in note for note in notes)
    record = json.loads(out.with_name("out.png.json").read_text())
    assert set(record["notes"]) <= {note.strip() for note in notes}
    assert record["notes"]


def test_noise_0_leaves_a_record_of_plain_json(photo):
    out, mask = photo.with_name("out.png"), "random:0.5"
    words = ["-o", out, "--task", "inpaint", "--mask", mask, "--steps", 2, "--noise", 0]
    assert "residual/noise undefined" in run("restore", photo, *words)
    text = out.with_name("out.png.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["residual_ratio"] is None
    assert "undefined" in run("show", out.with_name("out.png.json"))


def test_too_little_to_estimate_the_noise_from(photo):
    out = photo.with_name("out.png")
    words = ["-o", out, "--task", "inpaint", "--mask", "random:0.97", "--steps", 2]
    assert "estimated during the run" in run("restore", photo, *words)
    assert "--noise" in run("restore", photo, *words, "--force", "--solver", "paper", code=3)


@pytest.mark.parametrize(
    ("task", "extra"),
    [
        ("inpaint", "--mask=random:0.5"),
        ("inpaint", "--mask=text:lorem"),
        ("sr", "--scale=2"),
        ("deblur", "--kernel=motion:7,30"),
        ("colorize", None),
    ],
)
def test_degrade_then_restore_with_what_it_saved(photo, task, extra):
    y, out = photo.with_name("y.png"), photo.with_name("out.webp")
    words = [] if extra is None else [extra]
    run("degrade", photo, "-o", y, "--task", task, *words)
    saved = json.loads(Path(f"{y}.json").read_text())
    for name in ("mask", "kernel"):
        if name in saved:
            words = [f"--{name}={saved[name]}"]
    run("restore", y, "-o", out, "--task", task, *words, "--steps", 2, "--noise", 0.02)
    assert read_picture(out).size == (64, 64)


def test_several_inputs_one_bad(photo, degraded, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(degraded.read_bytes())
    (folder / "broken.png").write_bytes(degraded.read_bytes()[:100])
    text = restore(folder, "-o", out, "--noise", 0.1, code=5)
    assert "broken.png" in text
    assert "1 of 3" in text
    assert sorted(p.name for p in out.glob("*.png")) == ["a.png", "b.png"]
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    restore(str(folder / "[ab].png"), "-o", out, "--noise", 0.1, "--force")
    restore(str(folder / "[ab].png"), "-o", out, "--noise", 0.1, code=3)  # nothing overwritten


def test_preview_is_an_animation(photo, degraded, tmp_path):
    restore(degraded, "-o", tmp_path / "out.png", "--preview", tmp_path / "film")
    with Image.open(tmp_path / "film" / "out.webp") as film:
        assert 2 <= film.n_frames <= 3  # equal frames are one


def test_sixteen_bits_and_profile_survive(photo, tmp_path):
    import imagecodecs

    deep = np.asarray(Image.open(photo)).astype(np.uint16) * 257
    source, out = tmp_path / "deep.png", tmp_path / "out.png"
    source.write_bytes(imagecodecs.png_encode(deep))
    restore(source, "-o", out, "--noise", 0.02)
    assert imagecodecs.png_decode(out.read_bytes()).dtype == np.uint16


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["nothing.png", "-o", "out.png", "--task", "denoise"], 4, "nothing.png"),
        (["IN", "-o", "out.png", "--task", "sharpen"], 3, "sharpen"),
        (["IN", "-o", "out.xyz", "--task", "denoise"], 3, "out.xyz"),
        (["IN", "-o", "out.png", "--task", "inpaint"], 3, "mask"),
        (["IN", "-o", "out.png", "--task", "inpaint", "--mask", "SMALL"], 3, "64x64"),
        (["IN", "-o", "out.png", "--task", "sr", "--scale", "0"], 3, "scale"),
        (["IN", "-o", "out.png", "--task", "denoise", "--prior", "IN"], 3, "prior"),
        (["IN", "-o", "out.png", "--task", "denoise", "--prior", "FAKE"], 3, "safetensors"),
        (["IN", "-o", "IN", "--task", "denoise"], 4, "exists"),
        (["IN", "-o", "no/folder/out.png", "--task", "denoise"], 4, "folder"),
        (["IN"], 2, "--output"),
        (["IN", "-o", "out.png"], 2, "--task"),
        (["--replay", "IN"], 3, "record"),
    ],
)
def test_bad_input_is_one_line_and_a_code(photo, tmp_path, monkeypatch, words, code, named):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (10, 12), 255).save("small.png")
    Path("fake.safetensors").write_bytes(b"not safetensors")
    names = {"IN": photo.name, "SMALL": "small.png", "FAKE": "fake.safetensors"}
    before = set(tmp_path.iterdir())
    text = run("restore", *(names.get(w, w) for w in words), code=code)
    assert named in text
    if code != 2:
        assert len(text.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_debug_shows_the_traceback(tmp_path):
    result = runner.invoke(app, ["--debug", "restore", "x.png", "-o", "y.png", "--task", "denoise"])
    assert result.exception is not None
    assert result.exit_code == 1


def test_listings():
    assert "photo" in run("priors")
    assert "noise-aware" in run("solvers")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("early", [True, False])
def test_interrupted_leaves_nothing(photo, degraded, tmp_path, sent, code, early):
    marker = tmp_path / "running"
    operator = photo.with_name("marked.py")
    operator.write_text(
        "from pathlib import Path\n"
        f"def f(x):\n    if x.shape[0] == 1: Path({str(marker)!r}).touch()\n    return x\n"
    )
    words = ["restore", degraded, "-o", photo.parent / "new" / "out.png", "--steps", 5000]
    words = [*words, photo, "--noise", 0.1, "--task", f"{operator}:f", "--preview", "film"]
    # A shell or nohup may have started the tests with a signal ignored, which children inherit.
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL);"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "print(flush=True); from reddiff.cli import main; main()"
    )
    command = [sys.executable, "-c", start, *map(str, words)]
    before = set(photo.parent.iterdir()) | {marker}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=photo.parent) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + 120
            while not early and not marker.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0.5)  # in the imports, or in the run
            process.send_signal(sent)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert set(photo.parent.iterdir()) | {marker} == before


@pytest.mark.parametrize("solver", ["ddrm", "ddnm-plus", "diffpir", "pigdm", "mmps", "pnp-admm"])
def test_peers_fill_holes(photo, solver):
    holes, out = photo.with_name("holes.png"), photo.with_name("out.png")
    run("degrade", photo, "-o", holes, "--task", "inpaint", "--mask", "random:0.5", "--noise", 0.02)
    words = ("--task", "inpaint", "--mask", photo.with_name("holes.mask.png"), "--noise", 0.02)
    words = (*words, "--solver", solver, "--steps", 20, "--truth", photo)
    run("restore", holes, "-o", out, *words)
    record = json.loads(out.with_name("out.png.json").read_text())
    assert record["metrics"]["psnr"] > 23
    assert record["job"]["solver"] == solver


def test_a_solver_without_a_theory_for_the_task_says_so(photo):
    blurred, out = photo.with_name("blurred.png"), photo.with_name("out.png")
    words = ("--task", "deblur", "--kernel", "gaussian:1.6")
    run("degrade", photo, "-o", blurred, *words, "--noise", 0.02)
    text = run("restore", blurred, "-o", out, *words, "--noise", 0.02, "--solver", "ddrm", code=3)
    assert "DDRM: expected operator of type SpectralOperator, got LinearCompose" in text
    assert not out.exists()


@pytest.mark.parametrize("words", ["solvers", "probe --help", "--version"])
def test_a_closed_pipe_ends_a_command_silently(words):
    """`reddiff solvers | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "reddiff", *words.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")

"""What people type: numbers that are none, names that mean something, files that are no files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from commands import run
from reddiff.cli import app
from reddiff.errors import InvalidArgument, PictureError
from reddiff.images import making, runs
from reddiff.images.jobs import Job
from reddiff.images.settings import Settings
from tiny import save_tiny

DIGITS = "9" * 5000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, a tiny prior and an operator, where the test stands."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "t.safetensors")
    levels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(levels).save("a.png")
    Path("m.py").write_text("def f(x): return 0.5 * x\n")
    return tmp_path


def refused(*words: object, codes: tuple[int, ...] = (2, 3, 4)) -> str:
    """One line, and nothing is written."""
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(app, [str(word) for word in words])
    text = result.output
    assert result.exit_code in codes, (text, result.exception)
    assert len(text.strip().splitlines()) == 1, text
    assert len(text) < 700
    assert "Traceback" not in text
    assert sorted(Path().rglob("*")) == before
    return text


RESTORE = ("restore", "a.png", "-o", "o.png", "--prior", "t.safetensors", "--task", "denoise")
SIZES = [DIGITS, "99999999999999999999", "1000000000000", "-1", "x", ""]
NUMBERS = [*SIZES, "nan", "inf", "-inf", "1e400"]


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize(
    "option", ["--noise", "--steps", "--scale", "--realism", "--tile", "--seed"]
)
def test_numbers_of_restore(option, value):
    if option == "--seed" and value == "-1":
        run(*RESTORE, "--seed=-1", "--steps", 1)
    elif option == "--seed" and value == "1000000000000":
        run(*RESTORE, "--seed", value, "--steps", 1)
    else:
        refused(*RESTORE, f"{option}={value}")


@pytest.mark.parametrize("value", SIZES)
def test_numbers_of_the_other_commands(value):
    refused("sample", "-o", "s", "--prior", "t.safetensors", "--steps", 1, f"--size={value}")
    refused("sample", "-o", "s", "--prior", "t.safetensors", "--steps", 1, f"--count={value}")
    refused("sample", "-o", "s", "--prior", "t.safetensors", "--size", 8, f"--steps={value}")
    refused("check", "m.py:f", f"--shape={value}")
    refused("degrade", "a.png", "-o", "d.png", "--task", "sr", f"--scale={value}")
    refused("demo", "--output", "s", f"--steps={value}")


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "-o", "s", "--size", "99999", "--count", "3", "--steps", "1"],
        ["sample", "-o", "s", "--size", "8", "--steps", "0"],
        ["check", "m.py:f", "--shape", "100000,100000,100000"],
        ["check", "m.py:f", "--shape", "0"],
        ["check", "m.py:f", "--shape", ",".join("1" * 100)],
        ["degrade", "a.png", "-o", "d.png", "--task", "denoise", "--noise", "nan"],
        ["degrade", "a.png", "-o", "d.png", "--task", "denoise", "--seed", "1" + 30 * "0"],
        [*RESTORE, "--device", "meta"],
        [*RESTORE, "--device", "privateuseone"],
        [*RESTORE, "--device", "lazy"],
        [*RESTORE, "--device", ""],
        [*RESTORE, "--steps", "0", "--solver", "pnp-dm"],
        ["restore", "", "-o", "o.png", "--task", "denoise"],
        ["restore", "a.png", "-o", "", "--task", "denoise"],
        ["restore", "a.png", "-o", "o.png", "--task", ""],
        ["restore", "a.png", "-o", "o.png", "--task", "inpaint", "--mask", ""],
        ["restore", "a.png", "-o", "o.png", "--task", "deblur", "--kernel", ""],
        ["bench", "quick", "--dry-run", "--device", "banana"],
        ["restore", "a.png", "-o", "o.png", "--task", "denoise", "--truth", ""],
        ["restore", "a.png", "-o", "o.png", "--task", "denoise", "--preview", ""],
        ["replay", ""],
        ["degrade", "", "-o", "d.png", "--task", "denoise"],
        ["degrade", "a.png", "-o", "", "--task", "denoise"],
        ["sample", "-o", ""],
        ["demo", "--output", ""],
        ["show", ""],
        ["restore", "a.png", "-o", "o.png", "--task", "jpeg", "--mask", "box:3"],
        ["--foo"],
        ["restore", "--fo\x1b[31mo"],
        ["restor"],
    ],
)
def test_one_line_and_nothing_written(words):
    assert "\x1b" not in refused(*words)


def test_what_the_system_refuses_is_said_without_its_numbers():
    long = "a" * 280
    text = refused("restore", long, "-o", "o.png", "--task", "denoise")
    text += refused("restore", "a.png", "-o", long, "--task", "denoise")
    assert text.count("file name too long") == 2
    assert "Errno" not in text
    assert "got a directory" in refused("show", ".")
    assert "got ''" in refused("check", "m.py:f", "--shape", "")


def test_a_line_end_in_a_name_is_no_line():
    text = run("degrade", "a.png", "-o", "b\nc.png", "--task", "denoise")
    assert text.splitlines() == [r"b\nc.png"]


@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "1e12", DIGITS])
@pytest.mark.parametrize("task", ["quantize", "jpeg", "hdr"])
def test_numbers_of_tasks(task, number):
    refused("degrade", "a.png", "-o", "d.png", "--task", f"{task}:{number}")
    refused("restore", "a.png", "-o", "d.png", "--task", f"{task}:{number}")


CODE = {
    "exit": "import sys\nsys.exit(0)\n",
    "exit in f": "def f(x): raise SystemExit(7)\n",
    "error in f": "def f(x): return {}['lost']\n",
    "late error": "n = []\ndef f(x):\n    n.append(1)\n    return x if len(n) < 8 else n[99]\n",
    "syntax": "def f(x)\n",
}


@pytest.mark.parametrize("name", CODE)
def test_code_that_ends_the_program_is_an_error(name):
    Path("x.py").write_text(CODE[name])
    words = ("-o", "o.png", "--task", "x.py:f", "--prior", "t.safetensors", "--noise", 0.05)
    refused("restore", "a.png", *words, codes=(3,))
    if name != "late error":
        refused("degrade", "a.png", "-o", "d.png", "--task", "x.py:f", codes=(3,))
        refused("check", "x.py:f", "--shape", "3,8,8", codes=(3,))


def test_code_that_ends_the_program_does_not_end_a_folder():
    Path("x.py").write_text(CODE["exit"])
    Path("b.png").write_bytes(Path("a.png").read_bytes())
    words = ("-o", "out", "--task", "x.py:f", "--prior", "t.safetensors")
    assert "2 of 2 pictures failed" in run("restore", "a.png", "b.png", *words, code=3)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "pipe", "-o", "o.png", "--task", "denoise"],
        ["degrade", "pipe", "-o", "o.png", "--task", "denoise"],
        [*RESTORE, "--truth", "pipe"],
        ["restore", "a.png", "-o", "o.png", "--task", "inpaint", "--mask", "pipe"],
        ["restore", "a.png", "-o", "o.png", "--task", "deblur", "--kernel", "pipe.npy"],
        ["restore", "a.png", "-o", "o.png", "--task", "denoise", "--prior", "pipe.safetensors"],
        ["restore", "a.png", "-o", "o.png", "--task", "pipe.py:f"],
        ["replay", "pipe"],
        ["show", "pipe"],
        ["check", "pipe.py:f", "--shape", "3,8,8"],
        ["restore", "a.png", "-o", "pipe.png", "--task", "denoise", "--force"],
        ["degrade", "a.png", "-o", "pipe.png", "--task", "denoise", "--force"],
        ["sample", "-o", "o", "--prior", "pipe.safetensors"],
        [*RESTORE, "--report", "pipe", "--force"],
    ],
)
def test_pipes_never_hang(words):
    for name in ("pipe", "pipe.npy", "pipe.safetensors", "pipe.py", "pipe.png"):
        os.mkfifo(name)
    refused(*words, codes=(3, 4))


def test_targets_are_links_pipes_and_devices():
    Path("gone.png").symlink_to("nowhere.png")
    Path("null.png").symlink_to("/dev/null")
    for name in ("gone.png", "null.png"):
        refused("restore", "a.png", "-o", name, "--task", "denoise", codes=(4,))
        refused("degrade", "a.png", "-o", name, "--task", "denoise", codes=(4,))
    Path("d.png.json").symlink_to("nowhere.json")
    refused("degrade", "a.png", "-o", "d.png", "--task", "denoise", codes=(4,))
    Path("s").mkdir()
    Path("s/sample-0.png").symlink_to("nowhere.png")
    refused("sample", "-o", "s", "--count", 1, "--size", 8, codes=(4,))
    assert not Path("nowhere.png").exists()


@pytest.mark.parametrize("name", ["text.png", "sheet.png", "motion-degraded.kernel.npy"])
def test_the_demo_overwrites_nothing(name):
    Path(name).write_text("mine")
    assert name in refused("demo", "--output", ".", "--steps", 1, codes=(4,))
    assert Path(name).read_text() == "mine"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    real, made = making.prepare, []

    def restore(*args, **more):
        made.append(1)
        return real(*args, **more)

    monkeypatch.setattr(making, "prepare", restore)
    return made


def test_what_would_fail_after_the_run_is_found_before(monkeypatch):
    made = counted(monkeypatch)
    Image.new("RGB", (8, 8)).save("b.png")
    job = Job("a.png", "o.png", Settings(task="denoise", steps=2, prior="t.safetensors"))
    with pytest.raises(InvalidArgument, match="truth: expected a picture of 32x24 pixels"):
        runs.run(job, truth="b.png")
    with monkeypatch.context() as patch:
        patch.setattr("reddiff.images.memory.free_bytes", lambda: 1000)
        with pytest.raises(InvalidArgument, match=r"memory: .* 0\.0 GB are free"):
            runs.run(job)
    with monkeypatch.context() as patch:
        real = os.open

        def refuse(path, *args, **more):
            if str(path) in ("ro", "."):
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(path, *args, **more)

        patch.setattr(os, "open", refuse)
        with pytest.raises(PictureError, match="permission denied"):
            runs.run(job)
    assert not made
    assert not Path("o.png").exists()


def test_a_failing_metric_never_loses_the_picture(monkeypatch):
    def fail(*args, **more):
        raise MemoryError("no room")

    monkeypatch.setattr(runs, "compare", fail)
    text = run(*RESTORE, "--truth", "a.png", "--steps", 2, "--noise", 0.05)
    assert "could not be compared with the truth: no room" in text
    assert Path("o.png").exists()
    assert "could not be compared" in run("show", "o.png.json")


def test_pairs_that_degrade_makes_can_be_compared():
    levels = np.random.default_rng(0).integers(0, 255, (70, 71, 3), dtype=np.uint8)
    Image.fromarray(levels).save("t.png")
    text = run("degrade", "t.png", "-o", "y.png", "--task", "sr", "--scale", 4)
    assert "extended to a multiple of 4" in text
    words = ("--task", "sr", "--scale", 4, "--steps", 1, "--prior", "t.safetensors")
    assert "LPIPS" in run("restore", "y.png", "-o", "o.png", *words, "--truth", "t.png")
    Image.fromarray(levels[:8, :8]).save("t8.png")
    words = (*RESTORE[4:], "--steps", 1, "--noise", 0.05)
    text = run("restore", "t8.png", "-o", "o8.png", *words, "--truth", "t8.png")
    assert "PSNR" in text
    assert "SSIM" not in text

"""`reddiff large`: one picture in windows, from the command line."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from rasterio.transform import Affine
from skimage import data

import commands
from reddiff.errors import InvalidArgument
from reddiff.large.parts import Parts
from reddiff.large.windows import Work
from tiny import save_tiny

LIGHT = ("--noise", 0.05, "--steps", 2, "--prior", "tiny.safetensors")
SMALL = ("--window", 40, "--overlap", 12)
PHOTO = data.astronaut()[:48, 180:240]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untyped: None) -> Path:
    """Where the test stands: a tiny prior and a picture of 48 x 60 pixels."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    np.save("in.npy", PHOTO)
    return tmp_path


def large(source: str, output: str, *words: object, task: str = "denoise", code: int = 0) -> str:
    few = SMALL if "--window" not in words else ()
    return commands.run(
        "large", source, "-o", output, "--task", task, *LIGHT, *few, *words, code=code
    )


def test_all_formats_give_the_same_pixels(here):
    text = large("in.npy", "out.npy")
    assert "out.npy: denoise by noise-aware, 4 windows of 40 with an overlap of 12" in text
    good = np.load("out.npy")
    assert good.dtype == np.uint8
    assert 0 < np.abs(good.astype(float) - PHOTO).mean() < 20
    tifffile.imwrite("in.tif", PHOTO, photometric="rgb", tile=(32, 32), compression="zlib")
    large("in.tif", "out.tif")
    array = zarr.create_array("in.zarr", shape=PHOTO.shape, chunks=(32, 32, 3), dtype="uint8")
    array[:] = PHOTO
    large("in.zarr", "out.zarr")
    assert (tifffile.imread("out.tif") == good).all()
    assert (zarr.open_array("out.zarr", mode="r")[:] == good).all()
    assert not list(Path().glob("*.parts"))
    assert "out.npy: finished before" in large("in.npy", "out.npy")


def test_a_geotiff_with_missing_pixels(here):
    elevation = (1200 + 3 * PHOTO[..., 0].astype(np.float32)).astype(np.int16)
    elevation[20:30, 30:40] = -32768
    where = {"crs": "EPSG:25832", "transform": Affine(25, 0, 4e5, 0, -25, 5e6), "nodata": -32768}
    shape = {"width": 60, "height": 48, "count": 1, "dtype": "int16", "driver": "GTiff"}
    with rasterio.open("in.tif", "w", **shape, **where) as file:
        file.write(elevation, 1)
    text = large("in.tif", "out.tif", code=3)
    assert "range: expected what black and white are (--range LOW,HIGH)" in text
    text = large("in.tif", "out.tif", "--range", "1200,1965", "--scale", 2, task="sr")
    assert "3.47% of the values are missing, and stay so" in text
    with rasterio.open("out.tif") as file:
        found = file.read(1)
        assert file.crs.to_epsg() == 25832
        assert file.transform == Affine(12.5, 0, 4e5, 0, -12.5, 5e6)
        assert file.nodata == -32768
    gone = np.zeros((96, 120), bool)
    gone[40:60, 60:80] = True
    assert ((found == -32768) == gone).all()
    assert 1200 <= found[~gone].min() <= found.max() <= 1965
    small = found.reshape(48, 2, 60, 2).mean((1, 3))
    away = np.abs(small - elevation)[~gone[::2, ::2]]
    assert away.mean() < 60


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("in.png", "out.png"), "in.png: expected a file that is read in parts (.npy, .tif, "),
        (("none.npy", "out.npy"), "none.npy: expected a file that can be read, got no such file"),
        (("in.npy", "out.tif"), "out.tif: expected a .npy file, as the input is, got .tif"),
        (("in.npy", "out.npy", "--window", 30, "--overlap", 40),
         "--overlap: expected less than half the window, 15 pixels, got 40"),
        (("in.npy", "out.npy", "--task", "jpeg:10"),
         "task: expected a task that is the same at every place (denoise, inpaint, sr, deblur)"),
        (("in.npy", "out.npy", "--task", "deblur", "--kernel", "uniform:15"),
         "--overlap: expected at least 15 pixels, the reach of the task deblur, got 12"),
        (("in.npy", "out.npy", "--task", "inpaint"), "mask: expected a file for the task inpaint"),
        (("in.npy", "out.npy", "--task", "inpaint", "--mask", "mask.npy"),
         "mask.npy: expected a mask of one channel and 60x48 pixels, as the picture has"),
        (("in.npy", "mask.npy"), "mask.npy: expected a new file (force replaces one), got one"),
        (("in.npy", "in.npy", "--force"), "OUT: expected another file than IN, got in.npy"),
        (("in.npy", "mask.npy", "--task", "inpaint", "--mask", "mask.npy", "--force"),
         "OUT: expected another file than the mask, got mask.npy"),
        (("in.npy", "no/out.npy"), "no/out.npy: expected an existing folder, got no such folder"),
        (("in.npy", "out.npy", "--nodata", 0.5), "--nodata: expected a value of uint8"),
        (("in.npy", "out.npy", "--prior", "none"), "none"),
        (("holes.npy", "out.npy"), "holes.npy: expected a picture, got missing values only"),
        (("cut.npy", "out.npy"), "cut.npy: expected a .npy file of numbers, got a part"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_line_before_any_work(words, reason, here, monkeypatch):
    monkeypatch.setattr(Work, "restore", None)
    Path("in.png").write_bytes(b"")
    np.save("mask.npy", np.ones((48, 61), bool))
    np.save("holes.npy", np.full((48, 60), np.nan, np.float32))
    Path("cut.npy").write_bytes(Path("in.npy").read_bytes()[:-1])
    code = 4 if words[0] == "none.npy" or words[1:] in (("mask.npy",), ("no/out.npy",)) else 3
    text = large(*words, code=code)
    assert reason in text
    assert text.count("\n") == 1
    assert {p.name for p in Path().iterdir()} == {
        "in.png", "in.npy", "mask.npy", "holes.npy", "cut.npy", "tiny.safetensors"
    }  # fmt: skip


def test_folders_of_others_are_never_replaced(here):
    """Not by --force, and not if an input lies in them."""
    for name in ("in.zarr", "other.zarr/in.zarr"):
        zarr.create_array(name, shape=PHOTO.shape, dtype="uint8")[:] = PHOTO
    for folder in ("out.npy", "out.zarr", "full.npy.parts"):
        Path(folder).mkdir()
        Path(folder, "mine").touch()
    Path("file.npy.parts").touch()
    assert "file.npy.parts: expected a folder, got a file" in large("in.npy", "file.npy", code=4)
    before = sorted(Path().rglob("*"))
    for source, output in (("in.npy", "out.npy"), ("in.zarr", "out.zarr")):
        said = f"{output}: expected a file, got a directory"
        assert said in large(source, output, "--force", code=4)
    text = large("in.npy", "full.npy", code=4)
    assert "full.npy.parts: expected a new folder, or the parts of an earlier run" in text
    said = "OUT: expected a place apart from IN"
    assert said in large("in.zarr", "in.zarr/out.zarr", code=3)
    assert said in large("other.zarr/in.zarr", "other.zarr", "--force", code=3)
    zarr.create_array("old.zarr", shape=(9, 9), dtype="uint8")
    before += [*sorted(Path("old.zarr").rglob("*")), Path("old.zarr")]
    assert "expected a new file (force replaces one)" in large("in.zarr", "old.zarr", code=4)
    assert sorted(Path().rglob("*")) == sorted(before)
    large("in.zarr", "old.zarr", "--force")
    assert zarr.open_array("old.zarr", mode="r").shape == PHOTO.shape


def test_without_zarr_the_extra_is_named(here, monkeypatch):
    Path("in.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert "the package zarr (pip install 'reddiff[zarr]')" in large("in.zarr", "o.zarr", code=3)


def test_a_target_in_use_or_of_another_run_is_refused(here, monkeypatch):
    with Parts(Path("out.npy")).locked():
        assert "that no other run is writing to" in large("in.npy", "out.npy", code=4)
    assert not Path("out.npy.parts").exists()
    real, made = Work.restore, []

    def interrupted(*words):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return real(*words)

    monkeypatch.setattr(Work, "restore", interrupted)
    large("in.npy", "out.npy", code=130)
    assert not Path("out.npy").exists()
    text = large("in.npy", "out.npy", "--seed", 1, code=3)
    assert "out.npy.parts was begun with (--force discards it), got seed 0 -> 1" in text
    assert "2 windows of 4 finished before" in large("in.npy", "out.npy")
    text = large("in.npy", "out.npy", "--seed", 1, code=4)
    assert "--force replaces it), got one of another run: seed 0 -> 1" in text
    before = np.load("out.npy")
    large("in.npy", "out.npy", "--seed", 1, "--noise", 0.2, "--force")
    assert (np.load("out.npy") != before).any()


def test_a_full_disk_loses_nothing(here, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real("/")._replace(free=1000))
    text = large("in.npy", "out.npy", code=4)
    assert "out.npy: expected a disk with 8.64e-06 GB free, got 1e-06 GB" in text
    assert not Path("out.npy.parts").exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7_000, limit[1]))
        text = large("in.npy", "out.npy", code=4)
        assert "file too large" in text
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert not Path("out.npy").exists()
    large("in.npy", "out.npy")
    large("in.npy", "other.npy")
    assert (np.load("out.npy") == np.load("other.npy")).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_killed_runs_end_with_the_same_pixels(kind, here):
    """SIGKILL at random moments, until a run ends by itself."""
    array = np.tile(PHOTO, (2, 2, 1))
    if kind == "npy":
        np.save("in.npy", array)
    else:
        made = zarr.create_array("in.zarr", shape=array.shape, chunks=(50, 50, 3), dtype="uint8")
        made[:] = array
    more = ("--steps", "10", "--realism", "1", "--scale", "2", "--task", "sr")
    words = [sys.executable, "-c", "from reddiff.cli import main; main()", "large", f"in.{kind}"]
    words += [*map(str, (*LIGHT, *SMALL)), *more]
    chance, kills = random.Random(kind), 0
    start = time.monotonic()
    subprocess.run([*words, "-o", f"whole.{kind}"], check=True, capture_output=True)
    longest = time.monotonic() - start
    for _ in range(100):
        run = subprocess.Popen([*words, "-o", f"out.{kind}"], stdout=subprocess.DEVNULL)
        try:
            assert run.wait(longest * chance.uniform(0.5, 0.9) if kills < 3 else 600) == 0
            break
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
    assert kills >= 1
    assert not Path(f"out.{kind}.parts").exists()
    if kind == "zarr":
        found, good = (zarr.open_array(f"{n}.zarr", mode="r")[:] for n in ("out", "whole"))
        assert (found == good).all()
    else:
        assert Path(f"out.{kind}").read_bytes() == Path(f"whole.{kind}").read_bytes()


def test_the_library_refuses_as_the_command_line_does(here):
    from reddiff.images.settings import Settings
    from reddiff.large.plan import Large
    from reddiff.large.restoration import restore_large

    settings = Settings(task="hdr")
    with pytest.raises(InvalidArgument, match="task: expected a task that is the same"):
        restore_large(Large(source=Path("in.npy"), output=Path("o.npy"), settings=settings))

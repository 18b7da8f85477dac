"""Masks, kernels and truths in folders: one of the name of each picture, found before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import run
from reddiff.images.io import read_picture
from tiny import save_tiny

LIGHT = ("--noise", 0.05, "--steps", 1, "--prior", "tiny.safetensors")
INPAINT = ("--task", "inpaint", "--mask", "masks")
NAMES = ("in/a.png", "in/sub/b.jpg", "in/sub/c.png")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test stands: three pictures in a tree, and a mask and a truth for each."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "tiny.safetensors")
    rng = np.random.default_rng(0)
    for name in NAMES:
        picture(name, rng.integers(0, 255, (12, 16, 3)))
        own = Path(name).relative_to("in").with_suffix("")
        picture(f"masks/{own}.png", 255 * (rng.random((12, 16)) > 0.4))
        picture(f"truths/{own}.png", rng.integers(0, 255, (12, 16, 3)))
    return tmp_path


def picture(name: str, pixels: np.ndarray) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(name)


def test_a_folder_has_a_mask_and_a_truth_for_each_picture(here):
    words = ("--recursive", "--truth", "truths", "--batch", 3)
    text = run("restore", "in", "-o", "out", *INPAINT, *LIGHT, *words)
    assert text.count("PSNR") == 3
    for name in NAMES:
        own = Path(name).relative_to("in")
        mask = Path("masks", own).with_suffix(".png")
        truth = Path("truths", own).with_suffix(".png")
        run(
            "restore",
            name,
            "-o",
            f"alone{own.suffix}",
            "--force",
            "--task",
            "inpaint",
            *LIGHT,
            "--mask",
            mask,
            "--truth",
            truth,
        )
        record = json.loads(Path(f"out/{own}.json").read_text())
        alone = json.loads(Path(f"alone{own.suffix}.json").read_text())
        assert record["pixels"] == alone["pixels"]
        assert record["metrics"] == alone["metrics"]
        assert record["inputs"] == alone["inputs"]
    run("replay", "out/sub/c.png.json", "-o", "again.png")


def test_a_large_set_has_a_mask_for_each_picture(here):
    words = (*INPAINT, *LIGHT, "--recursive", "--workers", 0)
    run("run", "in", "-o", "out", *words)
    run("run", "in", "-o", "one", *words, "--batch", 1, "--shard-size", 1)
    for name in NAMES:
        own = Path(name).relative_to("in")
        kept = np.asarray(Image.open(Path("masks", own).with_suffix(".png"))) > 0
        assert kept.mean() < 1
        assert (read_picture(f"out/{own}").pixels == read_picture(f"one/{own}").pixels).all()
        record = json.loads(Path(f"out/{own}.json").read_text())
        assert record["job"]["mask"].endswith(f"masks/{own.with_suffix('.png')}")
    picture("masks/a.png", np.full((12, 16), 255))  # another size of its file
    assert "other mask (another file)" in run("run", "in", "-o", "out", *words, code=3)


@pytest.mark.parametrize("command", ["restore", "run"])
def test_what_is_missing_or_there_twice_is_said_before_any_work(here, command):
    def refused(*words: object) -> str:
        text = run(command, "in", "-o", "out", *INPAINT, *LIGHT, "--recursive", *words, code=3)
        assert not Path("out").exists()
        (line,) = (line for line in text.splitlines() if "expected" in line)
        return line

    Path("masks/a.png").rename("masks/other.png")
    Path("masks/sub/c.png").unlink()
    said = "mask: expected one file in masks for each picture"
    assert said in refused()
    assert "got none for a.png, sub/c.png" in refused()
    picture("masks/a.png", np.full((12, 16), 255))
    picture("masks/sub/c.png", np.full((12, 16), 255))
    picture("masks/sub/b.bmp", np.full((12, 16), 255))
    assert "got several: b.bmp and b.png" in refused()
    Path("masks/sub/b.bmp").unlink()
    picture("in/a.jpg", np.zeros((12, 16, 3)))
    assert "got a.png for a.jpg and a.png" in refused()


def test_a_mask_of_another_size_fails_its_pictures_and_is_announced(here):
    picture("in/wide.png", np.zeros((12, 20, 3)))
    mask, words = "masks/a.png", (*LIGHT, "--task", "inpaint")
    text = run("restore", "in", "-o", "out", *words, "--mask", mask, code=5)
    said = "The mask has another size than 1 of 2 pictures, which will fail: "
    assert f"{said}in/wide.png (20x12, its mask 16x12)." in text
    assert "in/wide.png: masks/a.png: expected a mask of 20x12 pixels" in text
    assert [p.name for p in Path("out").glob("*.png")] == ["a.png"]
    text = run("restore", "in", "-o", "new", *words, "--mask", mask, "--fit-mask")
    assert "will fail" not in text


def test_a_truth_that_is_missing(here):
    Path("truths/a.png").unlink()
    words = (*INPAINT, *LIGHT, "--recursive", "--truth")
    text = run("restore", "in", "-o", "out", *words, "truths", code=3)
    assert "truth: expected one file in truths for each picture" in text
    text = run("restore", "in", "-o", "out", *words, "truths/sub/b.png", code=3)
    assert "truth: expected a single input for one truth, or a folder" in text

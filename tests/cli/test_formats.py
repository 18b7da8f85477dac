"""Floats, pages and CMYK from the command line, and that a record has what decided the pixels."""

from __future__ import annotations

import json

import numpy as np
import tifffile
from PIL import Image

from commands import run

QUICK = ("--task", "denoise", "--noise", 0.05, "--steps", 1)


def test_a_range_is_asked_for_kept_and_replayed(tmp_path):
    source, out = tmp_path / "a.tif", tmp_path / "b.tif"
    values = np.linspace(-50, 950, 24 * 32).reshape(24, 32).astype(np.float32)
    tifffile.imwrite(source, values)
    assert "--range LOW,HIGH" in run("restore", source, "-o", out, *QUICK, code=3)
    run("restore", source, "-o", out, *QUICK, "--range=-50,950")
    got = tifffile.imread(out)
    assert got.dtype == np.float32
    assert np.abs(got - values).mean() < 50
    assert json.loads((tmp_path / "b.tif.json").read_text())["job"]["range"] == "-50,950"
    assert "the same pixels" in run("replay", f"{out}.json", "--force")
    words = ("restore", source, "-o", tmp_path / "c.tif", *QUICK, "--range", 5)
    assert "two finite numbers" in run(*words, code=3)


def test_a_page_is_asked_for(tmp_path):
    source, out = tmp_path / "a.tif", tmp_path / "b.png"
    dark = np.full((24, 32, 3), 40, np.uint8)
    tifffile.imwrite(source, np.stack([dark, dark + 160]), photometric="rgb")
    assert "--page N" in run("restore", source, "-o", out, *QUICK, code=3)
    run("restore", source, "-o", out, *QUICK, "--page", 2)
    with Image.open(out) as picture:
        assert abs(np.asarray(picture).mean() - 200) < 10
    assert "a page from 1 to 2" in run(
        "restore", source, "-o", tmp_path / "c.png", *QUICK, "--page", 3, code=3
    )


def test_inks_are_said_to_be_converted(tmp_path):
    source = tmp_path / "a.jpg"
    Image.new("CMYK", (32, 24), (90, 20, 0, 10)).save(source)
    assert "The picture is CMYK" in run("restore", source, "-o", tmp_path / "b.png", *QUICK)

"""Draws, intervals and regions on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reddiff
from commands import run
from reddiff import InvalidArgument
from reddiff.images.maps import COLORS, heat_map
from reddiff.images.regions import Region
from reddiff.images.sheets import GAP
from tiny import save_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    Image.fromarray((np.random.default_rng(0).random((24, 32, 3)) * 255).astype(np.uint8)).save(
        tmp_path / "in.png"
    )
    save_tiny(tmp_path / "tiny.safetensors")
    return tmp_path


def restore(folder: Path, *words: object, code: int = 0) -> str:
    given = ["--task", "denoise", "--noise", 0.1, "--steps", 2]
    prior = ["--prior", folder / "tiny.safetensors"]
    return run("restore", folder / "in.png", *given, *prior, *words, code=code)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(float)


def test_intervals_draws_and_numbers_are_written(tiny):
    words = ["-o", tiny / "out.png", "--interval", 0.9, "--save-draws", tiny / "draws"]
    roi = ["--roi", "box:4,2,8,6=mean", "--roi", "box:4,2,8,6=max"]
    text = restore(tiny, *words, *roi)
    draws = np.stack([pixels(path) for path in sorted((tiny / "draws").iterdir())])
    assert draws.shape == (19, 24, 32, 3)  # as many as 0.9 needs
    assert np.ptp(draws, 0).mean() > 1
    assert np.abs(pixels(tiny / "out.png") - draws.mean(0)).max() <= 1  # rounding
    assert np.array_equal(pixels(tiny / "out.low.png"), draws.min(0))
    assert np.array_equal(pixels(tiny / "out.high.png"), draws.max(0))
    assert pixels(tiny / "out.width.png").shape[1] > 32
    found = json.loads((tiny / "out.png.json").read_text())["uncertainty"]
    means = draws[:, 2:8, 4:12].mean((1, 2, 3)) / 255
    number = found["regions"]["box:4,2,8,6=mean"]
    assert number["mean"] == pytest.approx(means.mean(), abs=0.002)
    assert number["low"] == pytest.approx(means.min(), abs=0.002)
    assert number["high"] == pytest.approx(means.max(), abs=0.002)
    assert f"box:4,2,8,6=mean: {number['sentence']}" in text
    assert "90 % interval of 19 draws" in text
    width = (draws.max(0) - draws.min(0)).mean() / 255
    assert found["mean_width"] == pytest.approx(width, abs=0.005)
    assert found["mean_measured_share"] is None  # no spectrum was measured for this prior
    assert not (tiny / "out.measured.png").exists()


def test_a_map_shows_what_was_measured(tiny):
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16:] = 255
    Image.fromarray(mask).save(tiny / "m.png")
    words = ["--task", "inpaint", "--mask", tiny / "m.png", "--noise", 0.02, "--steps", 3]
    text = run("restore", tiny / "in.png", *words, "-o", tiny / "out.png", "--interval", 0.9)
    found = json.loads((tiny / "out.png.json").read_text())["uncertainty"]["mean_measured_share"]
    assert f"y removed {100 * found:.0f} % of the prior variance" in text
    shown = pixels(tiny / "out.measured.png")
    bright = (np.abs(shown - COLORS[-1]).max(-1) <= 34).sum(0)
    assert bright[GAP + 18 : GAP + 32].sum() > 200  # measured
    assert bright[: GAP + 14].sum() < 50  # missing
    given = {"mask": tiny / "m.png", "noise": 0.02, "steps": 3, "draws": 19}
    result = reddiff.restore(tiny / "in.png", task="inpaint", **given)
    share = result.measured_share
    assert share.shape == (3, 24, 32)
    assert share[..., 20:].min() > 0.95 > 0.9 > share[..., :8].mean()
    alone = reddiff.restore(tiny / "in.png", task="inpaint", **given | {"draws": 1})
    assert alone.measured_share is None


def test_draws_are_repeated_by_the_record(tiny):
    restore(tiny, "-o", tiny / "out.png", "--draws", 3)
    run("replay", tiny / "out.png.json", "-o", tiny / "again.png")
    assert np.array_equal(pixels(tiny / "out.png"), pixels(tiny / "again.png"))
    record = json.loads((tiny / "out.png.json").read_text())
    assert record["cost"]["evaluations"] == 6
    assert record["solver"]["realism"] == 1


def test_a_result_without_its_interval_is_made_again(tiny):
    words = ["-o", tiny / "out.png", "--draws", 19, "--on-existing", "skip"]
    restore(tiny, *words)
    assert "without out.low.png" in restore(tiny, *words, "--interval", 0.9)
    assert "skipped" in restore(tiny, *words, "--interval", 0.9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--draws", 18, "--interval", 0.9], "draws: expected at least 19"),
        (["--interval", 1.5], "level: expected a number between 0 and 1"),
        (["--save-draws", "draws"], "--draws: expected a number"),
        (["--draws", 0], "draws"),
        (["--roi", "box:30,0,8,8=mean"], "a box inside the picture of 32x24"),
        (["--roi", "box:0,0,8,8=men"], "roi: expected one of mean, sum"),
        (["--roi", "box:0,0=mean"], "roi: expected box:X,Y,WIDTH,HEIGHT"),
        (["--roi", "box:31,23,1,1=std"], "roi: expected at least 2 pixels for std"),
        (["--roi", "mean"], "roi: expected box:X,Y,WIDTH,HEIGHT=STATISTIC"),
        (["--roi", "missing.png=mean"], "missing.png"),
    ],
)
def test_what_cannot_be_found_is_refused_before_the_run(tiny, words, message, monkeypatch):
    monkeypatch.chdir(tiny)
    monkeypatch.setattr("reddiff.images.making.prepare", None)
    code = 4 if message == "missing.png" else 3
    text = restore(tiny, "-o", tiny / "out.png", *words, code=code)
    assert message in text
    assert not (tiny / "out.png").exists()


def test_a_file_in_the_way_of_an_interval_is_kept(tiny):
    (tiny / "out.high.png").write_bytes(b"mine")
    assert "out.high.png" in restore(tiny, "-o", tiny / "out.png", "--interval", 0.5, code=4)
    assert (tiny / "out.high.png").read_bytes() == b"mine"
    assert not (tiny / "out.png").exists()


def test_a_mask_selects_a_region(tiny):
    mask = np.zeros((24, 32), np.uint8)
    mask[3:9, 5:20] = 255
    Image.fromarray(mask).save(tiny / "cell.png")
    x = torch.rand(3, 24, 32)
    found = Region(f"{tiny / 'cell.png'}=std").of((24, 32))(x)
    assert float(found) == pytest.approx(float(x[:, 3:9, 5:20].std()), rel=1e-6)
    with pytest.raises(reddiff.ReddiffError, match="cell"):
        Region(f"{tiny / 'cell.png'}=std").of((25, 32))
    with pytest.raises(InvalidArgument, match="roi"):
        Region("cell.png=")


def test_python_has_the_same_in_pixels(tiny):
    given = {"task": "denoise", "noise": 0.1, "steps": 2, "prior": tiny / "tiny.safetensors"}
    found = reddiff.restore(tiny / "in.png", draws=19, **given)
    ends = found.interval(0.9)
    draws = torch.cat(list(found.draws))
    assert draws.shape == (19, 3, 24, 32)
    assert torch.equal(ends.low, draws.amin(0))
    assert (ends.width >= 0).all()
    torch.testing.assert_close(found.pixels, draws.mean(0), atol=0.02, rtol=0)  # clipped at 0 and 1
    assert 0 < float(reddiff.functional(found, torch.mean).mean) < 1
    single = reddiff.restore(tiny / "in.png", **given)
    with pytest.raises(InvalidArgument, match="at least 19"):
        single.interval(0.9)


def test_the_scale_of_a_map_ends_at_its_largest_value():
    values = torch.linspace(0, 0.3, 40).expand(30, 40)
    picture = np.asarray(heat_map(values, "width"))
    dark, bright = picture[36, 12], picture[36, 51]
    assert dark.tolist() == [68, 1, 84]
    assert bright.tolist() == [253, 231, 37]

"""`reddiff calibrate`, and intervals that it widens."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import reddiff
from commands import run
from reddiff import CalibrationError, InvalidArgument
from reddiff.images.calibration_cases import halves
from reddiff.images.degradation import degrade_with
from reddiff.images.io import read_picture
from reddiff.images.places import STRATA, strata
from reddiff.images.restoration import restore_with
from reddiff.images.settings import Settings
from tiny import save_tiny

SIZE, NOISE = 20, 0.1


def smooth(seed: int, width: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((SIZE, SIZE, 3))
    x = gaussian_filter(noise, (width, width, 0), mode="wrap")
    return (255 * np.clip(0.5 + 0.12 * x / x.std(), 0, 1)).round().astype(np.uint8)


def save(folder: Path, seeds: range, width: float = 2.0) -> Path:
    folder.mkdir()
    for seed in seeds:
        Image.fromarray(smooth(seed, width)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 pictures, a small prior, and the calibration."""
    place = tmp_path_factory.mktemp("calibrate")
    save_tiny(place / "tiny.safetensors")
    save(place / "known", range(40))
    words = [place / "known", "-o", place / "cal.json", *given(place)]
    (place / "said.txt").write_text(run("calibrate", *words))
    return place


def given(place: Path) -> list[object]:
    prior = place / "tiny.safetensors"
    return ["--task", "denoise", "--noise", NOISE, "--steps", 2, "--prior", prior]


def settings(place: Path, **more: object) -> Settings:
    made = Settings(task="denoise", noise=NOISE, steps=2, draws=19)
    return replace(made, prior=str(place / "tiny.safetensors"), **more)


def test_a_calibration_says_what_it_found(place):
    said = (place / "said.txt").read_text()
    entries = json.loads((place / "cal.json").read_text())
    assert entries["images"] == 40
    assert entries["settings"]["draws"] == 19
    assert "40 pictures" in said
    share = 100 * entries["coverage"]["all"]["share"]
    assert f"all: {share:.1f} % inside" in said
    assert entries["coverage"]["draws"]["share"] < 0.5  # of an untrained network
    assert "alarm" not in said


def test_the_truth_of_new_pictures_is_inside(place):
    exact = reddiff.read_calibration(place / "cal.json")
    inside, above, alarms = [], [], []
    for seed in range(100, 120):
        truth = smooth(seed)
        y = reddiff.degrade(truth, task="denoise", noise=NOISE, seed=seed)
        prior = place / "tiny.safetensors"
        found = reddiff.restore(y, task="denoise", noise=NOISE, steps=2, draws=19, prior=prior)
        ends, wanted = exact.interval(found), torch.from_numpy(truth).permute(2, 0, 1) / 255
        inside.append(float(((wanted >= ends.low) & (wanted <= ends.high)).double().mean()))
        psnr = -10 * np.log10(float((found.pixels - wanted).square().mean()))
        above.append(psnr >= exact.psnr_at_least(found))
        alarms.append(exact.p_value(found) <= 0.05)
    assert 0.86 < sum(inside) / 20 < 0.97
    assert sum(above) >= 14  # of 20 at 90 %: fewer by chance in 1 of 10,000 cases
    assert sum(alarms) <= 5


def test_pictures_of_another_kind_are_noticed(place):
    exact = reddiff.read_calibration(place / "cal.json")
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    prior = place / "tiny.safetensors"
    found = reddiff.restore(noise, task="denoise", noise=NOISE, steps=2, draws=19, prior=prior)
    assert exact.p_value(found) == pytest.approx(1 / 21)


def test_restore_uses_it_and_says_so(place, tmp_path):
    Image.fromarray(smooth(200)).save(tmp_path / "x.png")
    y = tmp_path / "y.png"
    run("degrade", tmp_path / "x.png", "-o", y, "--task", "denoise", "--noise", NOISE)
    words = ["--calibration", place / "cal.json", "--roi", "box:2,2,9,9=mean"]
    words += ["--roi", "box:2,2,9,9=sum", "--roi", "box:2,2,9,9=std"]
    text = run("restore", y, "-o", tmp_path / "out.png", *given(place), *words)
    assert "Calibrated: 90 % of the pixels are inside, on average over pictures like the 40" in text
    assert "PSNR at least" in text
    assert "=mean: " in text
    assert text.count("19 draws, calibrated") == 2
    assert "19 draws, not calibrated" in text
    raw = run("restore", y, "-o", tmp_path / "raw.png", *given(place), "--interval", 0.9)
    assert "Calibrated" not in raw
    found = json.loads((tmp_path / "out.png.json").read_text())["uncertainty"]
    before = json.loads((tmp_path / "raw.png.json").read_text())["uncertainty"]
    assert found["mean_width"] > 3 * before["mean_width"]
    mean, total = (found["regions"][f"box:2,2,9,9={name}"] for name in ("mean", "sum"))
    for end in ("low", "high"):
        assert total[end] == pytest.approx(3 * 81 * mean[end], rel=1e-4)
    with Image.open(tmp_path / "out.low.png") as low, Image.open(tmp_path / "out.high.png") as high:
        wide = np.asarray(high).astype(float) - np.asarray(low)
    assert wide.mean() / 255 == pytest.approx(found["mean_width"], abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.2}, "expected one of noise 0.2, got one of noise 0.1"),
        ({"steps": 3}, "steps 3"),
        ({"task": "inpaint", "mask": "random:0.5"}, "mask"),
        ({"draws": 30}, "draws 30"),
    ],
)
def test_other_settings_are_refused(place, change, message):
    exact = reddiff.read_calibration(place / "cal.json")
    exact.check(settings(place), exact.weights, 0.9)
    exact.check(settings(place, seed=7), exact.weights, 0.9)
    with pytest.raises(CalibrationError, match=message):
        exact.check(settings(place, **change), exact.weights, 0.9)


def test_another_prior_and_level_are_refused(place):
    exact = reddiff.read_calibration(place / "cal.json")
    with pytest.raises(CalibrationError, match="another"):
        exact.check(settings(place), "0" * 64, 0.9)
    with pytest.raises(CalibrationError, match=r"level 0\.8"):
        exact.check(settings(place), exact.weights, 0.8)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1, "command": "restore"}', "nan"])
def test_files_that_are_no_calibration_are_refused(tmp_path, text):
    (tmp_path / "cal.json").write_text(text)
    with pytest.raises(CalibrationError, match="expected a calibration"):
        reddiff.read_calibration(tmp_path / "cal.json")


def test_a_damaged_calibration_is_refused(place, tmp_path):
    entries = json.loads((place / "cal.json").read_text())
    for name in entries:
        (tmp_path / "cal.json").write_text(
            json.dumps({k: v for k, v in entries.items() if k != name})
        )
        with pytest.raises(CalibrationError):
            reddiff.read_calibration(tmp_path / "cal.json")


def test_what_cannot_be_calibrated_is_refused_before_any_run(place, tmp_path, monkeypatch):
    monkeypatch.setattr("reddiff.images.calibration_fit.restore_with", None)
    out = ["-o", tmp_path / "cal.json"]
    few = save(tmp_path / "few", range(8))
    assert "at least 9" in run("calibrate", few, *out, *given(place), code=3)
    known = place / "known"
    assert "noise" in run("calibrate", known, *out, "--task", "denoise", code=3)
    assert "at least 19" in run("calibrate", known, *out, *given(place), "--draws", 5, code=3)
    words = [*given(place), "--size", 64]
    assert "at least 64 pixels" in run("calibrate", known, *out, *words, code=3)
    with pytest.raises(InvalidArgument, match="level"):
        reddiff.calibrate([*known.iterdir()], settings(place), level=1.2)
    assert not (tmp_path / "cal.json").exists()


def test_the_width_after_is_that_of_the_intervals(place):
    files = sorted((place / "known").iterdir())[:12]
    exact = reddiff.calibrate(files, settings(place))
    widths = []
    for file in files:
        key = sha256(read_picture(file).pixels.contiguous().numpy().tobytes()).hexdigest()
        given = settings(place, seed=int(key[:12], 16))
        found = restore_with(degrade_with(read_picture(file), given), given)
        factors = torch.tensor([exact.factors[name] for name in STRATA])[strata(found.pixels)]
        _, below, above = halves(found, found.interval(0.9))
        widths.append(float((factors * (below + above)).mean()))
    assert exact.widths[1] == pytest.approx(sum(widths) / 12, rel=1e-4)


def test_draws_that_diverge_are_named_with_their_picture(place, monkeypatch):
    def restored(y, given):
        found = restore_with(y, given)
        run = found.reconstruction
        status = run.status.clone()
        status[0, 3] = reddiff.Status.DIVERGED
        return replace(found, reconstruction=replace(run, status=status))

    monkeypatch.setattr("reddiff.images.calibration_fit.restore_with", restored)
    files = sorted((place / "known").iterdir())[:9]
    with pytest.raises(InvalidArgument, match=r"18 of 19 that did not diverge, for 0\.png"):
        reddiff.calibrate(files, settings(place))


def test_one_picture_twice_is_refused(place):
    files = sorted((place / "known").iterdir())[:9]
    with pytest.raises(InvalidArgument, match="different pictures"):
        reddiff.calibrate([*files, files[0]], settings(place))


def test_the_order_of_the_pictures_does_not_matter(place):
    files = sorted((place / "known").iterdir())[:12]
    one = reddiff.calibrate(files, settings(place))
    other = reddiff.calibrate(files[::-1], settings(place))
    assert one == other
    assert one.distances == []

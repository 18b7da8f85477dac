"""`reddiff train`: priors of one's own pictures."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import commands
import reddiff
from reddiff import InvalidArgument, PictureError, WeightsError
from reddiff.priors import GaussianRandomField, Prior
from reddiff.random import drawn
from reddiff.training import train
from reddiff.training.pictures import read_folder
from reddiff.training.trainer import Trainer

FAST: dict[str, Any] = {"size": "tiny", "steps": 4}


def texture(count: int, side: int, channels: int, seed: int = 0) -> torch.Tensor:
    """Pictures in [0, 1] with a dark and a bright half space: not Gaussian."""
    like = torch.empty(count, channels, side, side)
    field = GaussianRandomField(-3.5, channels=channels, dtype=torch.float32)
    smooth = field.filter(drawn(like, seed), torch.sqrt)
    return (0.5 + 0.3 * smooth.sign() + 0.02 * drawn(like, seed + 1)).clamp(0, 1)


def fill(folder: Path, channels: int = 3, count: int = 4, side: int = 24) -> Path:
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(texture(count, side, channels)):
        array = (255 * pixels).round().byte().permute(1, 2, 0).numpy()
        if channels in (1, 3):
            Image.fromarray(array[..., 0] if channels == 1 else array).save(folder / f"{i}.png")
        else:
            np.save(folder / f"{i}.npy", array)
    return folder


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_result_is_a_prior(tmp_path: Path, channels: int) -> None:
    out = tmp_path / "mine.safetensors"
    assert train(fill(tmp_path / "in", channels), out, **FAST)
    prior = reddiff.prior(out)
    assert prior.shape == (channels, None, None)
    assert prior.errors is not None
    assert len(prior.errors.axes) == channels
    assert prior(torch.rand(2, channels, 17, 20), 0.3).isfinite().all()
    rows = list(csv.DictReader((tmp_path / "mine.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["4"]
    assert float(rows[0]["psnr25"]) > 15
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "mine.csv", "mine.safetensors"]


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "in")
    assert train(folder, tmp_path / "a.safetensors", **FAST)
    plain = Trainer.step

    def stopped(self: Trainer, x: torch.Tensor) -> torch.Tensor:
        if self.steps == 1:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, x)

    b = tmp_path / "b.safetensors"
    monkeypatch.setattr(Trainer, "step", stopped)
    assert not train(folder, b, **FAST)
    assert not b.exists()
    assert b.with_suffix(".checkpoint").exists()
    monkeypatch.undo()
    assert train(folder, b, **FAST, resume=True)
    wanted, got = load_file(tmp_path / "a.safetensors"), load_file(b)
    assert all(torch.equal(wanted[k], got[k]) for k in wanted)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "in", 1)
    assert train(folder, tmp_path / "a.safetensors", **FAST)
    plain = Trainer.step

    def killed(self: Trainer, x: torch.Tensor) -> torch.Tensor:
        if self.steps == 3:
            raise KeyboardInterrupt
        return plain(self, x)

    b = tmp_path / "b.safetensors"
    monkeypatch.setattr(Trainer, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(folder, b, **FAST, minutes=1e-9)
    monkeypatch.undo()
    assert train(folder, b, **FAST, resume=True)
    wanted, got = load_file(tmp_path / "a.safetensors"), load_file(b)
    assert all(torch.equal(wanted[k], got[k]) for k in wanted)


def bad(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / "in"
    if kind == "missing":
        return folder
    if kind == "empty":
        folder.mkdir()
    elif kind == "small":
        fill(folder, side=12)
    elif kind == "mixed":
        fill(fill(folder, 3), 1, count=1)
    elif kind == "float":
        folder.mkdir()
        np.save(folder / "a.npy", np.full((20, 20), 7.0))
    else:
        fill(folder)
        (folder / "no.png").write_bytes(b"no picture")
        (folder / "nor.png").write_bytes(b"this")
    return folder


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("missing", InvalidArgument, "a folder of pictures"),
        ("empty", InvalidArgument, "with pictures"),
        ("small", InvalidArgument, "4 that are smaller: 0.png"),
        ("mixed", InvalidArgument, r"1 of 1 \(0.png\), 3 of 3"),
        ("float", PictureError, r"in \[0, 1\]"),
        ("unreadable", PictureError, r"2 of 6.*no\.png.*nor\.png"),
    ],
)
def test_bad_pictures_are_refused_before_training(
    tmp_path: Path, kind: str, error: type[Exception], named: str
) -> None:
    folder = bad(tmp_path, kind)
    with pytest.raises(error, match=named):
        train(folder, tmp_path / "out.safetensors", **FAST)
    assert not (tmp_path / "out.csv").exists()


def test_other_bad_input(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in"), tmp_path / "out.safetensors"
    for words, named in (
        ({"hours": 1.0, "steps": 3}, "not both"),
        ({"hours": -1.0}, "hours"),
        ({"steps": 0}, "steps"),
        ({"steps": 3, "size": "huge"}, "one of tiny, small"),
        ({"steps": 3, "resume": True}, "out.checkpoint"),
    ):
        with pytest.raises(InvalidArgument, match=named):
            train(folder, out, **words)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"\.safetensors"):
        train(folder, tmp_path / "out.pt", **FAST)
    out.with_suffix(".checkpoint").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match=r"out\.checkpoint"):
        train(folder, out, **FAST, resume=True)
    out.write_bytes(b"")
    with pytest.raises(PictureError, match="one that exists"):
        train(folder, out, **FAST)


def test_a_checkpoint_of_other_pictures_is_refused(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in"), tmp_path / "out.safetensors"
    plain = Trainer.step
    with pytest.MonkeyPatch.context() as patch:

        def stopped(self: Trainer, x: torch.Tensor) -> torch.Tensor:
            signal.raise_signal(signal.SIGINT)
            return plain(self, x)

        patch.setattr(Trainer, "step", stopped)
        assert not train(folder, out, **FAST)
    fill(folder, count=5)
    with pytest.raises(InvalidArgument, match="resume: expected the pictures of the checkpoint"):
        train(folder, out, **FAST, resume=True)


def test_one_file_in_twenty_is_held_out(tmp_path: Path) -> None:
    folder = read_folder(fill(tmp_path / "in", 1, count=40, side=16))
    learned, held = folder.split()
    assert len(held.names) == 2
    assert sorted(learned.names + held.names) == sorted(folder.names)


def test_the_command(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in"), tmp_path / "mine.safetensors"
    words = ("train", folder, "-o", out, "--size", "tiny", "--steps", 3)
    text = commands.run(*words)
    assert "step 3" in text
    assert "mine.safetensors: done" in text
    assert "exists" in commands.run(*words, code=4)
    options = ("--task", "denoise", "--noise", 0.1, "--prior", out, "--steps", 2)
    commands.run("restore", folder / "0.png", "-o", tmp_path / "out.png", *options)
    commands.run("sample", "-o", tmp_path / "drawn", "--prior", out, "--steps", 2, "--count", 1)


def wiener_error(train: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, s: float) -> float:
    """The mean squared error of the Wiener filter with the spectrum of the training pictures."""
    mean = train.mean()
    power = torch.fft.fft2(train - mean, norm="ortho").abs().square().mean((0, 1))
    noisy = torch.fft.fft2(clean + s * noise - mean)
    estimate = torch.fft.ifft2(power / (power + s**2) * noisy).real + mean
    return float((estimate - clean).square().mean())


@pytest.mark.slow
def test_seconds_on_a_texture_beat_the_wiener_filter(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    known = texture(40, 48, 1)
    for i, pixels in enumerate(known):
        Image.fromarray((255 * pixels[0]).round().byte().numpy()).save(folder / f"{i:02}.png")
    train(folder, tmp_path / "mine.safetensors", steps=300, size="tiny")
    prior: Prior = reddiff.prior(tmp_path / "mine.safetensors")
    clean = 2 * texture(8, 48, 1, seed=7) - 1
    noise = drawn(clean, 9)
    for s in (0.6, 1.0):
        with torch.no_grad():
            error = float((prior(clean + s * noise, s) - clean).square().mean())
        assert error < wiener_error(2 * known - 1, clean, noise, s)

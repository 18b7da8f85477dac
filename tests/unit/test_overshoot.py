"""`training/overshoot.py`: the worst block and pixel of a denoiser's error."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny import save_tiny

TRAINING = Path(__file__).parents[2] / "training"


class Off:
    """A denoiser with a known error."""

    def __init__(self, truth, error):
        self.estimate = truth + error

    def __call__(self, x, sigma):
        assert not torch.equal(x, self.estimate)
        return self.estimate


def test_errors_are_those_of_the_worst_block_and_pixel(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    from overshoot import worst

    truth, error = torch.zeros(1, 3, 24, 32), torch.zeros(1, 3, 24, 32)
    error[:, :, 8:16, 16:24] = 0.3  # a block of 3 sigma
    error[0, 1, 0, 0] = -0.5  # a pixel of 5 sigma
    block, pixel = worst(Off(truth, error), truth, 0.1, seed=0)
    assert block == pytest.approx(3, rel=1e-5)
    assert pixel == pytest.approx(5, rel=1e-5)


def test_each_photo_is_denoised_with_a_seed_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TRAINING))
    from overshoot import main

    numbers = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        pixels = numbers.integers(0, 256, (40, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    weights = save_tiny(tmp_path / "tiny.safetensors")
    words = ["overshoot.py", str(tmp_path / "photos"), "--weights", str(weights), "--skip", "1"]
    monkeypatch.setattr(sys, "argv", words)
    main()
    text = capsys.readouterr().out
    assert "2 photos, a seed each" in text
    assert float(text.partition("worst block")[2].split()[0]) > 0

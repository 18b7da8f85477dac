"""The noise estimate on pictures with known noise."""

from __future__ import annotations

import pytest
import torch
from skimage import data

from reddiff.estimate import noise_level


def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[:256, 100:356] / 255.0).permute(2, 0, 1)[None]


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.2])
def test_close_on_a_photo(sigma):
    x = photo()
    y = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    # Texture counts as noise: never too low, and a grey level or a few percent too high.
    assert 0.97 * sigma < float(noise_level(y)) < 1.08 * sigma + 0.004


def test_flat_picture_has_none():
    assert float(noise_level(torch.full((1, 3, 16, 16), 0.5))) < 1e-6


def test_only_measured_pixels_count():
    x = photo()
    g = torch.Generator().manual_seed(0)
    y = x + 0.05 * torch.randn(x.shape, generator=g).double()
    known = torch.rand(1, 1, 256, 256, generator=g).expand_as(y) > 0.3
    junk = torch.where(known, y, 7.0)
    assert float(noise_level(junk, known)) == pytest.approx(0.05, rel=0.15)


def test_lanes_are_apart():
    x = photo().expand(2, -1, -1, -1)
    y = x + torch.tensor([0.02, 0.2])[:, None, None, None] * torch.randn_like(x)
    together = noise_level(y)
    assert torch.equal(together, torch.cat([noise_level(y[:1]), noise_level(y[1:])]))


def test_nothing_known_is_zero():
    y = torch.rand(1, 1, 8, 8)
    assert float(noise_level(y, torch.zeros_like(y, dtype=torch.bool))) == 0

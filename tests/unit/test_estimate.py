"""The estimated noise level of pictures with known noise."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from reddiff.images.noise_estimation import grain, noise_level
from reddiff.images.noise_in_jpeg import jpeg_noise

pytestmark = pytest.mark.usefixtures("untyped")


def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[:256, 100:356] / 255.0).permute(2, 0, 1)[None]


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.2])
def test_close_on_a_photo(sigma):
    x = photo()
    y = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    # Texture counts as noise: never too low, and a gray level or a few percent too high.
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


def levels(y: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """As a file of so many bits holds it."""
    top = 2**bits - 1
    return (y.clamp(0, 1) * top).round() / top


def framed(y: torch.Tensor, value: float) -> torch.Tensor:
    return torch.nn.functional.pad(y, (80, 80, 80, 80), value=value)


def zeroed(y: torch.Tensor) -> torch.Tensor:
    return torch.cat([y, torch.zeros(1, 3, 400, 256)], 2)


@pytest.mark.parametrize(
    "broken",
    [lambda y: framed(y, 1.0), lambda y: framed(y, 0.4), zeroed, lambda y: framed(zeroed(y), 1.0)],
    ids=["white frame", "gray frame", "zeroed", "both"],
)
def test_flat_areas_are_left_out(broken):
    x, g = photo().float(), torch.Generator().manual_seed(0)
    y = levels(x + 0.1 * torch.randn(x.shape, generator=g))
    assert float(noise_level(broken(y))) == pytest.approx(float(noise_level(y)), rel=0.03)
    clean = broken(levels(x))  # and what there is no noise in stays so
    assert float(noise_level(clean)) < 0.012


def test_a_drawing_has_no_noise():
    page = torch.ones(1, 3, 128, 128)
    for i in range(8, 120, 16):
        page[..., i : i + 2, 8:120] = 0.0
        page[..., 8:120, i] = 0.2
    assert float(noise_level(page)) < 1e-6
    assert float(noise_level(torch.linspace(0, 1, 128).expand(1, 3, 128, 128))) < 1e-3


@pytest.mark.parametrize(("dark", "sigma"), [(1.0, 0.1), (1.0, 0.2), (0.15, 0.05), (0.15, 0.1)])
def test_noise_cut_off_at_black_and_white_is_seen(dark, sigma):
    x, g = photo().float(), torch.Generator().manual_seed(0)
    y = levels(dark * x + sigma * torch.randn(x.shape, generator=g))
    assert 0.93 * sigma < float(noise_level(y)) < 1.15 * sigma


def test_grain_is_the_step_of_what_was_recorded():
    x, seen = torch.rand(3, 256, 256), torch.ones(3, 256, 256, dtype=torch.bool)
    for bits in (8, 10, 12, 16):
        top = 2**bits - 1
        levels_ = (x * top).round()
        assert grain(levels_ / top, seen) == pytest.approx(1 / top, rel=1e-2)
        if bits < 16:
            assert grain(levels_ / 65535, seen) == pytest.approx(1 / 65535, rel=1e-2)
    assert grain(torch.full_like(x, 0.5), seen) == 0


@pytest.mark.parametrize(("quality", "sigma"), [(75, 0.08), (90, 0.08), (50, 0.15), (95, 0.15)])
@pytest.mark.parametrize("gray", [False, True])
def test_noise_before_jpeg(quality, sigma, gray, measure):
    x = photo()[0].numpy().transpose(1, 2, 0)
    x = x.mean(2) if gray else x
    y = x + sigma * np.random.default_rng(0).standard_normal(x.shape)
    pixels = through_jpeg(y, quality)
    seen = torch.ones_like(pixels, dtype=torch.bool)
    found = jpeg_noise(pixels, seen, known=True)
    fine = float(noise_level(pixels[None]))
    measure(f"quality {quality}, sigma {sigma}: {found:.3f}; finest wavelets {fine:.3f}")
    assert 0.8 * sigma < found < 1.2 * sigma


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_clean_jpeg_files_show_no_plateau(quality):
    pixels = through_jpeg(photo()[0].numpy().transpose(1, 2, 0), quality)
    assert jpeg_noise(pixels, torch.ones_like(pixels, dtype=torch.bool), known=True) is None


def test_what_was_no_jpeg_is_left_alone():
    x = photo()[0].float()
    y = levels(x + 0.08 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    assert jpeg_noise(y, torch.ones_like(y, dtype=torch.bool), known=False) is None
    turned = through_jpeg(y.numpy().transpose(1, 2, 0)[:203, :171], 75).flip(1).transpose(1, 2)
    assert jpeg_noise(turned, torch.ones_like(turned, dtype=torch.bool), known=False) is not None


def through_jpeg(y: np.ndarray, quality: int) -> torch.Tensor:
    """The picture `(c, h, w)` that a JPEG file of this array in [0, 1] shows."""
    buffer = BytesIO()
    array = (y.clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    shown = np.asarray(Image.open(buffer)) / np.float32(255)
    return torch.from_numpy(shown.reshape(*shown.shape[:2], -1)).permute(2, 0, 1)

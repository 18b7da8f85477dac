from __future__ import annotations

import itertools
from importlib.resources import files

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from reddiff import InvalidArgument
from reddiff.metrics import LPIPS, psnr, ssim

PHOTOS = ("astronaut", "chelsea", "coffee")
# What the published code says of the three, blurred by 5x5 means, with its weights in float32.
OFFICIAL = (0.28094286, 0.36616975, 0.21262291)


def photos() -> torch.Tensor:
    """Three lanes, (3, 3, 256, 256), in [0, 1]."""
    folder = files("reddiff") / "assets" / "photos"
    arrays = [np.asarray(Image.open(str(folder / f"{name}.png")).convert("RGB")) for name in PHOTOS]
    return torch.from_numpy(np.stack(arrays)).movedim(-1, 1).double() / 255


def noisy(truth: torch.Tensor, sigma: float = 0.1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(truth.shape, dtype=torch.float64, generator=generator)
    return truth + (sigma * noise).to(truth.dtype)


LEARNED = LPIPS()
METRICS = [
    pytest.param(psnr, id="psnr"),
    pytest.param(ssim, id="ssim"),
    pytest.param(LEARNED, id="lpips"),
]


@pytest.fixture
def lpips() -> LPIPS:
    return LEARNED


def skimage_ssim(truth: torch.Tensor, x: torch.Tensor, data_range: float = 1.0) -> float:
    return structural_similarity(
        truth.numpy(),
        x.numpy(),
        data_range=data_range,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def test_psnr_and_ssim_are_those_of_scikit_image(measure):
    worst_psnr = worst_ssim = 0.0
    for data_range, sigma in itertools.product((1.0, 2.0, 255.0), (0.01, 0.1, 1.0)):
        truth = photos() * data_range
        x = noisy(truth, sigma * data_range)
        ours = psnr(x, truth, data_range), ssim(x, truth, data_range)
        for a, b, p, s in zip(truth, x, *ours, strict=True):
            theirs = peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=data_range)
            worst_psnr = max(worst_psnr, abs(float(p) - theirs))
            worst_ssim = max(worst_ssim, abs(float(s) - skimage_ssim(a, b, data_range)))
    measure(f"psnr off by {worst_psnr:.1e} dB, ssim by {worst_ssim:.1e} from scikit-image")
    assert worst_psnr < 1e-9
    assert worst_ssim < 1e-10


def test_ssim_of_flat_float32_pictures_is_that_of_float64():
    truth = 0.9 + 0.001 * noisy(torch.zeros(1, 1, 40, 40, dtype=torch.float64), 1.0)
    x = noisy(truth, 0.001, seed=1)
    expected = ssim(x, truth)
    torch.testing.assert_close(ssim(x.float(), truth.float()).double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_picture_is_like_itself(dtype, lpips):
    truth = photos().to(dtype)
    assert (psnr(truth, truth) == torch.inf).all()
    assert (ssim(truth, truth) - 1).abs().max() < 1e-6
    assert (lpips(truth, truth) == 0).all()
    assert psnr(truth, truth).dtype == ssim(truth, truth).dtype == dtype


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_symmetric(metric):
    truth = photos().float()
    x = noisy(truth).clamp(0, 1)
    torch.testing.assert_close(metric(x, truth), metric(truth, x))


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_of_each_lane_alone(metric):
    truth = photos()[:, :, :96, :80].float()
    x = noisy(truth)
    together = metric(x, truth)
    assert together.shape == (3,)
    alone = torch.cat([metric(x[i : i + 1], truth[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    x[1] = torch.nan
    spoilt = metric(x, truth)
    assert spoilt[1].isnan()
    torch.testing.assert_close(spoilt[[0, 2]], alone[[0, 2]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_worse_pictures_have_worse_numbers(metric):
    truth = photos().float()
    values = torch.stack([metric(noisy(truth, s), truth) for s in (0.02, 0.1, 0.3)])
    steps = values.diff(dim=0) if isinstance(metric, LPIPS) else -values.diff(dim=0)
    assert (steps > 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_no_lanes_are_no_numbers(metric):
    empty = torch.zeros(0, 3, 64, 64)
    assert metric(empty, empty).shape == (0,)


@given(h=st.integers(11, 150), w=st.integers(11, 40), c=st.integers(1, 4), seed=st.integers(0, 99))
def test_ssim_of_any_size(h, w, c, seed):
    generator = torch.Generator().manual_seed(seed)
    x, truth = torch.rand(2, 1, c, h, w, dtype=torch.float64, generator=generator)
    theirs = skimage_ssim(truth[0], x[0])
    assert abs(float(ssim(x, truth)) - theirs) < 1e-10


def test_lpips_of_gray_is_that_of_three_equal_channels(lpips):
    truth = photos()[:, :1, :64, :72].float()
    x = noisy(truth).clamp(0, 1)
    three = [v.expand(-1, 3, -1, -1) for v in (x, truth)]
    torch.testing.assert_close(lpips(x, truth), lpips(*three))


def test_lpips_is_that_of_the_published_code(lpips, measure):
    truth = photos().float()
    blurred = torch.nn.functional.avg_pool2d(truth, 5, 1, 2, count_include_pad=False)
    error = float((lpips(blurred, truth) - torch.tensor(OFFICIAL)).abs().max())
    measure(f"lpips: off by {error:.1e} from the published code, for the weights in float16")
    assert error < 1e-3


def test_lpips_has_a_gradient_for_the_picture_only(lpips):
    truth = photos()[:1, :, :64, :64].float()
    x = noisy(truth).requires_grad_()
    lpips(x, truth).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert x.grad.isfinite().all()
    assert not any(p.requires_grad for p in lpips.parameters())


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pixel_metrics_have_a_gradient(metric):
    truth = photos()[:1, :1, :14, :12]
    x = noisy(truth).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: metric(v, truth), x)


def test_nothing_given_is_written_to(lpips):
    truth, x = photos().float(), noisy(photos().float())
    kept = truth.clone(), x.clone()
    for metric in (psnr, ssim, lpips):
        metric(x, truth)
    assert torch.equal(truth, kept[0])
    assert torch.equal(x, kept[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x[0], x[0]), "x: expected pictures of shape"),
        (lambda x: (x, x[:, :, 1:]), "truth: expected the shape of x"),
        (lambda x: ((255 * x).byte(), x), "x: expected floating-point"),
        (lambda x: (x, x > 0.5), "truth: expected floating-point"),
        (lambda x: (x[:, :0], x[:, :0]), "x: expected pictures of shape"),
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_what_are_no_pictures_is_refused(metric, change, words):
    with pytest.raises(InvalidArgument, match=words):
        metric(*change(photos()[:1]))


@pytest.mark.parametrize("data_range", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_a_data_range_that_is_none_is_refused(metric, data_range):
    with pytest.raises(InvalidArgument, match="data_range: expected a positive"):
        metric(photos(), photos(), data_range)


def test_pictures_below_the_window_are_refused(lpips):
    small = torch.zeros(1, 3, 10, 50)
    with pytest.raises(InvalidArgument, match="at least 11x11 pixels, got 50x10"):
        ssim(small, small)
    with pytest.raises(InvalidArgument, match="at least 64x64 pixels, got 50x10"):
        lpips(small, small)


def test_lpips_says_which_range_it_wants(lpips):
    truth = photos().float()
    with pytest.raises(InvalidArgument, match=r"pixels in \[0, 1\], got -1 to"):
        lpips(truth, 2 * truth - 1)
    with pytest.raises(InvalidArgument, match=r"pixels in \[0, 1\], got 0 to 2"):
        lpips(truth, 255 * truth)
    with pytest.raises(InvalidArgument, match="1 or 3 channels, got 4"):
        lpips(torch.zeros(1, 4, 64, 64), torch.zeros(1, 4, 64, 64))

"""Gray pictures count as one measurement, whether in one channel or in three equal ones."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import reddiff
from reddiff import Gaussian, InvalidArgument, Problem, solve
from reddiff.images.gray import gray_spread, on_gray
from reddiff.images.masks import make_mask
from reddiff.images.tasks import OwnTask, make_task
from reddiff.metrics import psnr
from reddiff.operators import BlockMean, CircularBlur, Identity, gaussian_psf
from reddiff.operators.spectral import SpectralOperator
from reddiff.priors import FFDNetPrior, GaussianRandomField, GrayPrior, adapted, photo_prior

pytestmark = pytest.mark.usefixtures("untyped")

QUICK = {"steps": 3, "prior": "ffdnet"}
COLOR = data.astronaut()[20:84, 180:244]
PICTURES = {
    "coins": data.coins()[:64, :64],
    "camera": data.camera()[130:194, 210:274],
    "moon": data.moon()[200:264, 200:264],
    "page": data.page()[50:114, 50:114],
}


def noisy(name: str, sigma: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A gray picture `(1, h, w)` in [0, 1] and the same with noise, as a file has it."""
    truth = torch.from_numpy(PICTURES[name] / 255.0).float()[None]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
    return truth, (truth + sigma * noise).clamp(0, 1)


def equal(y: torch.Tensor) -> torch.Tensor:
    return y.expand(3, -1, -1).contiguous()


def db(out: torch.Tensor, truth: torch.Tensor) -> float:
    return float(psnr(out.mean(0, keepdim=True)[None], truth[None]))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_denoise_is_as_good_as_one_measurement(name, sigma, measure):
    """The color prior on three equal channels, at the level that one measurement has in it."""
    truth, y = noisy(name, sigma)
    problem = Problem(2 * equal(y)[None] - 1, Identity(), Gaussian(2 * math.sqrt(3) * sigma))
    prior = photo_prior()
    solver = reddiff.solvers.NoiseAwareREDDiff.for_prior(prior, 1)
    once = db((solve(problem, prior, solver).x[0] + 1) / 2, truth)
    out = reddiff.restore(equal(y), task="denoise", noise=sigma, steps=1)
    assert out.pixels.shape == (3, 64, 64)
    found = db(out.pixels, truth)
    measure(f"{name}, sigma {sigma}: {found:.2f} dB, one measurement {once:.2f}")
    assert found > once - 0.1
    assert 0.5 < out.residual_ratio < 1.2
    assert not any("wrong" in note or "fits" in note for note in out.notes)


@pytest.mark.parametrize(
    "parameters",
    [
        {"task": "denoise"},
        {"task": "inpaint", "mask": torch.rand(1, 64, 64).gt(0.4).float()},
        {"task": "sr", "scale": 2},
        {"task": "sr:bicubic", "scale": 2},
        {"task": "deblur", "kernel": "gaussian:1.5"},
        {"task": "hdr"},
        {"task": "quantize:6"},
        {"task": "jpeg:30"},
    ],
    ids=lambda p: p["task"],
)
def test_three_equal_channels_are_one(parameters):
    """Every task: the same pixels from the gray file as from the RGB file of it."""
    truth, _ = noisy("camera", 0.0)
    y = reddiff.degrade(truth, **parameters, noise=0.05).pixels
    one = reddiff.restore(y, **parameters, noise=0.05, **QUICK)
    three = reddiff.restore(equal(y), **parameters, noise=0.05, **QUICK)
    assert one.pixels.shape == truth.shape
    assert three.pixels.shape == (3, 64, 64)
    assert three.pixels.std(0).max() == 0
    assert torch.equal(three.pixels[:1], one.pixels)
    assert one.residual_ratio == three.residual_ratio
    assert any("restored as gray" in note for note in three.notes)
    assert not any("restored as gray" in note for note in one.notes)


@pytest.mark.parametrize("task", ["denoise", "jpeg:60"])
def test_gray_arrays_images_and_tensors_alike(task):
    y = PICTURES["coins"]
    three = np.repeat(y[..., None], 3, 2)
    forms = [y, y[..., None], Image.fromarray(y), three, Image.fromarray(three)]
    forms.append(torch.from_numpy(three / 255.0).permute(2, 0, 1))
    outs = [reddiff.restore(f, task=task, noise=0.05, **QUICK).pixels for f in forms]
    for out in outs[1:]:
        torch.testing.assert_close(out[:1], outs[0], atol=1e-3, rtol=0)
    assert [len(out) for out in outs] == [1, 1, 1, 3, 3, 3]


def test_the_estimate_and_the_run_know_the_noise_of_gray():
    _, y = noisy("camera", 0.08)
    for file in (y, equal(y)):
        out = reddiff.restore(file, task="denoise", steps=1)
        assert out.noise == pytest.approx(0.08, rel=0.15)
    sparse = make_mask("random:0.85", (64, 64))
    _, y = noisy("coins", 0.08)
    out = reddiff.restore(equal(y), task="inpaint", mask=sparse, steps=20)
    assert out.estimated
    assert 0.04 < out.noise < 0.16


@pytest.mark.parametrize("quality", [75, 95])
def test_nearly_equal_channels_are_gray(quality):
    """A faint cast of two levels, through a JPEG file with chroma."""
    y = PICTURES["camera"][..., None].astype(int) + np.array([1, 0, -1])
    buffer = BytesIO()
    Image.fromarray(y.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    out = reddiff.restore(Image.open(buffer), task="denoise", noise=0.05, steps=1)
    assert any("restored as gray" in note for note in out.notes)
    assert out.pixels.shape == (3, 64, 64)


def test_what_is_no_gray():
    seen = torch.ones(3, 64, 64, dtype=torch.bool)
    color = torch.from_numpy(COLOR / 255.0).permute(2, 0, 1).float()
    assert gray_spread(color, seen) is None
    assert gray_spread(color[:1], seen[:1]) is None
    gray = equal(color.mean(0, keepdim=True))
    assert gray_spread(gray, seen) is not None
    g = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(gray.shape, generator=g)
    assert gray_spread(gray + noise, seen) is None  # three of each
    sepia = gray * torch.tensor([1.0, 0.95, 0.82])[:, None, None]
    assert gray_spread(sepia, seen) is None
    spot = gray.clone()
    spot[0, 10:12, 10:12] += 0.2  # one small thing in color
    assert gray_spread(spot, seen) is None
    elsewhere = (spot == gray).all(0).expand(3, -1, -1)
    assert gray_spread(spot, elsewhere) is not None
    assert gray_spread(gray, torch.zeros_like(seen)) is None


def test_color_under_a_mask_or_a_clear_alpha_does_not_count():
    _, y = noisy("coins", 0.05)
    y = equal(y)
    y[0, 20:40, 20:40] = 1.0
    kept = torch.ones(1, 64, 64)
    kept[:, 20:40, 20:40] = 0
    out = reddiff.restore(y, task="inpaint", mask=kept, noise=0.05, **QUICK)
    assert any("restored as gray" in note for note in out.notes)
    out = reddiff.restore(torch.cat([y, kept]), task="denoise", noise=0.05, steps=1)
    assert any("restored as gray" in note for note in out.notes)
    assert out.picture.alpha is not None


def test_color_stays_as_it_was():
    """A color picture sees the prior itself, at its own levels."""
    y = torch.from_numpy(COLOR / 255.0).permute(2, 0, 1).float()
    problem = Problem(2 * y[None] - 1, Identity(), Gaussian(0.2))
    solver = reddiff.solvers.NoiseAwareREDDiff.for_prior(photo_prior(), 1)
    wanted = (solve(problem, photo_prior(), solver).x[0] + 1) / 2
    out = reddiff.restore(y, task="denoise", noise=0.1, steps=1)
    assert torch.equal(out.pixels, wanted.clamp(0, 1))


def test_colorize_keeps_its_meaning():
    _, y = noisy("camera", 0.02)
    for file in (y, equal(y)):
        out = reddiff.restore(file, task="colorize", noise=0.02, **QUICK)
        assert out.pixels.shape == (3, 64, 64)
        assert out.pixels.std(0).max() > 0
        assert not any("restored as gray" in note for note in out.notes)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (lambda x: 0.5 * x, "itself"),
        (lambda x: x * torch.tensor([0.5, 0.7, 0.9])[:, None, None], "through"),
        (lambda x: torch.einsum("ij,bjhw->bihw", torch.eye(3) / 2 + 1 / 6, x), "through"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1), "color"),
    ],
    ids=["per channel", "a filter", "mixes channels", "leaves no color"],
)
def test_own_operators_on_gray(model, kind):
    operator = reddiff.operator(model, x_shape=lambda y: y, example=torch.rand(2, 3, 16, 16))
    y = torch.rand(1, 16, 16)
    found = on_gray(operator, y)
    assert (found is operator) == (kind == "itself")
    shape = found.x_shape(tuple(y.shape))
    assert shape[0] == (3 if kind == "color" else 1)
    x = torch.rand(2, *shape)
    three = x.expand(-1, 3, -1, -1)
    torch.testing.assert_close(found(x), model(three).mean(1, keepdim=True))


def test_own_tasks_on_gray_files():
    truth, _ = noisy("camera", 0.0)
    kernel = gaussian_psf(1.0).float()
    for model in (CircularBlur(kernel), BlockMean(2)):
        y = OwnTask(model).degrade(truth)
        y = y + 0.05 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
        y = y.clamp(0, 1)
        for file in (y, equal(y)):
            out = reddiff.restore(file, task=OwnTask(model), noise=0.05, steps=20)
            assert len(out.pixels) == len(file)
            assert 0.8 < out.residual_ratio < 1.15
    # what makes gray of color: the colors are to be found, whatever holds the measurement
    y = torch.rand(1, 32, 32)
    luma = OwnTask(reddiff.operators.grayscale())
    assert reddiff.restore(y, task=luma, noise=0.05, **QUICK).pixels.shape == (3, 32, 32)


def test_closed_forms_are_kept():
    _, y = noisy("coins", 0.0)
    for text, parameters in (("denoise", {}), ("sr", {"scale": 2}), ("jpeg:20", {})):
        task = make_task(text, **parameters)
        assert isinstance(task.problem(y).operator, SpectralOperator)


def test_the_noise_of_luma_is_that_of_gray():
    """Beside rounding, noise is as much in a coefficient of luma as in a gray pixel."""
    task = make_task("jpeg:50")
    noise = 0.02 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    clean, noisy = task.problem(noise[0]), task.problem(noise[0], 0.02)
    coefficients = clean.operator(2 * noise)
    finest = (task.codec.tables[0] == task.codec.tables[0].min()).flatten()
    level = math.sqrt(float(noisy.noise.sigma) ** 2 - float(clean.noise.sigma) ** 2)
    assert level == pytest.approx(float(coefficients[..., finest].std()), rel=0.1)


def test_gray_prior_is_exact_for_a_gaussian():
    """Channels alike and independent: their mean is a field of a third of the variance."""
    color, level = GaussianRandomField(-2.0, channels=3), torch.full((2, 1, 1, 1), 0.3)
    v = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = GaussianRandomField(-2.0).denoise(v, math.sqrt(3) * level.double())
    torch.testing.assert_close(GrayPrior(color).denoise(v, level.double()), alone)


def test_gray_prior_levels():
    gray = GrayPrior(photo_prior())
    assert gray.shape == (1, None, None)
    assert gray.sigma_min == pytest.approx(0.002 / math.sqrt(3))
    assert gray.sigma_max == 80
    assert GrayPrior(FFDNetPrior()).sigma_max == pytest.approx(200 / 255 / math.sqrt(3))
    high = gray(80 * torch.randn(1, 1, 32, 32), 80.0)
    assert high.abs().max() < 1.2  # finite and dull at the highest level too
    with pytest.raises(InvalidArgument, match="prior"):
        GrayPrior(GaussianRandomField(channels=1))
    one = GaussianRandomField(channels=1)
    assert adapted(one, (1, 8, 8)) is one
    assert adapted(photo_prior(), (3, 8, 8)).shape == (3, None, None)


@pytest.mark.parametrize("solver", ["paper", "dps", "ddrm", "pnp-admm", "diffpir", "red"])
def test_other_solvers_take_gray(solver):
    _, y = noisy("coins", 0.05)
    out = reddiff.restore(y[:, :32, :32], task="denoise", noise=0.05, solver=solver, **QUICK)
    assert out.pixels.shape == (1, 32, 32)
    assert torch.isfinite(out.pixels).all()

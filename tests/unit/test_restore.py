"""`restore` and `degrade` on arrays: units, gray, alpha, noise, devices and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import reddiff
from reddiff import Gaussian, InvalidArgument, UnknownGaussian
from reddiff.images.masks import make_mask
from reddiff.images.presets import default_steps
from reddiff.metrics import psnr
from reddiff.priors import FFDNetPrior, Prior, photo_prior
from reddiff.solvers import NoiseAwareREDDiff
from reddiff.solvers.catalogue import METHODS

pytestmark = pytest.mark.usefixtures("untyped")

QUICK = {"steps": 4, "prior": "ffdnet"}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.astronaut()[20:84, 180:244]


@pytest.fixture(scope="module")
def prior() -> Prior:
    return photo_prior()


@pytest.fixture(scope="module")
def mask() -> torch.Tensor:
    return make_mask("random:0.4", (64, 64))


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image / 255.0).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    ("parameters", "noise", "gain"),
    [
        ({"task": "denoise"}, 0.1, 5.0),
        ({"task": "inpaint", "mask": "mask"}, 0.02, 8.0),
        ({"task": "sr", "scale": 2}, 0.02, None),
        ({"task": "deblur", "kernel": "gaussian:1.2"}, 0.01, 0.5),
    ],
    ids=lambda v: v["task"] if isinstance(v, dict) else "",
)
def test_every_task_improves_a_photo(photo, mask, parameters, noise, gain):
    parameters = {k: mask if v == "mask" else v for k, v in parameters.items()}
    truth = tensor(photo)
    y = reddiff.degrade(photo, **parameters, noise=noise)
    faithful = 0.5 if gain is None else None  # the default trades a little PSNR for sharpness
    out = reddiff.restore(y, **parameters, noise=noise, steps=20, realism=faithful)
    assert out.pixels.shape == truth.shape
    assert 0.5 < out.residual_ratio < 1.5
    restored = float(psnr(out.pixels[None], truth[None]))
    if gain is None:
        naive = torch.nn.functional.interpolate(y.pixels[None], scale_factor=2, mode="bicubic")
        gain = 0.1
    else:
        naive = y.pixels[None]
    assert restored > float(psnr(naive.clamp(0, 1), truth[None])) + gain


@pytest.mark.parametrize(
    ("task", "noise", "gain"),
    [
        ("hdr", 0.01, 6.0),
        ("quantize:4", None, 3.0),
        ("quantize:20", None, 1.0),
        ("jpeg:10", None, 0.2),
    ],
)
def test_what_sensors_and_coders_did_is_made_better(photo, task, noise, gain, measure):
    y = reddiff.degrade(photo, task=task, noise=noise or 0.0)
    out = reddiff.restore(y, task=task, noise=noise, steps=20)
    truth = tensor(photo)[None]
    before, after = (float(psnr(p.pixels[None], truth)) for p in (y, out))
    measure(f"{task}: {before:.2f} to {after:.2f} dB")
    assert after > before + gain
    assert out.residual_ratio < 1.2
    assert not any("converged" in note or "noise level may be" in note for note in out.notes)
    assert any("Assumed no noise" in note for note in out.notes) == (noise is None)


def test_a_picture_cut_off_everywhere_has_the_noise_taken_as_said(photo):
    y = reddiff.degrade((photo > 128).astype(np.uint8) * 255, task="hdr")
    out = reddiff.restore(y, task="hdr", **QUICK)
    assert out.noise == 0.01
    assert any("No noise level could be estimated" in note for note in out.notes)


@pytest.mark.parametrize("gray", [False, True])
def test_a_jpeg_of_odd_sizes_keeps_them(photo, gray):
    image = photo[:37, :51].mean(2).astype(np.uint8) if gray else photo[:37, :51]
    out = reddiff.restore(image, task="jpeg:20", **QUICK)
    assert out.pixels.shape == (1 if gray else 3, 37, 51)


def test_colorize_keeps_the_luma(photo):
    y = reddiff.degrade(photo, task="colorize")
    assert y.pixels.shape[0] == 1
    out = reddiff.restore(y, task="colorize", noise=0.01, steps=10)
    luma = reddiff.degrade(out.picture, task="colorize").pixels
    assert float(psnr(luma[None], y.pixels[None])) > 30


@pytest.mark.parametrize("solver", METHODS)
def test_every_solver_of_the_catalogue_runs(photo, prior, solver):
    settings = {"steps": 2, "prior": prior, "solver": solver}
    out = reddiff.restore(photo[:24, :24], task="denoise", noise=0.05, **settings)
    assert out.reconstruction.cost.evaluations == (2 * METHODS[solver].cost.evaluations,)


def test_same_door_for_arrays_images_and_tensors(photo):
    forms = [photo, Image.fromarray(photo), tensor(photo)]
    results = [reddiff.restore(f, task="denoise", noise=0.05, **QUICK).pixels for f in forms]
    assert torch.equal(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_gray_stays_gray_and_alpha_is_kept(photo):
    gray = photo.mean(2).astype(np.uint8)
    out = reddiff.restore(gray, task="denoise", noise=0.05, **QUICK)
    assert out.pixels.shape == (1, 64, 64)
    alpha = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64, 1)
    rgba = np.concatenate([photo, alpha], 2)
    out = reddiff.restore(rgba, task="denoise", noise=0.05, **QUICK)
    assert np.array_equal(out.picture.to_numpy()[..., 3:], alpha)
    out = reddiff.restore(rgba, task="sr", scale=2, noise=0.05, **QUICK)
    assert out.picture.to_numpy().shape == (128, 128, 4)


def test_noise_is_estimated_and_said(photo):
    y = reddiff.degrade(photo, task="denoise", noise=0.1)
    out = reddiff.restore(y, task="denoise", **QUICK)
    assert out.estimated
    assert 0.09 < out.noise < 0.13
    assert any("estimated" in note for note in out.notes)


def test_the_noise_is_that_of_what_is_neither_flat_nor_transparent(photo):
    y = reddiff.degrade(photo, task="denoise", noise=0.1).to_numpy(8)
    around = ((np.mgrid[:64, :64] - 32) ** 2).sum(0) < 20**2
    cutout = np.dstack([y * around[..., None], around * np.uint8(255)])
    framed = np.pad(y, ((40, 40), (40, 40), (0, 0)), constant_values=255)
    for image in (cutout, framed):
        out = reddiff.restore(image, task="denoise", steps=1)
        assert 0.08 < out.noise < 0.13
    assert any("without the" in note for note in out.notes)


def test_a_picture_without_noise_says_so():
    flat = np.full((64, 64, 3), [90, 120, 30], np.uint8)
    out = reddiff.restore(flat, task="denoise")
    assert out.noise == 0.002
    assert any("No noise could be estimated" in note and "100%" in note for note in out.notes)


def test_ten_bits_in_a_file_of_sixteen_are_not_smoothed(photo):
    """Half a level of 8 bits is 128 of the steps that were recorded here."""
    dim = photo.astype(float) * 4 + np.random.default_rng(0).normal(0, 4, photo.shape)
    out = reddiff.restore(dim.round().clip(0, 1023).astype(np.uint16), task="denoise")
    assert out.noise < 0.0004


def test_denoising_at_a_known_level_takes_one_evaluation(photo):
    y = reddiff.degrade(photo, task="denoise", noise=0.1)
    one = reddiff.restore(y, task="denoise", noise=0.1)
    assert one.reconstruction.cost.evaluations == (1,)
    many = reddiff.restore(y, task="denoise", noise=0.1, steps=5)
    assert many.reconstruction.cost.evaluations == (5,)
    assert torch.equal(one.pixels, many.pixels)
    assert one.residual_ratio == many.residual_ratio
    assert reddiff.restore(y, task="denoise").reconstruction.cost.evaluations == (1,)


def test_draws_and_other_tasks_take_all_their_steps():
    problem = reddiff.Problem(torch.zeros(1, 3, 8, 8), reddiff.operators.Identity(), Gaussian(0.1))
    unknown = reddiff.Problem(problem.y, problem.operator, UnknownGaussian())
    assert default_steps("noise-aware", "denoise", problem, None) == 1
    assert default_steps("noise-aware", "denoise", problem, 0.75) == 1
    assert default_steps("noise-aware", "denoise", problem, 1.0) == 50
    assert default_steps("noise-aware", "denoise", unknown, None) == 50
    assert default_steps("noise-aware", "inpaint", problem, None) == 50
    assert default_steps("paper", "denoise", problem, None) == 100


def test_a_wrong_noise_level_is_said_in_pixel_units(photo):
    settings = {"task": "deblur", "kernel": "gaussian:1.6", "steps": 20}
    y = reddiff.degrade(photo, **{k: settings[k] for k in ("task", "kernel")}, noise=0.09)
    out = reddiff.restore(y, **settings, noise=0.03)
    (finding,) = out.reconstruction.findings
    assert finding.levels == pytest.approx((0.18, 0.06), rel=0.15)
    (note,) = [n for n in out.notes if "noise level may be too low" in n]
    words = finding.words(0.5)
    assert note == f"{words[0].upper()}{words[1:]}."
    assert "0.03 was given" in note
    assert out.residual_ratio > 2


def test_more_noise_than_picture_is_said(photo):
    flat = np.full((64, 64, 3), 120, np.uint8)
    out = reddiff.restore(flat, task="denoise", noise=0.1, **QUICK)
    assert any("larger than the standard deviation" in note for note in out.notes)
    out = reddiff.restore(photo, task="denoise", noise=0.1, **QUICK)
    assert not any("larger than" in note for note in out.notes)


@pytest.mark.parametrize(
    "parameters",
    [
        {"task": "inpaint", "mask": "mask"},
        {"task": "sr", "scale": 2},
        {"task": "deblur", "kernel": "gaussian:1.2"},
        {"task": "colorize"},
    ],
    ids=lambda p: p["task"],
)
def test_no_noise_at_all(photo, mask, parameters):
    parameters = {k: mask if v == "mask" else v for k, v in parameters.items()}
    y = reddiff.degrade(photo, **parameters)
    out = reddiff.restore(y, **parameters, noise=0, **QUICK)
    assert torch.isfinite(out.pixels).all()
    assert out.residual_ratio == float("inf")
    assert any("determined by the prior" in note for note in out.notes)
    again = reddiff.degrade(out.picture, **parameters).pixels
    assert float(psnr(again[None], y.pixels[None])) > 25


def test_noise_that_the_picture_cannot_show_is_found_in_the_run(photo):
    sparse = make_mask("random:0.97", (64, 64))
    y = reddiff.degrade(photo, task="inpaint", mask=sparse, noise=0.1)
    out = reddiff.restore(y, task="inpaint", mask=sparse, steps=20)
    assert out.estimated
    assert 0.05 < out.noise < 0.2
    assert any("estimated during the run" in note for note in out.notes)
    with pytest.raises(InvalidArgument, match=r"noise: expected a level \(--noise\).* got none"):
        reddiff.restore(y, task="inpaint", mask=sparse, solver="paper", **QUICK)


def test_realism_is_for_the_noise_aware_solver(photo):
    runs = [
        reddiff.restore(photo, task="denoise", noise=0.1, realism=r, **QUICK) for r in (0.5, 1.0)
    ]
    assert not torch.equal(runs[0].pixels, runs[1].pixels)
    for solver, realism in (("paper", 0.5), ("noise-aware", 2.0)):
        with pytest.raises(InvalidArgument, match="realism"):
            reddiff.restore(photo, task="denoise", solver=solver, realism=realism, **QUICK)


def test_a_run_that_diverged_is_said(photo):
    class Broken(FFDNetPrior):
        def denoise(self, x, sigma):
            return super().denoise(x, sigma) * torch.nan

    out = reddiff.restore(photo, task="denoise", noise=0.1, steps=4, prior=Broken())
    assert any(note.startswith("Diverged at step 0") for note in out.notes)
    assert np.isnan(out.residual_ratio)


def test_odd_sizes(photo):
    out = reddiff.restore(photo[:37, :51], task="denoise", noise=0.05, **QUICK)
    assert out.pixels.shape == (3, 37, 51)


def test_unnormalized_kernel_is_said(photo):
    kernel = torch.full((3, 3), 1.0)
    out = reddiff.restore(photo, task="deblur", kernel=kernel, noise=0.05, **QUICK)
    assert any("summed to 9" in note for note in out.notes)


def test_seed_decides_the_pixels(photo, mask):
    runs = [
        reddiff.restore(photo, task="inpaint", mask=mask, noise=0.05, seed=s, **QUICK).pixels
        for s in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_preview_sees_every_step(photo):
    seen = []
    reddiff.restore(
        photo, task="denoise", noise=0.05, preview=lambda k, x: seen.append((k, x.shape)), **QUICK
    )
    assert seen == [(k, (3, 64, 64)) for k in range(1, 5)]


def test_tiles_leave_no_seam(photo):
    image = np.asarray(Image.fromarray(data.coffee()).resize((240, 160)))
    y = reddiff.degrade(image, task="denoise", noise=0.1)
    whole = reddiff.restore(y, task="denoise", noise=0.1, tile=512, **QUICK).pixels
    tiled = reddiff.restore(y, task="denoise", noise=0.1, tile=96, **QUICK).pixels
    assert (whole - tiled).abs().max() < 0.1
    assert (whole - tiled).square().mean().sqrt() < 0.005


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "sharpen"}, "task"),
        ({"noise": -0.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"solver": "magic"}, "solver.*noise-aware"),
        ({"prior": "magic"}, "prior.*photo"),
        ({"device": "nowhere"}, "device"),
        ({"steps": 0}, "steps"),
        ({"solver": NoiseAwareREDDiff.default(), "steps": 5}, "steps"),
    ],
)
def test_bad_arguments_are_named(photo, change, words):
    arguments = {"task": "denoise", "noise": 0.05, **change}
    with pytest.raises(InvalidArgument, match=words):
        reddiff.restore(photo, **arguments)

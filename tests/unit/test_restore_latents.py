"""`restore` with priors of latents."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from test_latent import pair
from torch import Tensor
from torch.nn.functional import interpolate

import commands
import reddiff
from reddiff import InvalidArgument, Unsupported
from reddiff.operators import Decoder
from reddiff.priors import GaussianPrior, LatentPrior
from reddiff.schedules import geometric
from reddiff.solvers import PnPADMM
from stand_ins import DDPM, DIFFUSERS

pytestmark = pytest.mark.usefixtures("untyped")


def white(*shape: int) -> GaussianPrior:
    """A prior of independent latents."""
    return GaussianPrior(torch.zeros(shape), 0.3 * torch.eye(int(np.prod(shape))))


def colors(z: Tensor) -> Tensor:
    """1 x h x w to color pictures of twice the sides."""
    big = interpolate(z, scale_factor=2.0)
    return torch.cat([big, 0.5 * big, 0.2 - big], 1)


def picture(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 0.5 + 0.2 * np.clip(rng.standard_normal(shape), -2, 2)


def test_an_orthonormal_decoder_restores_as_the_pixels_do() -> None:
    pixels, prior, x = pair()
    image = ((x[0] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
    solver = PnPADMM(geometric(4, 0.1, 1.0))
    settings = {"task": "denoise", "noise": 0.05, "solver": solver}
    wanted = reddiff.restore(image, prior=pixels.float(), **settings)
    got = reddiff.restore(image, prior=prior.float(), **settings)
    torch.testing.assert_close(got.pixels, wanted.pixels, rtol=0, atol=1e-3)
    run = got.reconstruction
    assert tuple(run.x.shape) == (1, 4, 3, 3)
    assert run.cost.decodings[0] > run.cost.evaluations[0]


def test_gray_pictures_are_the_mean_of_what_a_color_decoder_makes() -> None:
    """D(z) has the mean (z / 2 + 0.2) / 3: y of this mean 0.1 is that of z = 0.2."""
    seen = []
    prior = LatentPrior(white(1, 4, 4), Decoder(colors, channels=1, factor=2))
    image = np.full((8, 8), (1 + 0.1) / 2)
    solver = PnPADMM(geometric(4, 0.1, 1.0))
    settings = {"task": "denoise", "noise": 0.001, "solver": solver}
    result = reddiff.restore(
        image, prior=prior, preview=lambda k, x: seen.append((k, x.shape)), **settings
    )
    assert tuple(result.pixels.shape) == (1, 8, 8)
    assert float((result.pixels - 0.55).abs().max()) < 0.01
    assert float((result.reconstruction.x - 0.2).abs().max()) < 0.05
    assert seen[-1] == (4, (1, 8, 8))


def test_the_default_takes_all_its_steps_in_latents() -> None:
    prior = LatentPrior(white(1, 4, 4), Decoder(colors, channels=1, factor=2))
    result = reddiff.restore(picture(8, 8, 3), task="denoise", noise=0.1, prior=prior)
    assert result.reconstruction.cost.evaluations[0] > 40


@pytest.mark.parametrize(
    ("shape", "solver", "message"),
    [
        ((9, 8, 3), "red-diff", "multiples of 2, for the decoder, got 9 x 8"),
        ((12, 8, 3), "red-diff", r"latents are of shape \(1, 4, 4\).*got latents of \(1, 6, 4\)"),
        ((8, 8, 3), "ddnm", "DDNM: expected operator of type LinearOperator"),
    ],
)
def test_what_latents_cannot_do_is_refused(
    shape: tuple[int, ...], solver: str, message: str
) -> None:
    prior = LatentPrior(white(1, 4, 4), Decoder(colors, channels=1, factor=2))
    with pytest.raises((InvalidArgument, Unsupported), match=message):
        reddiff.restore(picture(*shape), task="denoise", noise=0.1, prior=prior, solver=solver)


def test_draws_are_refused() -> None:
    prior = LatentPrior(white(1, 4, 4), Decoder(colors, channels=1, factor=2))
    with pytest.raises(InvalidArgument, match="draws: expected none with a prior of latents"):
        reddiff.restore(picture(8, 8, 3), task="denoise", noise=0.1, prior=prior, draws=4)


def test_a_decoder_of_other_pictures_is_refused() -> None:
    two = Decoder(lambda z: interpolate(z, scale_factor=2.0), channels=2, factor=2)
    prior = LatentPrior(white(2, 4, 4), two)
    with pytest.raises(InvalidArgument, match=r"shape \(2, 8, 8\), as the decoder makes"):
        reddiff.restore(picture(8, 8, 3), task="denoise", noise=0.1, prior=prior)


def test_the_command_restores_in_the_latents_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has the decodings, and gives the same picture again."""
    monkeypatch.setitem(sys.modules, "diffusers", DIFFUSERS)
    for name, entries in {
        "model_index.json": {
            "unet": ["diffusers", "UNet2DModel"],
            "vae": ["diffusers", "AutoencoderTiny"],
            "scheduler": ["diffusers", "DDPMScheduler"],
        },
        "unet/config.json": {"_class_name": "UNet2DModel"},
        "unet/model.safetensors": {},
        "vae/config.json": {"_class_name": "AutoencoderTiny"},
        "vae/model.safetensors": {},
        "scheduler/scheduler_config.json": DDPM,
    }.items():
        path = tmp_path / "ldm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entries))
    image = (255 * picture(16, 16, 3)).astype(np.uint8)
    PIL.Image.fromarray(image).save(tmp_path / "in.png")
    words = ("--task", "denoise", "--noise", "0.1", "--solver", "red-diff", "--steps", "4")
    out = tmp_path / "out.png"
    text = commands.run(
        "restore", tmp_path / "in.png", "-o", out, *words, "--prior", tmp_path / "ldm"
    )
    assert "4 evaluations and 5 decodings in" in text
    record = json.loads(Path(f"{out}.json").read_text())
    assert (record["cost"]["decodings"], record["cost"]["decoder_vjps"]) == (5, 4)
    commands.run("replay", f"{out}.json", "-o", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()

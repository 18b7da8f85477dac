"""Networks, pipelines and folders as `reddiff.prior` takes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import diffusers
import reddiff
from conftest import autoencoder_kl, autoencoder_tiny, unet, unet_of_text, vq_model
from reddiff import Gaussian, InvalidArgument, Problem, WeightsError
from reddiff.operators import BlockMean
from reddiff.priors import LatentPrior, Prior
from reddiff.solvers import DPS, NoiseAwareREDDiff


def x_of(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A DDPM pipeline."""
    pipeline = diffusers.DDPMPipeline(unet().float(), diffusers.DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "ddpm")
    return tmp_path / "ddpm"


def test_a_pipeline_and_its_folder(folder: Path) -> None:
    pipeline = diffusers.DDPMPipeline.from_pretrained(folder, use_safetensors=True)
    wanted, x = reddiff.prior(pipeline), x_of(2, 3, 18, 15).float()
    assert wanted.shape == (3, None, None)
    assert wanted.values == (-1, 1)
    for source in (folder, str(folder), folder / "unet"):
        torch.testing.assert_close(reddiff.prior(source)(x, 1.0), wanted(x, 1.0))


def test_a_network_without_a_scheduler_beside_it(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.move(folder / "unet", alone)
    with pytest.raises(InvalidArgument, match=r"^schedule: expected a scheduler of diffusers"):
        reddiff.prior(alone)
    x = x_of(1, 3, 16, 16).float()
    wanted = reddiff.prior(alone, schedule=diffusers.DDPMScheduler())(x, 1.0)
    assert torch.equal(reddiff.prior(alone, schedule=folder / "scheduler")(x, 1.0), wanted)
    linear = reddiff.prior(alone, prediction="eps", schedule="linear")
    torch.testing.assert_close(linear(x, 1.0), wanted)
    declared = reddiff.prior(alone, prediction="v", schedule=folder / "scheduler")
    assert not torch.allclose(declared(x, 1.0), wanted, rtol=0.1)


def test_the_fixed_size_of_a_unet_is_no_limit(folder: Path) -> None:
    prior = reddiff.prior(folder)
    truth = x_of(2, 3, 20, 14).float().clamp(-1, 1)
    problem = Problem.simulate(truth, BlockMean(2), Gaussian(0.1))
    result = reddiff.solve(problem, prior, NoiseAwareREDDiff.for_prior(prior, 3))
    assert result.x.shape == truth.shape
    assert torch.isfinite(result.x).all()
    assert result.cost.evaluations == (3, 3)


def test_pickles_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(
        WeightsError, match=r"\.safetensors, got diffusion_pytorch_model\.bin; "
    ) as e:
        reddiff.prior(folder)
    assert "use_safetensors=False).save_pretrained(F)" in str(e.value)
    assert "\n" not in str(e.value)


def test_damaged_folders(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="unet"):
        reddiff.prior(folder)
    (folder / "unet" / "config.json").write_text('{"_class_name": "StableCascadeUNet"}')
    with pytest.raises(WeightsError, match=r"expected one of UNet2DModel, .* got StableCascade"):
        reddiff.prior(folder)
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(WeightsError, match="expected a JSON object, got a list"):
        reddiff.prior(folder)
    (folder / "model_index.json").write_text('{"scheduler": ["diffusers", "DDPMScheduler"]}')
    with pytest.raises(InvalidArgument, match=r"expected a pipeline with a U-Net, got .*scheduler"):
        reddiff.prior(folder)


def test_labels() -> None:
    net = unet(num_class_embeds=5)
    prior = reddiff.prior(net, schedule=diffusers.DDPMScheduler())
    x, labels = x_of(2, 3, 16, 16), torch.tensor([3, 0])
    with pytest.raises(InvalidArgument, match=r"^prior: expected prior\.given"):
        prior(x, 1.0)
    got, t = prior.given(label=labels)(x, 1.0), prior.path.time(torch.ones(2).double())
    torch.testing.assert_close(got, x - net(x / 2**0.5, t, labels).sample)
    with pytest.raises(InvalidArgument, match=r"^label: expected integers from 0 to 4"):
        prior.given(label=5)
    with pytest.raises(InvalidArgument, match=r"^guidance: expected 1"):
        prior.given(label=1, guidance=2.0)
    guided = reddiff.prior(net, schedule=diffusers.DDPMScheduler(), null=4)
    some, none = (prior.given(label=label)(x, 1.0) for label in (1, 4))
    wanted = none + 2 * (some - none)
    torch.testing.assert_close(guided.given(label=1, guidance=2.0)(x, 1.0), wanted)


def test_embeddings() -> None:
    net, scheduler = unet_of_text(), diffusers.DDIMScheduler(prediction_type="v_prediction")
    prior = reddiff.prior(net, schedule=scheduler)
    x, words = x_of(2, 4, 8, 8), x_of(7, 12)
    got, t = prior.given(embedding=words)(x, 1.0), prior.path.time(torch.ones(2).double())
    v = net(x / 2**0.5, t, words.expand(2, 7, 12)).sample
    torch.testing.assert_close(got, x / 2 - v / 2**0.5)


def test_networks_of_other_inputs() -> None:
    scheduler = diffusers.DDPMScheduler()
    with pytest.raises(InvalidArgument, match=r"x_t and t only, got 9 channels in and 3 out"):
        reddiff.prior(unet(in_channels=9), schedule=scheduler)
    with pytest.raises(InvalidArgument, match=r"got class_embed_type 'timestep'"):
        reddiff.prior(unet(class_embed_type="timestep"), schedule=scheduler)
    learned = reddiff.prior(unet(out_channels=6), schedule=scheduler)  # the variance as well
    assert learned(x_of(1, 3, 16, 16), 1.0).shape == (1, 3, 16, 16)
    table = unet(time_embedding_type="learned", num_train_timesteps=1000)
    assert torch.isfinite(reddiff.prior(table, schedule=scheduler)(x_of(1, 3, 16, 16), 1.0)).all()


def test_transformers() -> None:
    net = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        num_embeds_ada_norm=10,
    ).requires_grad_(False)
    prior = reddiff.prior(net.eval(), schedule=diffusers.DDIMScheduler())
    assert prior.shape == (4, 8, 8)
    x = x_of(2, 4, 8, 8).float()
    got, t = prior.given(label=3)(x, 1.0), prior.path.time(torch.ones(2))
    eps = net(x / 2**0.5, t, torch.tensor([3, 3])).sample[:, :4]
    torch.testing.assert_close(got, x - eps)
    assert torch.isfinite(prior.given(label=3, guidance=2.0)(x, 1.0)).all()


AUTOENCODERS = {
    "kl": lambda: autoencoder_kl(scaling_factor=0.3, shift_factor=0.1),
    "kl-moments": lambda: autoencoder_kl(
        scaling_factor=0.5, latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 3.0, 4.0]
    ),
    "tiny": autoencoder_tiny,
    "vq": vq_model,
}


def latent_prior(kind: str) -> LatentPrior:
    autoencoder = AUTOENCODERS[kind]()
    net = unet(in_channels=4, out_channels=4).float()
    pipeline = diffusers.LDMPipeline(autoencoder, net, diffusers.DDIMScheduler())
    prior = reddiff.prior(pipeline)
    assert isinstance(prior, LatentPrior)
    return prior


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_latents_and_pictures(kind: str) -> None:
    prior, autoencoder = latent_prior(kind), AUTOENCODERS[kind]()
    torch.manual_seed(0)
    autoencoder = AUTOENCODERS[kind]()
    config = autoencoder.config
    z, x = x_of(2, 4, 8, 8).float(), x_of(2, 3, 16, 16).float()
    h = z / config.scaling_factor
    if kind == "kl-moments":
        mean, std = (
            torch.tensor(v).view(-1, 1, 1) for v in (config.latents_mean, config.latents_std)
        )
        h = h * std + mean
    elif config.get("shift_factor"):
        h = h + config.shift_factor
    rest = {"force_not_quantize": True} if kind == "vq" else {}
    torch.testing.assert_close(prior.decode(z), autoencoder.decode(h, **rest).sample)
    back = prior.decoder.encode(x) / prior.decoder.scale + prior.decoder.shift
    encoded = autoencoder.encode(x)
    wanted = encoded.latent_dist.mode() if kind.startswith("kl") else encoded.latents
    torch.testing.assert_close(back, wanted)
    assert prior.values is None


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *((kind, lambda p, n: DPS.paper(n, p)) for kind in AUTOENCODERS),
        ("kl", NoiseAwareREDDiff.for_prior),
    ],
)
def test_latent_problems(kind: str, method: object) -> None:
    """The wiring of random weights: a finite answer of the right shape, and counts."""
    prior = latent_prior(kind)
    assert callable(method)
    truth = prior.decode(x_of(2, 4, 8, 8).float()).detach()
    problem = Problem.simulate(truth, BlockMean(2), Gaussian(0.1)).pullback(prior.decoder)
    assert problem.x_shape == (4, 8, 8)
    result = reddiff.solve(problem, prior, method(prior, 3))
    assert result.x.shape == (2, 4, 8, 8)
    assert torch.isfinite(result.x).all()
    assert result.cost.evaluations == (3, 3)
    assert min(result.cost.decodings) >= 3


def test_a_folder_of_latents(tmp_path: Path) -> None:
    pipeline = diffusers.LDMPipeline(
        vq_model(), unet(in_channels=4, out_channels=4).float(), diffusers.DDIMScheduler()
    )
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert {"unet", "vqvae", "scheduler"} <= set(index)
    prior, z = reddiff.prior(tmp_path), x_of(1, 4, 8, 8).float()
    assert isinstance(prior, LatentPrior)
    wanted = reddiff.prior(pipeline)
    assert isinstance(wanted, LatentPrior)
    torch.testing.assert_close(prior(z, 1.0), wanted(z, 1.0))
    torch.testing.assert_close(prior.decode(z), wanted.decode(z))


def test_one_line_where_the_problem_is_of_pixels() -> None:
    prior: Prior = latent_prior("tiny")
    problem = Problem.simulate(x_of(1, 3, 16, 16).float(), BlockMean(2), Gaussian(0.1))
    with pytest.raises(InvalidArgument, match=r"problem\.pullback\(prior\.decoder\)"):
        reddiff.solve(problem, prior)

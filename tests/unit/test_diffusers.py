"""What is read of the configs of diffusers; tests/diffusers compares with diffusers itself."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

import reddiff
from reddiff import InvalidArgument, WeightsError
from reddiff.interop.diffusers.schedulers import alphas_bar, read_scheduler
from stand_ins import DDPM, DDPMScheduler, UNet2DModel


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_network_and_its_scheduler(prediction):
    scheduler = DDPMScheduler(prediction_type=prediction)
    prior, x = reddiff.prior(UNet2DModel(), schedule=scheduler), torch.randn(2, 3, 6, 9)
    out = x / 8**0.5
    wanted = {"epsilon": x - out, "v_prediction": x / 2 - out / 2**0.5, "sample": out}
    torch.testing.assert_close(prior(x, 1.0), wanted[prediction])
    assert (prior.shape, prior.multiple, prior.values) == ((3, None, None), 4, (-1, 1))
    pipeline = SimpleNamespace(
        components={"unet": UNet2DModel(), "scheduler": scheduler, "vae": None}
    )
    assert torch.equal(reddiff.prior(pipeline)(x, 1.0), prior(x, 1.0))


def test_a_last_step_without_signal_is_left_out():
    prior = reddiff.prior(UNet2DModel(), schedule=DDPMScheduler(rescale_betas_zero_snr=True))
    assert len(prior.path.log_levels) == 999
    assert 100 < prior.sigma_max < 1e5
    assert alphas_bar({**DDPM, "rescale_betas_zero_snr": True})[-1] == 0


def test_labels_and_embeddings():
    x, scheduler = torch.zeros(2, 3, 8, 8), DDPMScheduler(prediction_type="sample")
    labeled = reddiff.prior(UNet2DModel(num_class_embeds=7), schedule=scheduler)
    assert labeled.given(label=torch.tensor([2, 6]))(x, 1.0)[:, 0, 0, 0].tolist() == [2, 6]
    net = UNet2DModel(cross_attention_dim=5)
    told = reddiff.prior(net, schedule=scheduler, null=torch.zeros(3, 5))
    words = torch.ones(3, 5)
    assert float(told.given(embedding=words, guidance=2.0)(x, 1.0).detach().max()) == 30
    transformer = UNet2DModel(num_embeds_ada_norm=10, patch_size=2, block_out_channels=None)
    prior = reddiff.prior(transformer, schedule=scheduler)
    assert prior.shape == (3, 16, 16)
    free = prior.given(label=3, guidance=0.0)(torch.zeros(1, 3, 16, 16), 1.0)
    assert float(free.detach().max()) == 10


@pytest.mark.parametrize(
    ("config", "schedule", "message"),
    [
        ({}, None, "^schedule: expected a scheduler of diffusers, or its config, got none$"),
        (
            {"in_channels": 9},
            DDPM,
            "^net: expected .*x_t and t only, got 9 channels in and 3 out$",
        ),
        ({"addition_embed_type": "text_time"}, DDPM, "^net: expected one label.*'text_time'$"),
        ({"num_class_embeds": 3, "cross_attention_dim": 4}, DDPM, "^net: expected one .*got both$"),
        ({"cross_attention_dim": (4, 8)}, DDPM, "^net: expected one cross_attention_dim"),
        ({}, {**DDPM, "prediction_type": "noise"}, "^prediction_type: expected one of epsilon, "),
        ({}, {**DDPM, "beta_schedule": "new"}, "^beta_schedule: expected one of linear, "),
        ({}, {**DDPM, "trained_betas": [[0.1]]}, "^trained_betas: expected a vector"),
        ({}, {"_class_name": "AmusedScheduler"}, "^schedule: expected .* got AmusedScheduler$"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(config, schedule, message):
    with pytest.raises(InvalidArgument, match=message) as error:
        reddiff.prior(UNet2DModel(**config), schedule=schedule)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "levels"),
    [
        ({"_class_name": "EDMEulerScheduler", "sigma_max": 50}, (0.002, 50)),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, (1 / 999, 999)),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, (1 / 999, 999)),
        ({**DDPM, "prediction_type": "flow_prediction"}, (1 / 999, 999)),
        ({"_class_name": "ScoreSdeVeScheduler", "sigma_max": 300.0}, (0.01, 300)),
        ({"_class_name": "CMStochasticIterativeScheduler"}, (0.002, 80)),
        ({**DDPM, "timestep_type": "continuous", "prediction_type": "v_prediction"}, (0.002, 700)),
        ({**DDPM, "trained_betas": [0.1, 0.2, 0.3]}, ((1 / 9) ** 0.5, (0.496 / 0.504) ** 0.5)),
    ],
)
def test_levels_of_schedulers(config, levels):
    path = read_scheduler(config).schedule
    assert (path.sigma_min, path.sigma_max) == pytest.approx(levels)


@pytest.mark.parametrize(
    "config",
    [
        {**DDPM, "timestep_type": "continuous", "prediction_type": "v_prediction"},
        {"_class_name": "CMStochasticIterativeScheduler"},
        {"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"},
        {"_class_name": "ScoreSdeVeScheduler"},
    ],
)
def test_networks_on_the_paths_of_their_schedulers(config):
    x = torch.randn(2, 3, 8, 8)
    prior = reddiff.prior(UNet2DModel(), schedule=config)
    assert torch.isfinite(prior(x, 1.0)).all()
    torch.testing.assert_close(prior(x, prior.sigma_min), x, rtol=0.02, atol=0.02)


def test_a_flow_with_data_at_1_has_the_other_sign():
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    x = torch.randn(2, 3, 8, 8)
    forth = reddiff.prior(UNet2DModel(), schedule=config)
    back = reddiff.prior(UNet2DModel(), schedule={**config, "invert_sigmas": True})
    x_t = x / 2
    torch.testing.assert_close(forth(x, 1.0), x_t - x_t / 4)
    torch.testing.assert_close(back(x, 1.0), x_t + x_t / 4)


def test_folders_that_diffusers_did_not_fill(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "Flux"}))
    with pytest.raises(WeightsError, match=r"expected one of UNet2DModel, .* got Flux$"):
        reddiff.prior(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(WeightsError, match=r"expected weights in \.safetensors, got none$"):
        reddiff.prior(tmp_path)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match=r"got diffusion_pytorch_model\.bin; diffusers converts"):
        reddiff.prior(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json: expected a JSON object"):
        reddiff.prior(tmp_path)


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InvalidArgument, match=r"pip install 'reddiff\[diffusers\]'"):
        reddiff.prior(tmp_path)

"""The prior that corrects FFDNet: initial state, levels where FFDNet is used, file."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from skimage import data

from reddiff import WeightsError
from reddiff.priors import EDMPrior, FFDNetPrior, UNet, networks, photo_prior, weights_hash
from reddiff.priors.photo import ASSET
from reddiff.priors.refined import LEVELS, Refined, raw_network

SHARE = 0.75
TINY = {"channels": [8, 12], "blocks": [1, 1]}
REFINES = {"refines": "ffdnet", "share": SHARE}


def photo_weights() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    path = str(files("reddiff").joinpath(ASSET))
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """The photo prior's weights as a corrector that ignores what FFDNet says."""
    tensors, metadata = photo_weights()
    head = tensors["head.weight"]
    tensors["head.weight"] = torch.cat([head, torch.zeros_like(head)], dim=1)
    path = tmp_path_factory.mktemp("refined") / "weights.safetensors"
    save_file(tensors, path, {"config": json.dumps(json.loads(metadata["config"]) | REFINES)})
    return path


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    clean = torch.from_numpy(data.astronaut()[:48, 150:205] / 127.5 - 1).permute(2, 0, 1).float()
    return torch.stack([clean, clean.flip(2)])


def single(prior: EDMPrior) -> EDMPrior:
    """The prior in single precision."""
    prior.compute = None
    return prior


def noisy(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def test_the_shipped_prior_is_what_it_was():
    assert weights_hash(photo_prior()) == "4cae6f2cfef7a247"


@pytest.mark.parametrize("sigma", [LEVELS[1], 0.3, LEVELS[2]])
def test_it_starts_as_a_mean_of_two_denoisers(start, x, sigma):
    x_t = noisy(x, sigma)
    expected = SHARE * FFDNetPrior()(x_t, sigma) + (1 - SHARE) * single(photo_prior())(x_t, sigma)
    torch.testing.assert_close(single(photo_prior(start))(x_t, sigma), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sigma", [0.002, 0.02, 2.0, 80.0])
def test_ffdnet_has_no_part_where_it_is_not_good(start, x, sigma):
    x_t = noisy(x, sigma)
    estimate, expected = (single(photo_prior(w))(x_t, sigma) for w in (start, None))
    torch.testing.assert_close(estimate, expected, atol=1e-5, rtol=1e-5)


def test_the_part_of_ffdnet_fades(start):
    net = photo_prior(start).net
    low, full, last, high = LEVELS
    middle = [(low * full) ** 0.5, (last * high) ** 0.5]  # halfway in ln(sigma)
    levels = torch.tensor([low, middle[0], full, 0.3, last, middle[1], high])
    expected = SHARE * torch.tensor([0, 0.5, 1, 1, 1, 0.5, 0])
    torch.testing.assert_close(net.weight(levels.log()), expected, atol=1e-5, rtol=0)


def test_lanes_have_levels_of_their_own(start, x):
    prior, levels = single(photo_prior(start)), torch.tensor([0.3, 40.0])
    x_t = noisy(x, 0.3)
    together = prior(x_t, levels)
    for lane in range(2):
        alone = prior(x_t[lane : lane + 1], float(levels[lane]))
        torch.testing.assert_close(together[lane : lane + 1], alone, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_the_details_that_ffdnet_keeps(start, x, monkeypatch):
    """A feature of 1 is rounded by up to 0.004 in bfloat16; FFDNet's are not rounded."""
    monkeypatch.setattr(networks, "_cpu_has_bfloat16", lambda: True)
    sigma = LEVELS[1]
    prior = photo_prior(start)
    half = prior(noisy(x, sigma), sigma)
    error = (half - single(prior)(noisy(x, sigma), sigma)).square().mean().sqrt()
    assert 0 < error < 0.001  # 0.0003; 0.003 if they were


def test_gradients_pass_ffdnet_and_stop_at_its_weights(x):
    net, unet = raw_network(TINY | REFINES)  # a fresh U-Net is zero: the gradient is FFDNet's
    x_t = noisy(x, 0.3).requires_grad_()
    EDMPrior(net, (3, None, None))(x_t, 0.3).square().sum().backward()
    assert isinstance(net, Refined)
    assert all(p.grad is None for p in net.first.parameters())
    assert unet.tail.weight.grad is not None
    c_skip = 0.25 / (0.25 + 0.09)
    y = noisy(x, 0.3).requires_grad_()
    (SHARE * FFDNetPrior()(y, 0.3) + (1 - SHARE) * c_skip * y).square().sum().backward()
    torch.testing.assert_close(x_t.grad, y.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(37, 51), (1, 1)])
def test_any_size(start, size):
    x = torch.rand(1, 3, *size) * 2 - 1
    estimate = photo_prior(start)(x, 0.1)
    assert estimate.shape == x.shape
    assert torch.isfinite(estimate).all()


def test_without_extra_channels_nothing_changes():
    nets = []
    for options in ({}, {"extra_channels": 0}):
        torch.manual_seed(0)
        nets.append(UNet(**TINY, **options).state_dict())
    assert nets[0].keys() == nets[1].keys()
    assert all(torch.equal(nets[0][k], nets[1][k]) for k in nets[0])
    assert nets[0]["head.weight"].shape == (8, 12, 3, 3)
    assert set(json.loads(photo_weights()[1]["config"])) == {"channels", "blocks"}


def test_the_hash_knows_both_networks(start):
    prior = photo_prior(start)
    before = weights_hash(prior)
    next(prior.net.first.parameters()).data.add_(1)
    assert weights_hash(prior) != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"refines": "drunet"}, "refines.*drunet"),
        ({"share": 1.5}, "share.*1.5"),
        ({"share": None}, "share"),
        ({"extra_channels": 0}, "extra_channels.*3.*0"),
    ],
)
def test_a_file_that_does_not_fit(start, tmp_path, change, words):
    with safe_open(start, "pt") as file:
        config = json.loads(file.metadata()["config"])
    path = tmp_path / "weights.safetensors"
    config = {k: v for k, v in (config | change).items() if v is not None}
    save_file(load_file(start), path, {"config": json.dumps(config)})
    with pytest.raises(WeightsError, match=words):
        photo_prior(path)

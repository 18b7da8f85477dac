"""The embedded photo prior: file, sizes, and denoising of photos."""

from __future__ import annotations

import json
import os
from importlib.resources import files

import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data

from reddiff import ReddiffError, WeightsError
from reddiff.metrics import LPIPS, psnr
from reddiff.priors import FFDNetPrior, photo_prior, weights_hash
from reddiff.priors.photo import ASSET


@pytest.fixture(scope="module")
def prior():
    return photo_prior()


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[:128, 150:278] / 127.5 - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("level", "least"), [(25, 29.5), (50, 26.5), (100, 23.5)])
def test_it_denoises_a_photo(prior, photo, level, least):
    x, sigma = photo.float(), 2 * level / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    estimate = prior(x + sigma * noise, sigma)
    assert float(psnr(estimate.clamp(-1, 1), x, data_range=2)) > least


def test_pure_noise_is_taken_for_an_average_picture(prior):
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    estimate = prior(80 * noise, 80.0)
    assert estimate.std() < 0.5
    assert estimate.abs().max() < 1.5


@pytest.mark.parametrize("size", [(64, 64), (37, 51), (8, 200), (1, 1)])
def test_any_size(prior, size):
    x = torch.rand(1, 3, *size) * 2 - 1
    estimate = prior(x, 0.1)
    assert estimate.shape == x.shape
    assert estimate.dtype == x.dtype
    assert torch.isfinite(estimate).all()


def test_it_takes_no_gradient_but_passes_one(prior):
    assert not any(p.requires_grad for p in prior.parameters())
    x_0, pullback = prior.vjp(torch.zeros(1, 3, 16, 16), 0.5)
    assert pullback(torch.ones_like(x_0)).abs().max() > 0


@pytest.mark.parametrize("load", [photo_prior, FFDNetPrior, LPIPS])
def test_loading_draws_no_random_numbers(load):
    before = torch.random.get_rng_state()
    load()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_fits_in_16_megabytes():
    assert len(files("reddiff").joinpath(ASSET).read_bytes()) <= 16_000_000


def test_hash_knows_the_weights(prior):
    other = photo_prior()
    assert weights_hash(prior) == weights_hash(other)
    next(other.parameters()).data.view(-1)[0] += 1
    assert weights_hash(prior) != weights_hash(other)


@pytest.fixture(scope="module")
def good() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open

    path = str(files("reddiff").joinpath(ASSET))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return load_file(path), metadata


def spoil(tensors: dict, metadata: dict, how: str) -> tuple[dict, dict]:
    first = next(iter(tensors))
    if how == "missing key":
        return {k: v for k, v in tensors.items() if k != first}, metadata
    if how == "extra key":
        return tensors | {"more": torch.zeros(1)}, metadata
    if how == "wrong shape":
        return tensors | {first: torch.zeros(1, 2)}, metadata
    if how == "no config":
        return tensors, {}
    return tensors, metadata | {"config": '{"width": 3}'}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing key", "Missing key"),
        ("extra key", "Unexpected key"),
        ("wrong shape", "size mismatch"),
        ("no config", "config"),
        ("wrong config", "width"),
    ],
)
def test_a_file_that_does_not_fit(good, tmp_path, how, words):
    tensors, metadata = spoil(*good, how)
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match=words):
        photo_prior(path)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors"])
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        photo_prior(path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"channels": [96, 128, 192, 256], "blocks": [10**7] * 4}, "got 40000000 blocks"),
        ({"blocks": [1] * 10**5, "channels": [8] * 10**5}, "got 100000 blocks"),
        ({"channels": [10**7, 128, 192, 256]}, "size mismatch"),
        ({"channels": [2**40] * 4}, "config channels: expected whole numbers from 1"),
        ({"embedding": 10**7}, "size mismatch"),
        ({"image_channels": 12, "unshuffle": 1}, "image_channels: expected 3, got 12"),
        ({"unshuffle": 10**7}, "size mismatch"),
        ({"unshuffle": -2}, "config unshuffle"),
        ({"blocks": 5}, "lists of blocks"),
        ({"blocks": [1.5]}, "config blocks"),
        ({"channels": [True]}, "config channels"),
        ([1, 2], "got a list"),
        (3, "got a int"),
    ],
)
def test_a_config_that_asks_for_more_than_is_there(good, tmp_path, config, words):
    """Known before the network is built, which would take any memory and time."""
    tensors, metadata = good
    if isinstance(config, dict):
        config = json.loads(metadata["config"]) | config
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path, metadata | {"config": json.dumps(config)})
    with pytest.raises(WeightsError, match=words):
        photo_prior(path)


@pytest.mark.parametrize("config", ["{", "[" * 10**5, "NaN", '{"blocks": ' + "9" * 5000 + "}"])
def test_a_config_that_is_none(good, tmp_path, config):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(1)}, path, good[1] | {"config": config})
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        photo_prior(path)


def test_a_pipe_is_no_weights_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    os.mkfifo(path)
    with pytest.raises(ReddiffError, match=r"weights\.safetensors"):
        photo_prior(path)

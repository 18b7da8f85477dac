from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image

from reddiff.metrics import psnr
from reddiff.priors import FFDNetPrior


def photo(name: str, side: int) -> torch.Tensor:
    path = files("reddiff") / f"assets/photos/{name}.png"
    with path.open("rb") as file:
        pixels = np.asarray(Image.open(file))[:side, :side]
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(scope="module")
def prior() -> FFDNetPrior:
    return FFDNetPrior()


@pytest.mark.parametrize(("level", "least"), [(15, 33), (50, 27), (100, 24)])
def test_it_denoises_a_photo_over_its_range(prior, level, least):
    x = photo("coffee", 128)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    sigma = 2 * level / 255
    assert float(psnr(prior(x + sigma * noise, sigma), x, data_range=2)) > least


@pytest.mark.parametrize("size", [(7, 9), (8, 9), (7, 8), (1, 1)])
def test_any_height_and_width(prior, size):
    x = torch.zeros(2, 3, *size)
    assert prior(x, 0.1).shape == x.shape


def test_an_even_part_of_an_odd_picture_is_unchanged_far_from_the_edge(prior):
    x = photo("chelsea", 64)
    even, odd = prior(x, 0.2), prior(x[..., :63, :63], 0.2)
    torch.testing.assert_close(even[..., :32, :32], odd[..., :32, :32])


def test_it_takes_one_level_per_lane(prior):
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.5])
    both = prior(x, sigma)
    alone = torch.cat([prior(x[i : i + 1], sigma[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, alone)


def test_only_its_input_takes_a_gradient(prior):
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    prior(x, 0.1).sum().backward()
    assert x.grad is not None
    assert not any(p.requires_grad for p in prior.parameters())

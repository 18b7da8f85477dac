"""Tiles cover the picture, change nothing local, and leave no seams."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from reddiff import InvalidArgument
from reddiff.priors import Prior, TiledPrior
from reddiff.priors.tiled import starts

pytestmark = pytest.mark.usefixtures("untyped")


class Local(Prior):
    """A denoiser whose receptive field is 5 x 5."""

    def __init__(self) -> None:
        super().__init__((2, None, None))

    def denoise(self, x: Float[Tensor, "b c h w"], sigma: Tensor) -> Float[Tensor, "b c h w"]:
        padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
        return torch.nn.functional.avg_pool2d(padded, 5, stride=1) / (1 + sigma)


@given(size=st.integers(1, 500), tile=st.integers(8, 100), overlap=st.integers(1, 40))
def test_starts_cover_with_overlap(size, tile, overlap):
    if overlap >= tile / 2:
        return
    begin = starts(size, tile, overlap)
    assert begin[0] == 0
    assert begin[-1] + tile >= size
    assert all(b - a <= tile - overlap for a, b in pairwise(begin))
    assert size <= tile or begin[-1] + tile == size


@pytest.mark.parametrize("size", [(40, 40), (100, 70), (64, 131), (33, 200)])
def test_same_as_whole_for_a_local_denoiser(size):
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    sigma = torch.tensor([0.1, 2.0])
    whole, tiled = Local(), TiledPrior(Local(), tile=48, overlap=20)
    difference = (whole(x, sigma) - tiled(x, sigma)).abs().max()
    assert difference < 1e-5  # the outermost pixels of a tile count for a millionth


def test_gradients_pass():
    x = torch.randn(1, 2, 60, 60, dtype=torch.float64)
    x_0, pullback = TiledPrior(Local(), tile=32, overlap=12).vjp(x, 0.5)
    assert pullback(torch.ones_like(x_0)).abs().min() > 0


@pytest.mark.parametrize("overlap", [0, 32, 40])
def test_overlap_must_fit(overlap):
    with pytest.raises(InvalidArgument, match="overlap"):
        TiledPrior(Local(), tile=64, overlap=overlap)

"""Masks from words."""

from __future__ import annotations

import pytest
import torch

from reddiff import InvalidArgument
from reddiff.masks import TEXTS, make_mask


def test_random_drops_that_part_and_follows_the_seed():
    mask = make_mask("random:0.7", (200, 100), seed=3)
    assert mask.shape == (1, 200, 100)
    assert float(mask.mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(mask, make_mask("random:0.7", (200, 100), seed=3))
    assert not torch.equal(mask, make_mask("random:0.7", (200, 100), seed=4))


def test_box_is_central():
    mask = make_mask("box:10", (20, 30))
    assert int((mask == 0).sum()) == 100
    assert not mask[0, 5:15, 10:20].any()


@pytest.mark.parametrize("name", TEXTS)
def test_text_covers_any_size(name):
    mask = make_mask(f"text:{name}", (300, 500))
    assert mask.shape == (1, 300, 500)
    assert 0.5 < float(mask.mean()) < 1
    assert torch.equal(mask[:, 256:, :256], mask[:, :44, :256])


@pytest.mark.parametrize(
    "spec", ["random:2", "random:x", "random:1", "box:64", "box:0", "text:none", "box:nan"]
)
def test_bad_words(spec):
    with pytest.raises(InvalidArgument, match="mask"):
        make_mask(spec, (64, 64))

"""Several pictures solved as one batch: the bits of each are those that it gets alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reddiff.errors import Diverged, InvalidArgument
from reddiff.images import batching, making
from reddiff.images.batching import AUTO, Batches, lanes_of
from reddiff.images.io import read_picture
from reddiff.images.jobs import Job
from reddiff.images.making import Made, make, make_together
from reddiff.images.settings import Settings
from reddiff.priors import photo_prior
from reddiff.priors.base import Prior
from reddiff.run.batch_invariance import BatchInvariant
from tiny import save_tiny

pytestmark = pytest.mark.usefixtures("untyped")

SIDE = 24


@pytest.fixture
def prior(tmp_path: Path) -> Prior:
    return photo_prior(save_tiny(tmp_path / "tiny.safetensors"))


def jobs(folder: Path, count: int, side: int = SIDE, **settings: Any) -> list[Job]:
    """Pictures of blocks, each with more noise than the one before; `mask=None` is one for each.

    The first two have the same lane, as all pictures of a folder have.
    """
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        blocks = np.kron(rng.uniform(40, 210, (side // 4, side // 4, 3)), np.ones((4, 4, 1)))
        pixels = (blocks + rng.normal(0, 3 + 2 * i, blocks.shape)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        own = dict(settings)
        if "mask" in own and own["mask"] is None:
            own["mask"] = str(folder / f"mask{i}.png")
            Image.fromarray(rng.random((side, side)) > 0.3).save(own["mask"])
        prior = str(folder / "tiny.safetensors")
        name = str(folder / f"{i}.png")
        found.append(Job(name, "out.png", Settings(prior=prior, **own), lane=7 + max(i, 1)))
    return found


def together(works: Sequence[Job], prior: Prior, batches: Batches) -> list[Any]:
    return make_together([(job, read_picture(job.source)) for job in works], prior, batches)


def same(works: Sequence[Job], prior: Prior, batches: Batches) -> None:
    """Pixels and records are those of each picture alone, up to what they cost."""
    for job, made in zip(works, together(works, prior, batches), strict=True):
        alone = make(job, read_picture(job.source), prior)
        assert isinstance(made, Made), made
        assert torch.equal(made.result.pixels, alone.result.pixels)
        records = [{k: v for k, v in m.record.items() if k != "cost"} for m in (made, alone)]
        assert records[0] == records[1]
        costs = [m.record["cost"] | {"seconds": 0, "peak_bytes": 0} for m in (made, alone)]
        assert costs[0] == costs[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "denoise", "steps": 2},
        {"task": "inpaint", "mask": None, "solver": "red-diff", "steps": 2},
        {"task": "sr", "scale": 2, "solver": "dps", "steps": 2},
        {"task": "deblur", "kernel": "gaussian:1.2", "solver": "mmps", "steps": 1},
    ],
    ids=lambda s: f"{s['task']}-{s.get('solver', 'default')}",
)
def test_pixels_and_records_do_not_depend_on_the_batch(tmp_path, prior, settings):
    batches = Batches(3)
    same(jobs(tmp_path, 4, **settings), prior, batches)
    assert any(mode is not None for mode in batches.known.values())


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [2, 8])
def test_the_photo_prior_gives_the_bits_of_one_picture_alone(tmp_path, lanes):
    """9 pictures: the last batch is smaller."""
    works = jobs(tmp_path, 9, 64, task="inpaint", mask=None, noise=0.02, steps=2)
    prior = photo_prior()
    works = [replace(job, settings=replace(job.settings, prior="photo")) for job in works]
    same(works, prior, Batches(lanes))


def test_kernels_that_depend_on_the_batch_are_found_and_run_lane_by_lane():
    """A product that sums in another order in a larger batch, as a kernel may."""
    mode = BatchInvariant(3)
    a, b = torch.randn(3, 500), torch.randn(500, 40)
    alone = torch.cat([row[None] @ b for row in a])
    with mode:
        assert torch.equal(a @ b, alone)
    (agree,) = mode.known.values()
    assert agree == torch.equal(a @ b, alone)
    mode.known = dict.fromkeys(mode.known, False)
    with mode:
        assert torch.equal(a @ b, alone)


class Bright(Prior):
    """A network that fails where the picture is bright."""

    trusted = True

    def __init__(self, inner: Prior) -> None:
        super().__init__(inner.shape, inner.sigma_min, inner.sigma_max)
        self.inner = inner

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        bright = x.flatten(1).mean(1).view(-1, 1, 1, 1) > 0.8
        return torch.where(bright, torch.nan, self.inner.denoise(x, sigma))


def test_a_picture_that_fails_does_not_fail_the_others(tmp_path, prior, monkeypatch):
    works = jobs(tmp_path, 4, task="denoise", noise=0.05, steps=2)
    Image.new("RGB", (SIDE, SIDE), (255, 255, 255)).save(works[2].source)
    found = together(works, Bright(prior), Batches(4))
    assert [type(one) for one in found] == [Made, Made, Diverged, Made]
    with pytest.raises(Diverged) as alone:
        make(works[2], read_picture(works[2].source), Bright(prior))
    assert str(found[2]) == str(alone.value)
    monkeypatch.setattr(batching, "completed", None)  # a batch that fails: each is solved alone
    again = together(works, Bright(prior), Batches(4))
    for one, other in zip(found, again, strict=True):
        assert str(one) == str(other) if isinstance(one, Diverged) else one.data == other.data


def test_only_pictures_that_can_be_lanes_are_put_together(tmp_path, prior, monkeypatch):
    works = jobs(tmp_path, 5, task="denoise", noise=0.05, steps=2)
    Image.new("L", (SIDE, SIDE), 99).save(works[1].source)
    Image.new("RGB", (SIDE, SIDE + 4), (9, 99, 9)).save(works[3].source)
    sizes = []
    real = batching.completed

    def counted(run: Any) -> Any:
        sizes.append(len(run.ids))
        return real(run)

    monkeypatch.setattr(batching, "completed", counted)
    same(works, prior, Batches(4))
    assert sizes == [3]


def test_untrusted_networks_whose_lanes_are_not_alike_are_used_alone(tmp_path, prior):
    class Mixed(Bright):
        trusted = False

        def denoise(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return self.inner.denoise(x, sigma) + 1e-3 * x.mean(0, keepdim=True)

    batches = Batches(3)
    works = jobs(tmp_path, 3, task="denoise", noise=0.05, steps=2)
    same(works, Mixed(prior), batches)
    assert [*batches.known.values()] == [None]


def test_batches_are_chosen_by_size_and_memory(tmp_path, prior, monkeypatch):
    works = jobs(tmp_path, 1, 64, task="denoise", noise=0.05)
    monkeypatch.setattr(making, "solve_ready", lambda ready, *args, **more: ready)
    monkeypatch.setattr(making, "_made", lambda begun, result, prior: result)
    ready = make(works[0], read_picture(works[0].source), prior)
    assert [len(g) for g in Batches(AUTO).groups(dict.fromkeys(range(11), ready))] == [8, 3]
    assert [len(g) for g in Batches(2).groups(dict.fromkeys(range(5), ready))] == [2, 2, 1]
    monkeypatch.setattr(batching, "free_bytes", lambda: 150_000_000)
    assert [len(g) for g in Batches(AUTO, 2).groups(dict.fromkeys(range(4), ready))] == [2, 2]
    assert [*Batches(AUTO).near(range(3), lambda _: 65536)] == [[0], [1], [2]]
    assert [*Batches(2).near(range(5), lambda _: 65536)] == [[0, 1], [2, 3], [4]]
    assert [*Batches(AUTO).near(range(5), lambda _: 0, 3)] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "2000", "1.5"])
def test_batches_that_cannot_be(text):
    with pytest.raises(InvalidArgument, match="--batch: expected auto, or a number from 1"):
        lanes_of(text)

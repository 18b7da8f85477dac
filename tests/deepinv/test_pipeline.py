"""A solver and a prior as a model in deepinv's own pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

import deepinv
import reddiff
from deepinv import physics as dp
from reddiff import Gaussian, as_reconstructor
from reddiff.priors import GaussianRandomField
from reddiff.solvers import DDRM, DPS, NoiseAwareREDDiff

SIZE = (1, 12, 12)
PRIOR = GaussianRandomField(-3.0, std=0.3, dtype=torch.float32)


class Images(Dataset[Tensor]):
    """x alone, as their datasets give it."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]


@pytest.fixture
def images() -> Tensor:
    """Six draws of the prior, in [0, 1]."""
    like = torch.empty(6, *SIZE)
    return (PRIOR.sample(like, reddiff.Keys(0, tuple(range(6))).at(0)).clamp(-1, 1) + 1) / 2


@pytest.fixture
def physics() -> dp.Inpainting:
    mask = (torch.rand(SIZE, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    return dp.Inpainting(SIZE, mask, noise_model=dp.GaussianNoise(0.05))


@pytest.mark.parametrize("solver", [None, NoiseAwareREDDiff.default(10), DDRM.paper(10)])
def test_in_their_test(solver: object, images: Tensor, physics: dp.Inpainting) -> None:
    """`deepinv.test` on a data loader, against what they compare with: A^T y."""
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(images, physics(images)), batch_size=4)
    model = as_reconstructor(solver, PRIOR)  # type: ignore[arg-type]
    scores = deepinv.test(
        model,
        loader,
        physics,
        metrics=deepinv.loss.metric.PSNR(),
        show_progress_bar=False,
        verbose=False,
    )
    assert scores["PSNR"] > scores["PSNR no learning"] + 5
    assert scores["PSNR"] > (18 if isinstance(solver, DDRM) else 22)


def test_from_a_file_of_measurements(
    tmp_path: Path, images: Tensor, physics: dp.Inpainting
) -> None:
    """Their dataset of generated measurements, a mask per image in it."""
    generator = dp.generator.BernoulliSplittingMaskGenerator(
        SIZE, split_ratio=0.6, rng=torch.Generator().manual_seed(0)
    )
    path = deepinv.datasets.generate_dataset(
        None,
        physics,
        test_dataset=Images(images),
        save_dir=str(tmp_path),
        physics_generator=generator,
        train_datapoints=0,
        test_datapoints=6,
        batch_size=3,
        show_progress_bar=False,
    )
    data = deepinv.datasets.HDF5Dataset(path, train=False, load_physics_generator_params=True)
    model = as_reconstructor(NoiseAwareREDDiff.default(10), PRIOR, lanes=("mask",))
    for x, y, parameters in DataLoader(data, batch_size=3):
        physics.update(**parameters)
        got = model(y, physics)
        assert got.shape == x.shape
        assert float((got - x).square().mean()) < 0.5 * float((y - x).square().mean())
        masks = physics.mask
        assert not torch.equal(masks[0], masks[1])
        alone = physics.clone()
        alone.update(mask=masks[:1])
        torch.testing.assert_close(model(y[:1], alone), got[:1], rtol=0, atol=1e-4)


def test_online_measurements_by_their_trainer(images: Tensor, physics: dp.Inpainting) -> None:
    """Measured as it goes, with levels drawn anew for every batch."""
    torch.manual_seed(0)
    levels = dp.generator.SigmaGenerator(0.01, 0.1, rng=torch.Generator().manual_seed(0))
    scores = deepinv.test(
        as_reconstructor(NoiseAwareREDDiff.default(10), PRIOR),
        DataLoader(Images(images), batch_size=3),
        physics,
        online_measurements=True,
        physics_generator=levels,
        show_progress_bar=False,
        verbose=False,
    )
    assert scores["PSNR"] > 22


def test_beside_their_own_models(images: Tensor, physics: dp.Inpainting) -> None:
    """Called as theirs are, in training mode and out of it; the physics is not changed."""
    y = physics(images)
    theirs = deepinv.models.ArtifactRemoval(deepinv.models.MedianFilter(), mode="adjoint")
    ours = as_reconstructor(DPS.paper(20), PRIOR).to("cpu").eval()
    before = {name: value.clone() for name, value in physics.state_dict().items()}
    assert ours(y, physics).shape == theirs(y, physics).shape
    assert all(torch.equal(before[n], v) for n, v in physics.state_dict().items())
    assert not ours.train()(y, physics).requires_grad
    raw = as_reconstructor(NoiseAwareREDDiff.default(10), PRIOR, noise=Gaussian(0.2), seed=1)
    assert not torch.equal(raw(y, physics), ours(y, physics))

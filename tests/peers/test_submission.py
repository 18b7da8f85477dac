"""`examples/deepinv_benchmark.py` as deepinv's benchmarks use it: their physics, their test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from benchopt import BaseSolver
from common import photo
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import deepinv as dinv
from deepinv import physics as dp

SIDE = 48
EXAMPLE = Path(__file__).parents[2] / "examples" / "deepinv_benchmark.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deepinv_benchmark", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Photos(Dataset[Tensor]):
    """Two photos alone, as their sets of images."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> Tensor:
        return photo(("astronaut", "chelsea")[i], SIDE)


# Each benchmark's physics, at a smaller size, and the PSNR that six steps have to reach.
PHYSICS: dict[str, tuple[Callable[[], Any], float]] = {
    "div2k_inpainting_easy": (lambda: dp.Inpainting(mask=0.3, img_size=(3, SIDE, SIDE)), 20.0),
    "div2k_super_resolution_2x": (lambda: dp.Downsampling(factor=2, filter="bicubic"), 20.0),
    "div2k_gaussian_deblurring": (
        lambda: dp.Blur(
            filter=dp.functional.blur.gaussian_blur(sigma=(2.0, 2.0)),
            noise_model=dp.GaussianNoise(0.05),
        ),
        17.0,
    ),
    "cbsd68_gaussian_denoising": (lambda: dp.Denoising(dp.GaussianNoise(0.1)), 24.0),
}


@pytest.mark.parametrize("name", PHYSICS)
def test_on_the_physics_of_a_benchmark(example: ModuleType, name: str) -> None:
    """What an objective of theirs does with a model, one image a batch."""
    torch.manual_seed(0)
    make, least = PHYSICS[name]
    solver = example.Solver.get_instance(steps=6)
    assert isinstance(solver, BaseSolver)
    solver.set_objective(train_dataset=Photos(), physics=make())
    solver.run(None)
    model = solver.get_result()["model"]
    scores = dinv.test(
        model,
        DataLoader(Photos()),
        make().to(model.device),
        online_measurements=True,
        device=model.device,
        metrics=[dinv.loss.PSNR()],
        compare_no_learning=False,
        show_progress_bar=False,
        verbose=False,
    )
    assert scores["PSNR"] > least


def test_their_runner_takes_the_model(example: ModuleType) -> None:
    """`run_benchmark` wants a module, moves it, and sets its device."""
    model = example.make_model(2)
    assert isinstance(model, torch.nn.Module)
    model.to("cpu").device = "cpu"
    assert str(model)

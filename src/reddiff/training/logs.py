"""The log of a training run: a table, and the denoising PSNR."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from reddiff.priors.base import Prior


def append(path: Path, columns: Sequence[str], row: Sequence[float]) -> None:
    """Append a row to a CSV file, which starts with the names of the columns."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(columns)
        writer.writerow(f"{value:.6g}" for value in row)


@torch.no_grad()
def denoising_psnr(
    denoise: Prior, images: Iterable[Tensor], level: float, device: str = "cpu"
) -> list[float]:
    """The PSNR in dB of each denoised image, for noise of `level`/255 seeded by its index."""
    values = []
    sigma = torch.full((1,), 2 * level / 255, device=device)
    for seed, image in enumerate(images):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        clean = image.to(device)
        restored = denoise(clean + sigma * noise.to(device), sigma).clamp(-1, 1)
        values.append(-10 * math.log10(float(((restored - clean) / 2).square().mean())))
    return values

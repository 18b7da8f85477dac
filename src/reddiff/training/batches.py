"""Batches of training images and their noise levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0


class Data:
    """Batches of whole scenes and of random crops of photos, with random flips and rotations.

    A batch has one patch size, drawn from `patches`, and as many pixels as `size` scenes. Only
    batches with the size of the scenes contain scenes. Photos are drawn with probability
    proportional to the square root of their number of pixels. All pixels are stored on the device,
    where a batch is a single gather operation.

    Arguments:
        pixels: The concatenated pixels of all images, each height x width x channels: uint8, or
            float32 in [-1, 1].
        index: One row (offset, height, width, whole) per image; `whole` is 1 for scenes.
        patches: The sides of the crops in pixels.
        scenes: The fraction of scenes in a batch with their size.
        device: The device of the batches.
        channels: The number of channels.
    """

    def __init__(
        self,
        pixels: Tensor,
        index: Tensor,
        patches: Sequence[int],
        scenes: float = 0.0,
        device: str = "cpu",
        channels: int = 3,
    ) -> None:
        self.pixels, self.channels = pixels.to(device), channels
        whole = index[:, 3] == 1
        self.scenes, self.photos = index[whole], index[~whole]
        self.side = int(self.scenes[0, 1]) if len(self.scenes) else patches[0]
        self.patches, self.fraction = patches, scenes if len(self.scenes) else 0.0
        area, short = self.photos[:, 1] * self.photos[:, 2], self.photos[:, 1:3].amin(dim=1)
        self.weights = {patch: area.double().sqrt() * (short >= patch) for patch in patches}

    @classmethod
    def of_cache(
        cls, cache: Path, patches: Sequence[int], scenes: float, device: str = "cpu"
    ) -> Data:
        """Load a file written by training/prepare.py."""
        tensors = load_file(cache)
        return cls(tensors["pixels"], tensors["index"], patches, scenes, device)

    def batch(self, size: int) -> Tensor:
        """A batch (b, c, patch, patch) in [-1, 1], in channels-last format, scenes first."""
        patch = self.patches[int(torch.randint(len(self.patches), ()))]
        size = max(round(size * (self.side / patch) ** 2), 1)
        count = int(self.fraction * size + float(torch.rand(()))) if patch == self.side else 0
        count = min(count, size)
        rows = [self.scenes[torch.randint(len(self.scenes), (count,))]] if count else []
        if count < size:
            chosen = torch.multinomial(self.weights[patch], size - count, replacement=True)
            rows.append(self.photos[chosen])
        images = self.pixels[self.addresses(torch.cat(rows).to(self.pixels.device), patch)]
        images = images.permute(0, 3, 1, 2)
        return images / 127.5 - 1 if images.dtype == torch.uint8 else images

    def addresses(self, rows: Tensor, patch: int) -> Tensor:
        """The addresses of the pixels of a random crop of each image, (b, patch, patch, c).

        Crops of photos are rotated and flipped; scenes are only mirrored left to right.
        """
        offset, height, width, whole = rows.T[:, :, None, None]
        where, turn = torch.rand(2, 3, *offset.shape, device=rows.device)
        top = (where[0] * (height - patch + 1)).long()
        left = (where[1] * (width - patch + 1)).long()
        mirror, flip, swap = turn < 0.5
        flip, swap = flip & (whole == 0), swap & (whole == 0)
        ramp = torch.arange(patch, device=rows.device)
        i, j = ramp[None, :, None], ramp[None, None, :]
        i, j = torch.where(swap, j, i), torch.where(swap, i, j)
        i, j = torch.where(flip, patch - 1 - i, i), torch.where(mirror, patch - 1 - j, j)
        first = offset + self.channels * ((top + i) * width + left + j)
        return first[..., None] + torch.arange(self.channels, device=rows.device)


def draw_sigma(size: int, mean: float, std: float, wide: float) -> Tensor:
    """Stratified noise levels, log-normal or, with probability `wide`, log-uniform."""
    u = ((torch.arange(size) + torch.rand(size)) / size)[torch.randperm(size)]
    normal = mean + std * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.99999, 0.99999))
    uniform = math.log(SIGMA_MIN) + u * math.log(SIGMA_MAX / SIGMA_MIN)
    log_sigma = torch.where(torch.rand(size) < wide, uniform, normal)
    return log_sigma.exp().clamp(SIGMA_MIN, SIGMA_MAX)

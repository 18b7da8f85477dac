"""The largest error of a denoiser without the clip of its output, over many photos and noise seeds.

Each seed denoises a random crop of the next photo, at a level drawn evenly in log sigma. Errors are
in units of the noise level: that of the worst pixel, and the root mean square of the worst block of
8x8 pixels and 3 channels, both of the estimate before it is clamped to [-1, 1].
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from prepare import images
from torch import Tensor

from reddiff.priors import EDMPrior, Prior, photo_prior

BLOCK = 8


def crop(image: Image.Image, side: int, numbers: np.random.Generator) -> Tensor:
    """A random crop `(1, 3, h, w)` in [-1, 1] of at most `side` pixels."""
    pixels = np.array(image)
    top, left = (int(numbers.integers(max(n - side, 0) + 1)) for n in pixels.shape[:2])
    part = pixels[top : top + side, left : left + side]
    return torch.from_numpy(part).permute(2, 0, 1)[None] / 127.5 - 1


@torch.no_grad()
def worst(denoise: Prior, x: Tensor, level: float, seed: int) -> tuple[float, float]:
    """The largest error over `level`, of a block and of a pixel."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    error = (denoise(x + level * noise, x.new_full((1,), level)) - x) / level
    square = F.avg_pool2d(error.square(), BLOCK).mean(1)
    return float(square.max().sqrt()), float(error.abs().max())


def photos(sources: list[Path], skipped: int) -> Iterator[Image.Image]:
    """The images of all sources, after the first `skipped`."""
    found = (image for source in sources for image in images(source))
    return (image for k, image in enumerate(found) if k >= skipped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", help="folders, .tar or .zip files")
    parser.add_argument("--weights", help="a weights file; default: that of the package")
    parser.add_argument("--side", type=int, default=128, help="of a crop")
    parser.add_argument("--levels", type=float, nargs=2, default=[0.02, 0.1], help="low and high")
    parser.add_argument("--skip", type=int, default=0, help="photos to skip")
    args = parser.parse_args()

    denoise = EDMPrior(photo_prior(args.weights).net, (3, None, None))  # without its bound
    low, high = (math.log(level) for level in args.levels)
    found: list[tuple[float, float, float, int]] = []

    def text() -> str:
        (block, _, level, seed), pixel = max(found), max((row[1], *row[2:]) for row in found)
        return (
            f"{len(found)} photos, a seed each, crops of {args.side}: worst block {block:.2f} "
            f"sigma (photo {seed}, sigma {level:.3f}), worst pixel {pixel[0]:.2f} sigma "
            f"(photo {pixel[2]}, sigma {pixel[1]:.3f})"
        )

    for seed, image in enumerate(photos(args.images, args.skip), args.skip):
        numbers = np.random.default_rng(seed)
        level = math.exp(numbers.uniform(low, high))
        found.append((*worst(denoise, crop(image, args.side, numbers), level, seed), level, seed))
        if len(found) % 50 == 0:
            print(text(), flush=True)
    if not found:
        parser.error(f"images: expected photos after the first {args.skip}, got none")
    print(text())


if __name__ == "__main__":
    main()

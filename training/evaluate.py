"""Denoising PSNR of a trained prior on some images, and a grid of unconditional samples."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reddiff.priors import EDMPrior, Prior, UNet
from reddiff.priors.named import PRIORS
from reddiff.priors.photo import BOUND
from reddiff.training.logs import denoising_psnr
from reddiff.training.tensor_files import read, select
from reddiff.training.trainer import channels_last


def denoiser(net: UNet, autocast: bool = True) -> Prior:
    """D(x; sigma) for images in [-1, 1] and one noise level per image, in the same units."""
    compute = torch.bfloat16 if autocast else None
    return EDMPrior(net, (3, None, None), compute=compute, bound=BOUND)


def load(path: Path) -> UNet:
    """The network of a bare weights file, or the moving average of a checkpoint."""
    metadata, tensors = read(path)
    net = UNet(**json.loads(metadata.get("config", "{}")))
    net.load_state_dict(select(tensors, "ema.") or select(tensors, ""))
    return channels_last(net.eval())


def read_images(sources: Sequence[Path]) -> dict[str, Tensor]:
    """Images by name, (1, 3, h, w) in [-1, 1]: files, and the PNGs of folders."""
    paths = [p for s in sources for p in (sorted(s.glob("*.png")) if s.is_dir() else [s])]
    arrays = {path.stem: np.array(Image.open(path).convert("RGB")) for path in paths}
    return {k: torch.from_numpy(a).permute(2, 0, 1)[None] / 127.5 - 1 for k, a in arrays.items()}


@torch.no_grad()
def samples(denoise: Prior, noise: Tensor, steps: int, sigma_max: float = 80.0) -> Tensor:
    """Heun's method of EDM (Algorithm 1, levels of Table 1), in 2 * steps - 1 evaluations."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (sigma_max ** (1 / 7) + ramp * (0.002 ** (1 / 7) - sigma_max ** (1 / 7))) ** 7
    sigmas = [*levels.tolist(), 0.0]
    x = noise * sigma_max
    for now, then in pairwise(sigmas):
        slope = (x - denoise(x, x.new_full((len(x),), now))) / now
        euler = x + (then - now) * slope
        if then > 0:
            end = (euler - denoise(euler, x.new_full((len(x),), then))) / then
            euler = x + (then - now) * (slope + end) / 2
        x = euler
    return x.clamp(-1, 1)


def save_grid(x: Tensor, path: Path) -> None:
    """One PNG of all images, in rows of about the square root of their number."""
    columns = math.ceil(math.sqrt(len(x)))
    rows = [torch.cat(list(row), dim=2) for row in torch.split(x.cpu(), columns)]
    rows = [torch.nn.functional.pad(r, (0, rows[0].shape[2] - r.shape[2])) for r in rows]
    pixels = ((torch.cat(rows, dim=1) + 1) * 127.5).round().to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "weights", help="a checkpoint, a bare weights file, or a prior of the library by name"
    )
    parser.add_argument("--images", type=Path, nargs="*", help="files or folders to denoise")
    parser.add_argument("--levels", type=float, nargs="*", default=[25, 50, 100], help="of 255")
    parser.add_argument("--grid", type=Path, help="the PNG of unconditional samples to write")
    parser.add_argument("--count", type=int, default=64, help="samples in the grid")
    parser.add_argument("--size", type=int, default=64, help="side of a sample")
    parser.add_argument("--steps", type=int, default=40, help="Heun steps of a sample")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fp32", action="store_true", help="no bfloat16 autocast")
    args = parser.parse_args()

    if args.weights in PRIORS:
        denoise = PRIORS[args.weights].make()
    else:
        denoise = denoiser(load(Path(args.weights)), autocast=not args.fp32)
    denoise = denoise.to(args.device)
    if args.images:
        images = read_images(args.images)
        columns = [denoising_psnr(denoise, images.values(), v, args.device) for v in args.levels]
        print("   image  " + " ".join(f"{level:>7g}" for level in args.levels))
        for name, *row in zip(images, *columns, strict=True):
            print(f"{name:>8}  " + " ".join(f"{value:7.2f}" for value in row))
        print("    mean  " + " ".join(f"{sum(c) / len(c):7.2f}" for c in columns))
    if args.grid:
        shape = (args.count, 3, args.size, args.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(args.seed))
        save_grid(samples(denoise, noise.to(args.device), args.steps), args.grid)


if __name__ == "__main__":
    main()

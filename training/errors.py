"""Measure the covariance of a prior's error (`reddiff.priors.ErrorSpectrum`).

On crops of images, or on the prior's own samples where none are given. The result is a JSON file,
or a copy of the weights file that has it in its metadata, where `photo_prior` finds it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from evaluate import samples
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from reddiff.priors import ErrorSpectrum, photo_prior
from reddiff.priors.named import PRIORS
from reddiff.training.tensor_files import read


def crops(sources: list[Path], size: int, count: int) -> Tensor:
    """Random crops in [-1, 1], `(count, 3, size, size)`; of files, and of the files of folders."""
    paths = [p for s in sources for p in (sorted(s.iterdir()) if s.is_dir() else [s])]
    numbers, found = np.random.default_rng(0), []
    for k in range(count):
        with Image.open(paths[k * len(paths) // count]) as image:
            pixels = np.array(image.convert("RGB"))
        if min(pixels.shape[:2]) < size:
            raise SystemExit(f"{paths[k]}: expected {size} pixels or more, got {pixels.shape[:2]}")
        top, left = (int(numbers.integers(n - size + 1)) for n in pixels.shape[:2])
        crop = pixels[top : top + size, left : left + size]
        found.append(torch.from_numpy(crop).permute(2, 0, 1) / 127.5 - 1)
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", help="a weights file, or a prior of the library by name")
    parser.add_argument("--images", type=Path, nargs="*", help="files or folders")
    parser.add_argument("--size", type=int, default=64, help="side of a crop or sample")
    parser.add_argument("--count", type=int, default=128, help="crops or samples")
    parser.add_argument("--out", type=Path, required=True, help="a .json or .safetensors file")
    args = parser.parse_args()

    named = args.weights in PRIORS
    prior = PRIORS[args.weights].make() if named else photo_prior(args.weights)
    if args.images:
        images = crops(args.images, args.size, args.count)
    else:
        shape = (args.count, 3, args.size, args.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        images = samples(prior, noise, steps=40)
    spectrum = ErrorSpectrum.measure(prior, images)
    for level, power in zip(spectrum.levels.tolist(), spectrum.power, strict=True):
        parts = "  ".join(f"{float(p.mean()) / level**2:.4f}" for p in power.flip(0))
        print(f"s = {level:<5g} error over s^2, by color axis: {parts}")
    if args.out.suffix == ".json":
        args.out.write_text(spectrum.to_json() + "\n")
    else:
        metadata, tensors = read(Path(args.weights))
        save_file(tensors, args.out, metadata | {"errors": spectrum.to_json()})


if __name__ == "__main__":
    main()

"""Do tiles leave seams? The jumps across tile borders against the jumps elsewhere.

A photo is denoised whole and in tiles. For every column and row boundary, the mean absolute
difference of the two pixels on either side is taken; where a tile begins or ends it is compared
with the rest. A seam would make the largest jump at tile borders stand out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from reddiff import degrade, restore
from reddiff.images.io import as_picture, read_picture
from reddiff.priors.tiled import starts


def jumps(x: Tensor, axis: int) -> Tensor:
    """The mean absolute difference across every boundary along an axis."""
    return x.diff(dim=axis).abs().transpose(axis, 0).flatten(1).mean(1)


def borders(size: int, tile: int, overlap: int) -> list[int]:
    """The boundaries where a tile begins or ends."""
    begin = starts(size, tile, overlap)
    return sorted({b - 1 for b in begin if b} | {b + tile - 1 for b in begin if b + tile < size})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="a photo larger than a tile; a synthetic field")
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--noise", type=float, default=0.1)
    args = parser.parse_args()
    if args.image is None:
        from skimage import data

        picture = as_picture(data.coffee()[:384, :512])
    else:
        picture = read_picture(args.image)
    y = degrade(picture, task="denoise", noise=args.noise)
    common = {"task": "denoise", "noise": args.noise, "steps": args.steps}
    whole = restore(y, **common, tile=4096).pixels
    tiled = restore(y, **common, tile=args.tile).pixels
    difference = tiled - whole
    print(f"{tuple(whole.shape)}, tiles of {args.tile}, {args.steps} steps")
    print(f"tiled - whole: rms {difference.square().mean().sqrt() * 255:.3f} grey levels")
    print("| axis | boundaries | largest jump at tile borders | elsewhere | same, whole picture |")
    print("|---|---|---|---|---|")
    for axis in (-2, -1):
        size = whole.shape[axis]
        at = torch.zeros(size - 1, dtype=torch.bool)
        at[borders(size, args.tile, min(64, args.tile // 4))] = True
        j, k = jumps(tiled, axis) * 255, jumps(whole, axis) * 255
        print(
            f"| {axis} | {int(at.sum())} of {size - 1} | {j[at].max():.2f} | {j[~at].max():.2f} "
            f"| {k[at].max():.2f} |"
        )


if __name__ == "__main__":
    main()

"""Seams between tiles: the jumps across tile borders against the jumps elsewhere.

A photo is denoised whole and in tiles. For every column and row boundary, the mean absolute
difference of the two pixels on either side is taken; where a tile begins or ends it is compared
with the same difference in the picture that was denoised whole. A seam would make it larger.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from common import Results, Row, Table, parser, photo, run_tables
from torch import Tensor

from reddiff import degrade, restore
from reddiff.images.io import Picture, as_picture, read_picture
from reddiff.priors.tiled import starts


def jumps(x: Tensor, axis: int) -> Tensor:
    """The mean absolute difference across every boundary along an axis, in gray levels."""
    return 255 * x.diff(dim=axis).abs().transpose(axis, 0).flatten(1).mean(1)


def borders(size: int, tile: int, overlap: int) -> list[int]:
    """The boundaries where a tile begins or ends."""
    begin = starts(size, tile, overlap)
    return sorted({b - 1 for b in begin if b} | {b + tile - 1 for b in begin if b + tile < size})


def picture_of(arguments: argparse.Namespace) -> Picture:
    """The picture, larger than a tile."""
    if arguments.image:
        return read_picture(arguments.image)
    if arguments.quick:
        return Picture(photo("coffee")[:, :128, :192])
    from skimage import data

    return as_picture(data.coffee()[:384, :512])


def measure(arguments: argparse.Namespace, tile: int, steps: int) -> Row:
    y = degrade(picture_of(arguments), task="denoise", noise=arguments.noise)
    common = {"task": "denoise", "noise": arguments.noise, "steps": steps}
    whole = restore(y, **common, tile=4096).pixels
    tiled = restore(y, **common, tile=tile).pixels
    row: Row = {"rms": float((tiled - whole).square().mean().sqrt()) * 255, "axes": []}
    for axis in (-2, -1):
        size = whole.shape[axis]
        at = torch.zeros(size - 1, dtype=torch.bool)
        at[borders(size, tile, min(64, tile // 4))] = True
        in_tiles, in_whole = jumps(tiled, axis), jumps(whole, axis)
        numbers = (in_tiles[at].max(), in_tiles[~at].max(), in_whole[at].max())
        row["axes"].append([int(at.sum()), *map(float, numbers)])
    return row


def seams(results: Results, arguments: argparse.Namespace) -> None:
    tile, steps = (64, 2) if arguments.quick else (arguments.tile, arguments.steps)
    key = {"image": str(arguments.image), "noise": arguments.noise, "quick": arguments.quick}
    row = results.cell(lambda: measure(arguments, tile, steps), tile=tile, steps=steps, **key)
    print(f"tiles of {tile}, {steps} steps; tiled - whole: rms {row['rms']:.3f} gray levels\n")
    printed = Table("axis", "borders", "largest jump there", "elsewhere", "there, in the whole")
    for axis, (count, there, elsewhere, whole) in zip("yx", row["axes"], strict=True):
        printed.row(axis, str(count), *[f"{v:.2f}" for v in (there, elsewhere, whole)])
        results.expect(f"jump at borders along {axis}, over the whole's", there / whole, most=1.1)
    print()


TABLES = {"seams": seams}


def main() -> int:
    options = parser(__doc__, TABLES, threads=torch.get_num_threads())
    options.add_argument("--image", type=Path, help="a photo larger than a tile")
    options.add_argument("--tile", type=int, default=128)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--noise", type=float, default=0.1)
    return run_tables("seams", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

"""Seams between tiles and windows: the jumps across their borders against the jumps elsewhere.

A photo is restored whole and in parts: denoised in tiles, which are blended at every evaluation,
and restored in windows of `reddiff large`, whose results are blended. For every column and row
boundary, the mean absolute difference of the two pixels on either side is taken; where a tile or
window begins or ends it is compared with the same difference in the picture that was restored
whole. A seam would make it larger.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from common import Results, Row, Table, parser, photo, run_tables
from torch import Tensor

from reddiff import degrade, restore
from reddiff.images.io import Picture, as_picture, read_picture
from reddiff.images.masks import make_mask
from reddiff.images.settings import Settings
from reddiff.large.plan import Large
from reddiff.large.restoration import restore_large
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
    return compared(tiled, whole, tile, min(64, tile // 4))


def compared(parts: Tensor, whole: Tensor, tile: int, overlap: int, scale: int = 1) -> Row:
    """How a picture restored in parts differs from the whole, and its jumps at their borders."""
    row: Row = {"rms": float((parts - whole).square().mean().sqrt()) * 255, "axes": []}
    for axis in (-2, -1):
        size = whole.shape[axis]
        at = torch.zeros(size - 1, dtype=torch.bool)
        at[[scale * (b + 1) - 1 for b in borders(size // scale, tile, overlap)]] = True
        in_parts, in_whole = jumps(parts, axis), jumps(whole, axis)
        numbers = (in_parts[at].max(), in_parts[~at].max(), in_whole[at].max())
        row["axes"].append([int(at.sum()), *map(float, numbers)])
    return row


def measure_windows(arguments: argparse.Namespace, task: str, side: int, steps: int) -> Row:
    picture, more = picture_of(arguments), dict(WINDOWED[task])
    kind, realism = more.pop("task"), more.pop("realism", None)
    y = degrade(picture, task=kind, noise=arguments.noise, **more)
    common = {"task": kind, "noise": arguments.noise, "steps": steps, "realism": realism}
    common["prior"] = arguments.prior
    with TemporaryDirectory() as place:
        folder = Path(place)
        if kind == "inpaint":
            mask = make_mask(WINDOWED[task]["mask"], picture.size)[0]
            np.save(folder / "mask.npy", mask.bool().numpy())
            more = {"mask": str(folder / "mask.npy")}
        np.save(folder / "y.npy", y.pixels.movedim(0, -1).numpy())
        settings = Settings(**common, **more, range="0,1")
        request = Large(
            source=folder / "y.npy",
            output=folder / "x.npy",
            settings=settings,
            window=side,
            overlap=side // 4,
        )
        restore_large(request)
        parts = torch.from_numpy(np.load(folder / "x.npy")).movedim(-1, 0)
        if kind == "inpaint":
            more = {"mask": mask}
        whole = restore(y, **common, **more, tile=4096).pixels
    return compared(parts, whole, side, side // 4, more.get("scale", 1))


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


WINDOWED: Mapping[str, Mapping[str, Any]] = {
    "denoise": {"task": "denoise"},
    "2x smaller": {"task": "sr", "scale": 2},
    "blur": {"task": "deblur", "kernel": "gaussian:1.6"},
    "30 % lost": {"task": "inpaint", "mask": "random:0.3"},
    "2x smaller, realism 1": {"task": "sr", "scale": 2, "realism": 1.0},
}


def windows(results: Results, arguments: argparse.Namespace) -> None:
    side, steps = (48, 2) if arguments.quick else (arguments.tile, arguments.steps)
    key = {"image": str(arguments.image), "noise": arguments.noise, "quick": arguments.quick}
    print(f"windows of {side}, overlap {side // 4}, {steps} steps\n")
    columns = ("axis", "borders", "largest jump there", "elsewhere", "there, in the whole")
    printed = Table("task", "windows - whole, rms", *columns)
    for task in list(WINDOWED)[: 2 if arguments.quick else None]:
        more = {"task": task, "side": side, "steps": steps, "prior": arguments.prior}
        row = results.cell(lambda t=task: measure_windows(arguments, t, side, steps), **more, **key)
        for axis, (count, there, elsewhere, whole) in zip("yx", row["axes"], strict=True):
            numbers = [f"{v:.2f}" for v in (there, elsewhere, whole)]
            printed.row(task, f"{row['rms']:.2f}", axis, str(count), *numbers)
            results.expect(f"{task}: jump along {axis}, over the whole's", there / whole, most=1.2)
    print()


TABLES = {"seams": seams, "windows": windows}


def main() -> int:
    options = parser(__doc__, TABLES, threads=torch.get_num_threads())
    options.add_argument("--image", type=Path, help="a photo larger than a tile")
    options.add_argument("--tile", type=int, default=128)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--noise", type=float, default=0.1)
    options.add_argument("--prior", default="photo", help="that of the windows")
    return run_tables("seams", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

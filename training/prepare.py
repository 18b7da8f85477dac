"""Pack folders and archives of images into one uint8 cache for train.py.

The cache is a safetensors file of two tensors: `pixels`, all bytes in a row (each image height x
width x 3), and `index`, one row (offset, height, width, whole) per image. `whole` is 1 for scenes,
which training uses uncropped.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def contents(source: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a folder (recursively), a .tar[.*] or a .zip, in the order of their names."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(source)), path.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                yield name, archive.read(name)
    else:
        with tarfile.open(source) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                file = archive.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
    return Path(name).suffix.lower() in SUFFIXES


def images(source: Path) -> Iterator[Image.Image]:
    """The images of a source, in a fixed order."""
    for name, data in contents(source):
        if is_image(name):
            yield Image.open(io.BytesIO(data)).convert("RGB")


def shrunk(image: Image.Image, factor: int) -> Image.Image:
    """The image at 1/factor of its size, by area averages of whole blocks."""
    return image if factor == 1 else image.reduce(factor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, nargs="*", default=[], help="images used whole")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="images to crop from")
    parser.add_argument("--scene-size", type=int, default=64, help="scenes are resized to it")
    parser.add_argument("--factors", type=int, nargs="*", default=[1, 2], help="of photos")
    parser.add_argument("--min-side", type=int, default=64, help="smaller photos are left out")
    parser.add_argument("--out", type=Path, required=True, help="the cache, .safetensors")
    args = parser.parse_args()

    pixels: list[np.ndarray] = []
    index: list[tuple[int, int, int, int]] = []
    offset = 0

    def add(image: Image.Image, whole: int) -> None:
        nonlocal offset
        array = np.asarray(image)
        pixels.append(array.reshape(-1))
        index.append((offset, array.shape[0], array.shape[1], whole))
        offset += array.size

    for source in args.scenes:
        size = (args.scene_size, args.scene_size)
        for image in images(source):
            add(image if image.size == size else image.resize(size, Image.Resampling.LANCZOS), 1)
    for source in args.photos:
        for image in images(source):
            for factor in args.factors:
                small = shrunk(image, factor)
                if min(small.size) >= args.min_side:
                    add(small, 0)
    tensors = {
        "pixels": torch.from_numpy(np.concatenate(pixels)),
        "index": torch.tensor(index, dtype=torch.int64),
    }
    temporary = args.out.with_suffix(".tmp")
    save_file(tensors, temporary)
    temporary.replace(args.out)
    scenes = sum(row[3] for row in index)
    print(f"{scenes} scenes and {len(index) - scenes} photos, {offset / 1e6:.0f} MB: {args.out}")


if __name__ == "__main__":
    main()

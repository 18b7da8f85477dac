"""Reading and validation of the images in a folder, for training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.images.folders import find
from reddiff.images.io import read_picture
from reddiff.images.io.arrays import read_array
from reddiff.images.io.reading import picture_errors
from reddiff.training.batches import Data

LEAST = 16  # smallest side in pixels
SHOWN = 5  # number of files listed in a message
HELD_OUT = 20  # one file in this many is held out
MAX_BYTES = 1 << 33  # largest size of an array


@dataclass(frozen=True, eq=False)
class Folder:
    """The images of a folder, sorted by name.

    Arguments:
        names: The names of the files.
        pictures: The images `(h, w, c)`, uint8, or float32 in [-1, 1].
    """

    names: tuple[str, ...]
    pictures: tuple[Tensor, ...]

    @property
    def channels(self) -> int:
        """The number of channels, which all images share."""
        return int(self.pictures[0].shape[2])

    def digest(self) -> str:
        """A hash of names and pixels."""
        found = sha256()
        for name, picture in zip(self.names, self.pictures, strict=True):
            found.update(f"{name} {tuple(picture.shape)}".encode())
            found.update(picture.numpy().tobytes())
        return found.hexdigest()[:16]

    def split(self) -> tuple[Folder, Folder]:
        """The images for training, and those held out: one in twenty, at least one of several."""
        n = len(self.names)
        count = max(round(n / HELD_OUT), 1) if n > 1 else 0
        held = {round((i + 0.5) * n / count) for i in range(count)} if count else set()
        held = {min(i, n - 1) for i in held}
        return self._some([i for i in range(n) if i not in held]), self._some(sorted(held))

    def data(self, patches: Sequence[int], device: str) -> Data:
        """A source of batches of crops."""
        rows, offset = [], 0
        for picture in self.pictures:
            rows.append((offset, picture.shape[0], picture.shape[1], 0))
            offset += picture.numel()
        pixels = torch.cat([p.reshape(-1) for p in self.pictures])
        channels = self.channels
        return Data(pixels, torch.tensor(rows), patches, device=device, channels=channels)

    def crops(self, side: int, count: int) -> Tensor:
        """Reproducible random crops `(count, c, side, side)` in [-1, 1]."""
        numbers, found = np.random.default_rng(0), []
        for k in range(count):
            picture = self.pictures[k % len(self.pictures)]
            top, left = (int(numbers.integers(n - side + 1)) for n in picture.shape[:2])
            found.append(_as_x(picture[top : top + side, left : left + side]))
        return torch.stack(found)

    def centers(self, most: int, side: int) -> list[Tensor]:
        """The centers `(1, c, h, w)` of the first `most` images, in [-1, 1]."""
        found = []
        for picture in self.pictures[:most]:
            height, width = (min(n, side) for n in picture.shape[:2])
            top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
            found.append(_as_x(picture[top : top + height, left : left + width])[None])
        return found

    def _some(self, indices: Sequence[int]) -> Folder:
        names = tuple(self.names[i] for i in indices)
        return Folder(names, tuple(self.pictures[i] for i in indices))


def _as_x(picture: Tensor) -> Tensor:
    x = picture.permute(2, 0, 1)
    return x / 127.5 - 1 if x.dtype == torch.uint8 else x


def read_folder(folder: Path) -> Folder:
    """Read all images and arrays in a folder and its subfolders.

    Images are gray or in color, with 8 or 16 bits or floats; alpha is ignored. A .npy file contains
    `(h, w)` or `(h, w, c)`: integers, for which white is the largest value of their type, or floats
    in [0, 1].

    Raises:
        InvalidArgument: If there are no images, or they are too small or differ in the number of
            channels.
        PictureError: If some cannot be read; the first five are listed.
    """
    require(folder.is_dir(), "FOLDER", expected="a folder of pictures", got=str(folder))
    paths = sorted(folder.rglob("*.npy"))
    try:
        paths += [path for path, _ in find([str(folder)], recursive=True).files]
    except InvalidArgument:
        expected, got = "a folder with pictures or .npy files", f"none in {folder}"
        require(len(paths) > 0, "FOLDER", expected=expected, got=got)
    paths.sort()
    pictures, failed = [], []
    for path in paths:
        try:
            pictures.append(_read(path))
        except PictureError as error:
            failed.append(error)
    if failed:
        listed = "; ".join(str(error) for error in failed[:SHOWN])
        more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        got = f"{len(failed)} of {len(paths)} that are not: {listed}{more}"
        raise PictureError(folder, expected="pictures that can be read", got=got)
    names = [str(path.relative_to(folder)) for path in paths]
    kinds = defaultdict(list)
    for name, picture in zip(names, pictures, strict=True):
        kinds[picture.shape[2]].append(name)
    parts = [f"{len(v)} of {c} ({v[0]}{', ...' * (len(v) > 1)})" for c, v in kinds.items()]
    expected = "pictures with the same number of channels"
    require(len(kinds) == 1, "FOLDER", expected=expected, got=", ".join(parts))
    small = [n for n, p in zip(names, pictures, strict=True) if min(p.shape[:2]) < LEAST]
    expected = f"pictures of {LEAST} pixels a side or more"
    got = (
        f"{len(small)} that are smaller: {', '.join(small[:SHOWN])}{', ...' * (len(small) > SHOWN)}"
    )
    require(not small, "FOLDER", expected=expected, got=got)
    if len({p.dtype for p in pictures}) > 1:
        pictures = [p / 127.5 - 1 if p.dtype == torch.uint8 else p for p in pictures]
    return Folder(tuple(names), tuple(pictures))


def _read(path: Path) -> Tensor:
    if path.suffix.lower() == ".npy":
        return _array(path)
    picture = read_picture(path)
    if picture.bits == 8 and picture.value_range is None:
        array = (picture.pixels * 255).round().to(torch.uint8)
    else:
        array = 2 * picture.pixels - 1
    return array.permute(1, 2, 0).contiguous()


def _array(path: Path) -> Tensor:
    with picture_errors(path):
        array = read_array(path, max_bytes=MAX_BYTES)
    array = array[..., None] if array.ndim == 2 else array
    expected = "integers or floats of shape (h, w) or (h, w, c)"
    if array.ndim != 3 or array.dtype.kind not in "uif" or 0 in array.shape:
        raise PictureError(path, expected=expected, got=f"{array.dtype} of shape {array.shape}")
    if array.dtype == np.uint8:
        return torch.from_numpy(array.copy())
    top = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    pixels = torch.from_numpy(array.astype(np.float64) / top)
    good = bool(pixels.isfinite().all()) and 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
    if not good:
        got = f"{float(array.min()):.4g} to {float(array.max()):.4g}"
        raise PictureError(path, expected="floats in [0, 1], or integers from 0", got=got)
    return (2 * pixels - 1).float().contiguous()

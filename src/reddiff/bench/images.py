"""The true images of a benchmark: from files, photos of the package, or draws from the prior."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff.bench.spec import Images
from reddiff.errors import InvalidArgument, require, require_name
from reddiff.images.folders import find
from reddiff.images.io import read_picture
from reddiff.priors.base import Prior
from reddiff.random import DRAWING, Keys

PHOTOS = ("astronaut", "chelsea", "coffee")


@dataclass(frozen=True, eq=False)
class Truth:
    """An image to be measured and restored.

    Arguments:
        name: Its label.
        pixels: The image `(c, h, w)` in [0, 1]; draws from a prior may have other values.
        drawn: Whether it is a draw from the prior.
    """

    name: str
    pixels: Float[Tensor, "c h w"]
    drawn: bool = False

    @property
    def seed(self) -> int:
        """A number of 63 bits that is computed from the pixels: the id of its lane.

        The pixels are rounded to 8 bits, so that rounding errors in resizing do not change it.
        """
        shape = "x".join(map(str, self.pixels.shape)).encode()
        rounded = (255 * self.pixels).round().to(torch.int16).contiguous()
        digest = sha256(shape + rounded.numpy().tobytes()).digest()
        return int.from_bytes(digest[:8], "little") >> 1


def read_truths(images: Images, limit: int | None = None) -> list[Truth]:
    """The truths in files and in the package, in the order of the spec.

    Arguments:
        images: The images of the spec.
        limit: The number of images to use, from the first.

    Raises:
        InvalidArgument: If there are none, or two have the same pixels.
        PictureError: If one cannot be read.
    """
    sources = [(str(path), path) for path, _ in find(images.files).files] if images.files else []
    names = PHOTOS if images.photos == "all" else images.photos
    for name in names:
        require_name(name, PHOTOS, "images.photos", "a photo of the package")
    expected = "photos, drawn, or files (--images FILES)"
    require(bool(sources or names), "images", expected=expected, got="none")
    counts = [n for n in (images.limit, limit) if n is not None]
    found = [(name, None) for name in names] + _labeled(sources)
    found = found[: min(counts, default=len(found))]
    truths = [Truth(name, _square(_pixels(name, path), images, name)) for name, path in found]
    _check_distinct(truths)
    return truths


def drawn_truths(prior: Prior, images: Images, limit: int | None = None) -> list[Truth]:
    """Draws from a prior with one channel. Each depends only on its number."""
    count = min(images.drawn, limit or images.drawn)
    side = images.size or 32
    shape = (prior.shape[0] or 1, *(n or side for n in prior.shape[1:]))
    like = torch.empty(1, *shape, dtype=prior.dtype or torch.float64)
    prior = copy.deepcopy(prior).cpu()
    found = []
    for i in range(count):  # one at a time, because rounding may differ in a batch
        x: Tensor = prior.sample(like, Keys(0, (i,)).at(DRAWING))  # type: ignore[operator]
        found.append(Truth(f"draw {i}", (x[0] + 1) / 2, drawn=True))
    return found


def _labeled(sources: Sequence[tuple[str, Path]]) -> list[tuple[str, Path | None]]:
    """The name of every file, with as many parent folders as are needed to make it unique."""
    depth = 1
    while len({Path(*path.parts[-depth:]) for _, path in sources}) < len(sources):
        depth += 1
    return [("/".join(path.parts[-depth:]), path) for _, path in sources]


def _pixels(name: str, path: Path | None) -> Tensor:
    if path is not None:
        return read_picture(path).pixels.expand(3, -1, -1)
    with as_file(files("reddiff").joinpath(f"assets/photos/{name}.png")) as photo:
        return read_picture(photo).pixels


def _square(pixels: Tensor, images: Images, name: str) -> Tensor:
    """The center of the picture, in the size of the spec."""
    side = images.size
    if side is None:
        return pixels.contiguous()
    h, w = pixels.shape[-2:]
    if images.fit == "resize" and min(h, w) != side:
        size = tuple(round(n * side / min(h, w)) for n in (h, w))
        pixels = interpolate(pixels[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
        h, w = size
    if min(h, w) < side:
        expected = f"at least {side}x{side} pixels (or fit: resize)"
        raise InvalidArgument(f"image {name}", expected=expected, got=f"{w}x{h}")
    top, left = (h - side) // 2, (w - side) // 2
    return pixels[:, top : top + side, left : left + side].contiguous()


def _check_distinct(truths: Sequence[Truth]) -> None:
    """Raise InvalidArgument for two images with the same pixels: their lanes would have one id."""
    seen: dict[int, str] = {}
    for truth in truths:
        other = seen.setdefault(truth.seed, truth.name)
        got = f"the same in {other} and {truth.name}"
        require(other == truth.name, "images", expected="images that differ", got=got)

"""Known images to probe a prior with, in a shape that the network accepts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from reddiff.errors import InvalidArgument, require
from reddiff.images.io import read_picture
from reddiff.priors.network_prior import NetworkPrior

PHOTOS = ("astronaut", "chelsea", "coffee")
SIDE, MULTIPLE, MOST = 64, 16, 4
FACTORS = (2, 4)  # downsampling factors for the photos of the package


def package_photos(side: int = SIDE) -> Tensor:
    """Crops of downsampled photos of the package, `(n, 3, side, side)` in [-1, 1]."""
    crops = []
    for factor in FACTORS:
        for name in PHOTOS:
            data = files("reddiff").joinpath(f"assets/photos/{name}.png").read_bytes()
            with PIL.Image.open(BytesIO(data)) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            small = avg_pool2d(pixels[None] / 127.5 - 1, factor)
            crops.append(_fitted(small, (side, side)))
    return torch.cat(crops)[[0, 2, 4, 1]]


def known_images(prior: NetworkPrior, images: Tensor | None) -> Tensor:
    """Up to four images `(n, *shape)` that a prior accepts, with its dtype and on its device.

    Arguments:
        prior: The prior.
        images: Images of the user, `(n, c, h, w)` or of another shape that the prior accepts; by
            default photos of the package. They are cropped, and converted between gray and RGB.

    Raises:
        InvalidArgument: If there are no images, or they cannot be converted.
    """
    place = next((p.device for p in prior.parameters()), torch.device("cpu"))
    dtype = prior.dtype or torch.float32
    if images is not None:
        real = isinstance(images, Tensor) and images.is_floating_point() and images.ndim > 1
        got = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else ""
        expected = "floating-point numbers, a batch of x"
        require(real, "images", expected=expected, got=got or type(images).__name__)
        good = len(images) > 0 and bool(images.isfinite().all())
        require(good, "images", expected="one or more, and finite", got=f"{len(images)}")
        images = images.detach()[:MOST]
        small = all(n <= SIDE for n in images.shape[2:])
        if small and prior.accepts(tuple(images.shape[1:])):
            return images.to(place, dtype)
    expected = f"images of shape {prior.shape}"
    if len(prior.shape) != 3:
        raise InvalidArgument("images", expected=expected, got="none")
    found = package_photos() if images is None else images
    require(found.ndim == 4, "images", expected=expected, got=f"shape {tuple(found.shape)}")
    channels = prior.shape[0]
    if channels is not None and channels != found.shape[1]:
        if {channels, found.shape[1]} != {1, 3}:
            got = "photos in RGB" if images is None else f"{found.shape[1]} channels"
            raise InvalidArgument("images", expected=expected, got=got)
        found = found.mean(1, keepdim=True) if channels == 1 else found.expand(-1, 3, -1, -1)
    sides = [n or _side(m) for n, m in zip(prior.shape[1:], found.shape[2:], strict=True)]
    return _fitted(found, (sides[0], sides[1])).to(place, dtype).contiguous()


def _side(n: int) -> int:
    """The side of a crop: a multiple of 16 if the image is large enough."""
    return min(n, SIDE) // MULTIPLE * MULTIPLE or n


def _fitted(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """The centers of images, which are enlarged if they are too small."""
    height, width = images.shape[2:]
    factor = max(sides[0] / height, sides[1] / width)
    if factor > 1:
        size = [max(round(n * factor), m) for n, m in zip((height, width), sides, strict=True)]
        images = interpolate(images, size=size, mode="bilinear", align_corners=False)
        height, width = images.shape[2:]
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    return images[..., top : top + sides[0], left : left + sides[1]]


def read_images(paths: Sequence[Path]) -> Tensor:
    """The images of the first four files, cropped to a common size, in [-1, 1].

    Raises:
        PictureError: If a file cannot be read.
        InvalidArgument: If some are gray and others in color.
    """
    pictures = [2 * read_picture(path).pixels - 1 for path in paths[:MOST]]
    channels = {len(p) for p in pictures}
    require(len(channels) == 1, "images", expected="all gray, or all in color", got="both")
    height, width = (min(p.shape[i] for p in pictures) for i in (1, 2))
    return torch.cat([_fitted(p[None], (height, width)) for p in pictures])

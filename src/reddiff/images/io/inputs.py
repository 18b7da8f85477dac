"""Masks and blur kernels, from files and from descriptions such as `gaussian:1.6`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff.errors import PictureError, require
from reddiff.images.io.arrays import read_array
from reddiff.images.io.kernels import MAX_SIDE, Kernel, as_kernel
from reddiff.images.io.openers import check_regular
from reddiff.images.io.picture import Picture
from reddiff.images.io.reading import picture_errors, picture_size, read_picture
from reddiff.images.words import Spoken, integers, numbers, split_word, spoken
from reddiff.operators.blur.camera_shake import levin_psf, shake_psf
from reddiff.operators.blur.disk import disk_psf
from reddiff.operators.blur.psf import gaussian_psf, motion_psf, uniform_psf

MAX_BYTES = 16 * (MAX_SIDE + 1) ** 2  # of an array of a kernel

MEMBER = re.compile(r"(.+\.npz):([^:/\\]+)", re.IGNORECASE)

# Largest size of a mask that is resized: per pixel of the picture, or in pixels if that is more.
MAX_FITTED, SMALL = 64, 16_000_000


@dataclass(frozen=True)
class KernelWord:
    """A kind of kernel with a name, such as `motion:15,30`.

    Arguments:
        form: The name and the names of its numbers.
        make: Makes the kernel from the numbers.
        largest: Upper limit of the first number, which sets the size of the kernel.
        whole: Whether the numbers are integers.
    """

    form: str
    make: Callable[..., Tensor]
    largest: float
    whole: bool = False


WORDS = {
    "gaussian": KernelWord("gaussian:SIGMA", gaussian_psf, MAX_SIDE // 8),
    "motion": KernelWord("motion:LENGTH,ANGLE", motion_psf, MAX_SIDE - 2),
    "uniform": KernelWord("uniform:SIDE", uniform_psf, MAX_SIDE),
    "disk": KernelWord("disk:RADIUS", disk_psf, MAX_SIDE // 2),
    "shake": KernelWord("shake:SIDE,SEED", shake_psf, MAX_SIDE, whole=True),
    "levin": KernelWord("levin:NUMBER", levin_psf, math.inf, whole=True),
}


def read_mask(path: str | Path, size: tuple[int, int], fit: bool = False) -> Float[Tensor, "1 h w"]:
    """A mask from a picture: 1 (kept) where it is at least half as bright as white, else 0.

    Transparent pixels count as black.

    Arguments:
        path: A picture in any format that `read_picture` reads.
        size: The height and the width of the picture to be restored.
        fit: Resize a mask of another size, by nearest neighbors.

    Raises:
        PictureError: If the file cannot be read, or the mask has another size.
    """
    if picture_size(path) != tuple(size) and not fit:
        (h, w), (mask_h, mask_w) = size, picture_size(path)
        expected = f"a mask of {w}x{h} pixels (width x height), as the picture has"
        raise PictureError(path, expected=expected, got=f"one of {mask_w}x{mask_h}")
    picture = read_picture(path, max_pixels=max(MAX_FITTED * math.prod(size), SMALL))
    mask = mask_of(picture)
    if picture.size != tuple(size):
        mask = interpolate(mask[None], size=tuple(size), mode="nearest-exact")[0]
    return mask


def mask_of(picture: Picture) -> Float[Tensor, "1 h w"]:
    """1 where a picture is opaque and at least half as bright as white, else 0."""
    bright = picture.pixels.mean(0, keepdim=True)
    return (bright * (1 if picture.alpha is None else picture.alpha) >= 0.5).float()


def kernel_of(picture: Picture) -> Kernel:
    """The blur kernel in a picture; transparent pixels are zero."""
    opaque = 1.0 if picture.alpha is None else picture.alpha[0]
    return as_kernel(picture.pixels.double().mean(0) * opaque, scaled=False)


def read_kernel(source: str | Path) -> Kernel:
    """A blur kernel from a file or a description, with odd sides and sum 1.

    See `as_kernel` for the center and the orientation.

    Arguments:
        source: `gaussian:SIGMA`, `motion:LENGTH,ANGLE`, `uniform:SIDE` or `disk:RADIUS`, in pixels
            and degrees counterclockwise; `shake:SIDE,SEED`, a random camera shake; `levin:NUMBER`,
            one of the eight shakes of Levin et al. 2009; a .npy file; a .npz file,
            `file.npz:name` if it holds several arrays; or a picture, where black and transparent
            pixels are zero.

    Raises:
        InvalidArgument: If the description is invalid.
        PictureError: If the file cannot be read, or is not a kernel: not two axes, a side above
            1023, complex, not finite, or with a sum that is not well above zero.
    """
    found = spoken("kernel", str(source), WORDS)
    if found is not None:
        return Kernel(_worded(found), 1.0)
    file, name = split_member(str(source))
    path = Path(file)
    with picture_errors(path):
        check_regular(path)
        if path.suffix.lower() in (".npy", ".npz"):
            kernel = as_kernel(read_array(path, name, max_bytes=MAX_BYTES))
        else:
            picture = read_picture(path, max_pixels=MAX_SIDE**2)
            kernel = kernel_of(picture)
    return kernel


def split_member(text: str) -> tuple[str, str | None]:
    """The file in a text, and the array of it that `file.npz:name` names; None without one."""
    match = MEMBER.fullmatch(text)
    return (match[1], match[2]) if match else (text, None)


def _worded(found: Spoken[KernelWord]) -> Float64[Tensor, "h w"]:
    """The kernel of a word and its numbers."""
    word, text = found.entry, found.text
    parse = integers if word.whole else numbers
    values = parse("kernel", word.form, text)
    kind, names = split_word(word.form)
    expected = f"{(names or '').partition(',')[0]} of at most {word.largest} pixels"
    require(values[0] <= word.largest, "kernel", expected=expected, got=f"{kind}:{text}")
    return word.make(*values)

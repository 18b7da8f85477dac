"""Masks and blur kernels, from files and from words."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.operators.psf import disk_psf, gaussian_psf, motion_psf, uniform_psf
from reddiff.operators.shake import levin_psf, shake_psf
from reddiff.pictures.reading import check_regular, read_picture, reading

MAX_SIDE = 1023  # pixels, of kernels: larger files are some other picture


def _whole(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function of integers, given as floats."""

    def made(*numbers: float) -> Tensor:
        whole = all(number.is_integer() for number in numbers)
        require(whole, "kernel", expected="whole numbers after the colon", got=numbers)
        return make(*(int(number) for number in numbers))

    return made


WORDS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...], float]] = {
    "gaussian": (gaussian_psf, ("SIGMA",), MAX_SIDE // 8),
    "motion": (motion_psf, ("LENGTH", "ANGLE"), MAX_SIDE - 2),
    "uniform": (uniform_psf, ("SIDE",), MAX_SIDE),
    "disk": (disk_psf, ("RADIUS",), MAX_SIDE // 2),
    "shake": (_whole(shake_psf), ("SIDE", "SEED"), MAX_SIDE),
    "levin": (_whole(levin_psf), ("NUMBER",), math.inf),
}


class Kernel(NamedTuple):
    """A point spread function of sum 1, and what it summed to as it was given.

    Arguments:
        psf: `(kh, kw)` with odd sides, in float64.
        total: Its sum before it was divided by it; 1 for pictures, whose scale means nothing.
    """

    psf: Tensor
    total: float

    @property
    def normalised(self) -> bool:
        """Whether it did not sum to 1: blurring with it would have changed the brightness."""
        return abs(self.total - 1) > 1e-4


def read_mask(path: str | Path, size: tuple[int, int], fit: bool = False) -> Float[Tensor, "1 h w"]:
    """A mask from a picture: 1 (kept) where it is at least half as bright as white, else 0.

    Transparent pixels count as black.

    Arguments:
        path: A picture in any format that `read_picture` knows.
        size: The height and the width of the picture it is for.
        fit: Whether a mask of another size is resized, each pixel taking its nearest one.

    Raises:
        PictureError: If the file cannot be read, or the mask is of another size.
    """
    picture = read_picture(path)
    bright = picture.pixels.mean(0, keepdim=True)
    if picture.alpha is not None:
        bright = bright * picture.alpha
    mask = (bright >= 0.5).to(torch.float32)
    if picture.size != tuple(size):
        if not fit:
            (h, w), (mask_h, mask_w) = size, picture.size
            expected = f"a mask of {w}x{h} pixels (width x height), as the picture has"
            raise PictureError(path, expected=expected, got=f"one of {mask_w}x{mask_h}")
        mask = interpolate(mask[None], size=tuple(size), mode="nearest-exact")[0]
    return mask


def read_kernel(source: str | Path) -> Kernel:
    """A blur kernel from a file or from words, with odd sides and sum 1.

    Kernels of even sides get a row or column of zeros at the bottom or right, so that the centre
    is entry n // 2 of either side.

    Arguments:
        source: `gaussian:SIGMA`, `motion:LENGTH,ANGLE`, `uniform:SIDE` or `disk:RADIUS`, in pixels
            and degrees counterclockwise; `shake:SIDE,SEED`, a random camera shake; `levin:NUMBER`,
            one of the eight shakes of Levin et al. 2009; a .npy file; a .npz file,
            `file.npz:name` if it holds several arrays; or a picture, where black is zero.

    Raises:
        InvalidArgument: If the words cannot be used.
        PictureError: If the file cannot be read, or holds no kernel: not two axes, larger than
            1023 a side, not finite, or of a sum that is not well above zero.
    """
    word, _, numbers = str(source).partition(":")
    if word in WORDS:
        return Kernel(_spoken(str(source), word, numbers), 1.0)
    file, name = str(source), None
    if match := re.fullmatch(r"(.+\.npz):([^:/\\]+)", file, re.IGNORECASE):
        file, name = match.groups()
    path = Path(file)
    with reading(path):
        check_regular(path)
        if path.suffix.lower() in (".npy", ".npz"):
            psf = torch.from_numpy(_array(path, name).astype(np.float64))
        else:
            psf = read_picture(path).pixels.double().mean(0)
        total = _check(path, psf)
    picture = path.suffix.lower() not in (".npy", ".npz")
    odd = pad(psf / total, (0, 1 - psf.shape[1] % 2, 0, 1 - psf.shape[0] % 2))
    return Kernel(odd, 1.0 if picture else total)


def _spoken(source: str, word: str, text: str) -> Float64[Tensor, "h w"]:
    """The kernel that words name."""
    make, names, largest = WORDS[word]
    expected = f"{word}:{','.join(names)}"
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgument("kernel", expected=expected, got=source) from None
    good = len(numbers) == len(names) and all(math.isfinite(number) for number in numbers)
    require(good, "kernel", expected=expected, got=source)
    small = numbers[0] <= largest
    require(small, "kernel", expected=f"{names[0]} of at most {largest} pixels", got=source)
    return make(*numbers)


def _array(path: Path, name: str | None) -> NDArray[np.generic]:
    """The array in a .npy file, or the one of that name, or the only one, in a .npz file."""
    if path.suffix.lower() == ".npy":
        _check_bytes(path, path.stat().st_size)
        return np.asarray(np.load(path, allow_pickle=False))
    with zipfile.ZipFile(path) as archive:
        _check_bytes(path, max((entry.file_size for entry in archive.infolist()), default=0))
    with np.load(path, allow_pickle=False) as arrays:
        names = ", ".join(arrays.files) or "none"
        if name is None and len(arrays.files) == 1:
            name = arrays.files[0]
        if name is None:
            expected = f"one array, or {path}:NAME"
            raise PictureError(path, expected=expected, got=f"the arrays {names}")
        if name not in arrays.files:
            raise PictureError(path, expected=f"one of the arrays {names}", got=name)
        return np.asarray(arrays[name])


def _check_bytes(path: Path, size: int) -> None:
    if size > 16 * (MAX_SIDE + 1) ** 2:
        raise PictureError(path, expected="a blur kernel", got=f"an array of {size} bytes")


def _check(path: Path, psf: Tensor) -> float:
    """The sum of a kernel that is one."""
    shape = tuple(psf.shape)
    if len(shape) != 2 or not 0 < min(shape) <= max(shape) <= MAX_SIDE:
        expected = f"a kernel of two axes, at most {MAX_SIDE} pixels each"
        raise PictureError(path, expected=expected, got=f"shape {shape}")
    if not bool(psf.isfinite().all()):
        raise PictureError(path, expected="a kernel of finite values", got="nan or inf")
    total, size = float(psf.sum()), float(psf.abs().sum())
    if total <= 1e-3 * size:
        expected = "a kernel that can be divided by its sum"
        raise PictureError(path, expected=expected, got=f"a sum of {total:.4g}")
    return total

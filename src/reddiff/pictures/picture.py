"""A picture in memory: its pixels in [0, 1], and what belongs to its file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.pictures.exif import cleaned, turned

SLACK = 1e-5  # how far beyond [0, 1] rounding may carry floats
TOP = {8: 255, 16: 65535}


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels, alpha, and what a file of them keeps.

    Arguments:
        pixels: In [0, 1], gray `(1, h, w)` or RGB `(3, h, w)`, as encoded: no profile is applied.
        alpha: The opacity in [0, 1] `(1, h, w)`, not multiplied into the pixels; or nothing.
        bits: 8 or 16 bits per channel, in its file.
        icc: The colour profile.
        exif: What is known of the photo, as an EXIF block that begins with `Exif` and two zeros.
            The pixels are upright already: it holds no orientation.
        format: The format of its file, PNG, JPEG, WEBP or TIFF, if it came from one.
        orientation: How that file holds it, as EXIF numbers it: `pixels` are upright.

    Raises:
        InvalidArgument: If the shapes, the dtypes or the bits are others.
    """

    pixels: Float32[Tensor, "c h w"]
    alpha: Float32[Tensor, "1 h w"] | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    format: str | None = None
    orientation: int = 1

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        good = len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0
        require(good, "pixels", expected="shape (1, h, w) or (3, h, w)", got=f"shape {shape}")
        require(self.bits in TOP, "bits", expected="8 or 16", got=self.bits)
        if self.alpha is not None:
            got = tuple(self.alpha.shape)
            good = got == (1, *self.size)
            require(good, "alpha", expected=f"shape {(1, *self.size)}", got=f"shape {got}")
        for name, value in (("pixels", self.pixels), ("alpha", self.alpha)):
            good = value is None or value.dtype == torch.float32
            require(good, name, expected="float32", got=getattr(value, "dtype", None))

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        height, width = self.pixels.shape[1:]
        return height, width

    def to_numpy(self, bits: int | None = None) -> NDArray[Any]:
        """uint8 or uint16 `(h, w)` if gray without alpha, else `(h, w, c)`, alpha last.

        Pixels are rounded to the nearest level; those beyond [0, 1] become black or white.

        Arguments:
            bits: 8 or 16; `bits` of the picture by default.

        Raises:
            InvalidArgument: If `bits` is another number, or pixels are not finite.
        """
        bits = self.bits if bits is None else bits
        require(bits in TOP, "bits", expected="8 or 16", got=bits)
        planes = self.pixels if self.alpha is None else torch.cat([self.pixels, self.alpha])
        planes = planes.detach().cpu()
        require(bool(planes.isfinite().all()), "pixels", expected="finite values", got="nan or inf")
        levels = (planes.clamp(0, 1) * TOP[bits]).round().movedim(0, -1).numpy()
        array = levels.astype(np.uint8 if bits == 8 else np.uint16, order="C")
        return array[..., 0] if len(planes) == 1 else array

    def to_pil(self) -> PIL.Image.Image:
        """A PIL image of 8 bits, with profile and EXIF: PIL has no 16-bit RGB."""
        image = PIL.Image.fromarray(self.to_numpy(8))
        if self.icc is not None:
            image.info["icc_profile"] = self.icc
        if self.exif is not None:
            image.info["exif"] = self.exif
        return image


Image = Picture | PIL.Image.Image | Tensor | NDArray[Any]  # what `as_picture` takes


def as_picture(image: object, *, beyond: float = SLACK) -> Picture:
    """The picture that an array, a PIL image or a tensor is.

    Arguments:
        image: A numpy array `(h, w)` or `(h, w, c)` of uint8, uint16 or floats in [0, 1]; a torch
            tensor `(c, h, w)` of floats in [0, 1]; a PIL image of 8 bits, or 16-bit gray; or a
            picture, which is returned. c is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
            Floats count as 16 bits, so that nothing is lost when they are written.
        beyond: How far floats may lie outside [0, 1]. What is further than rounding stays there.

    Raises:
        InvalidArgument: If it is anything else, naming the type, shape, dtype or range that came.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, PIL.Image.Image):
        return from_pil(image)
    if isinstance(image, Tensor):
        floats = image.is_floating_point()
        expected = "a tensor of floats in [0, 1]"
        require(floats, "image", expected=expected, got=f"a tensor of {image.dtype}")
        shape = tuple(image.shape)
        good = len(shape) == 3 and 1 <= shape[0] <= 4 and min(shape) > 0
        expected = "a tensor of shape (c, h, w) with c = 1, 2, 3 or 4"
        require(good, "image", expected=expected, got=f"shape {shape}")
        return _from_floats(image.detach().cpu(), beyond)
    if isinstance(image, np.ndarray):
        return from_array(image, beyond)
    expected = "a numpy array, a PIL image, a torch tensor or a Picture"
    raise InvalidArgument("image", expected=expected, got=f"a {type(image).__name__}")


def from_array(array: NDArray[Any], beyond: float = SLACK) -> Picture:
    """The picture of an array `(h, w)` or `(h, w, c)`; see `as_picture`."""
    shape = array.shape
    good = array.ndim == 2 or (array.ndim == 3 and 1 <= shape[-1] <= 4)
    expected = "an array of shape (h, w), or (h, w, c) with c = 1, 2, 3 or 4"
    require(good and min(shape) > 0, "image", expected=expected, got=f"shape {shape}")
    planes = np.moveaxis(array if array.ndim == 3 else array[..., None], -1, 0)
    if array.dtype.kind == "f":
        return _from_floats(torch.from_numpy(planes.astype(np.float64)), beyond)
    bits = {("u", 1): 8, ("u", 2): 16}.get((array.dtype.kind, array.dtype.itemsize))
    if bits is None:
        expected = "an array of uint8, uint16 or floats in [0, 1]"
        raise InvalidArgument("image", expected=expected, got=f"an array of {array.dtype}")
    levels = torch.from_numpy(planes.astype(np.float32, order="C"))
    return _split(levels.div_(TOP[bits]), bits)


def from_pil(image: PIL.Image.Image) -> Picture:
    """The picture of a PIL image, upright, with its profile and EXIF; see `as_picture`."""
    array = np.asarray(_plain(image))  # loads it: only then is all of EXIF known
    exif, orientation = cleaned(image.getexif)
    picture = from_array(turned(array, orientation))
    icc = matching(image.info.get("icc_profile"), len(picture.pixels))
    return replace(picture, icc=icc, exif=exif, format=image.format, orientation=orientation)


def matching(icc: bytes | None, channels: int) -> bytes | None:
    """A colour profile if it is for this number of channels, else nothing."""
    spaces = {1: b"GRAY", 3: b"RGB "}
    return icc if icc is not None and icc[16:20] == spaces[channels] else None


def _plain(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image in mode L, LA, RGB, RGBA or I;16."""
    mode, clear = image.mode, image.has_transparency_data
    if mode.startswith("I;16"):
        return image
    if mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if clear or mode in ("LA", "La") else "L")
    if mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        return image.convert("RGBA" if clear or mode in ("PA", "RGBA", "RGBa") else "RGB")
    expected = "gray, RGB or palette colours, with or without alpha, of 8 or 16 bits"
    raise InvalidArgument("image", expected=expected, got=f"mode {mode}")


def _from_floats(planes: Tensor, beyond: float) -> Picture:
    """The picture of floats `(c, h, w)` in [0, 1], or a little beyond."""
    require(bool(planes.isfinite().all()), "image", expected="finite values", got="nan or inf")
    low, high = float(planes.min()), float(planes.max())
    if low < -beyond or high > 1 + beyond:
        count = int(((planes < -beyond) | (planes > 1 + beyond)).sum())
        of = f"{count} of {planes.numel()} values beyond"
        got = f"{low:.6g} to {high:.6g} ({of}; {_advice(low, high)})"
        raise InvalidArgument("image", expected="floats in [0, 1]", got=got)
    if low < -SLACK or high > 1 + SLACK:
        return _split(planes.float(), 16)
    return _split(planes.float().clamp(0, 1), 16)


def _advice(low: float, high: float) -> str:
    """How values in other units become pixels."""
    if low >= -25 and 2 < high <= 300:
        return "divide those of 8 bits by 255"
    if low >= -6000 and 300 < high <= 70000:
        return "divide by the white level, 65535 of 16 bits"
    return "rescale; clip what is broken, or mask it (task inpaint)"


def _split(planes: Tensor, bits: int) -> Picture:
    if len(planes) in (2, 4):
        return Picture(planes[:-1].contiguous(), planes[-1:].contiguous(), bits)
    return Picture(planes.contiguous(), None, bits)

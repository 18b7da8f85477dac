"""Pictures from arrays, tensors and PIL images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import InvalidArgument, require
from reddiff.images.io.exif import cleaned, turned
from reddiff.images.io.inks import to_rgb
from reddiff.images.io.picture import SLACK, TOP, Picture


def as_picture(image: object, *, beyond: float = SLACK) -> Picture:
    """Convert an array, a PIL image or a tensor to a picture.

    Arguments:
        image: A numpy array `(h, w)` or `(h, w, c)` of uint8, uint16 or floats in [0, 1]; a torch
            tensor `(c, h, w)` of floats in [0, 1]; a PIL image with 8 bits (CMYK becomes RGB), or
            16-bit gray; or a picture, which is returned. c is 1 (gray), 2 (gray, alpha), 3 (RGB) or
            4 (RGB, alpha). Pictures from floats have 16 bits.
        beyond: How far floats may lie outside [0, 1]. Values are clipped only if they are outside
            by a rounding error.

    Raises:
        InvalidArgument: For anything else. The message has the type, shape, dtype or range.
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
    image.load()  # needed for the complete EXIF
    exif, orientation = cleaned(image.getexif)
    found = stored(image, orientation, image.info.get("icc_profile"))
    return replace(found, exif=exif, format=image.format)


def stored(image: PIL.Image.Image, orientation: int, icc: bytes | None) -> Picture:
    """The picture of a PIL image, turned upright, with this color profile."""
    notes: tuple[str, ...] = ()
    if image.mode == "CMYK":
        image, note = to_rgb(image, icc)
        notes = (note,)
    picture = from_array(turned(np.asarray(_plain(image)), orientation))
    icc = matching(icc, len(picture.pixels))
    return replace(picture, icc=icc, orientation=orientation, notes=notes)


def matching(icc: bytes | None, channels: int) -> bytes | None:
    """The color profile if it is for this number of channels, else None."""
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
    expected = "gray, RGB or palette colors, with or without alpha, of 8 or 16 bits"
    raise InvalidArgument("image", expected=expected, got=f"mode {mode}")


def _from_floats(planes: Tensor, beyond: float) -> Picture:
    """The picture of floats `(c, h, w)` in [0, 1], or within `beyond` of it."""
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
    """How to rescale values in other units."""
    if low >= -25 and 2 < high <= 300:
        return "divide 8-bit values by 255"
    if low >= -6000 and 300 < high <= 70000:
        return "divide by the white level, 65535 for 16 bits"
    return "rescale; clip broken pixels, or mask them (task inpaint)"


def _split(planes: Tensor, bits: int) -> Picture:
    if len(planes) in (2, 4):
        return Picture(planes[:-1].contiguous(), planes[-1:].contiguous(), bits)
    return Picture(planes.contiguous(), None, bits)

"""A picture in memory: pixels in [0, 1] and metadata."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from reddiff.errors import require
from reddiff.images.io.metadata import Metadata
from reddiff.images.words import numbers

SLACK = 1e-5  # rounding error of floats in [0, 1]
TOP = {8: 255, 16: 65535}
FLOATS = 32  # bits per channel of files with floats


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """Pixels, alpha and the metadata of a file.

    Arguments:
        pixels: In [0, 1], gray `(1, h, w)` or RGB `(3, h, w)`, upright. The color profile is not
            applied.
        alpha: Opacity in [0, 1] `(1, h, w)`, not premultiplied; or None.
        bits: Bits per channel in the file: 8 or 16; 32 for floats.
        icc: Color profile.
        exif: EXIF block, beginning with `Exif` and two zeros, without orientation.
        format: Format of the file: PNG, JPEG, WEBP, TIFF, BMP, GIF or PPM; None if there is none.
        orientation: EXIF orientation of the file.
        value_range: Values of black and white in the file, if not 0 and the largest level. Files of
            `bits` bits are written with these.
        metadata: Resolution, gamma, XMP and texts.
        notes: Notes on how the picture was read, in sentences.

    Raises:
        InvalidArgument: If a shape, a dtype or the bits are not as stated.
    """

    pixels: Float32[Tensor, "c h w"]
    alpha: Float32[Tensor, "1 h w"] | None = None
    bits: int = 8
    icc: bytes | None = None
    exif: bytes | None = None
    format: str | None = None
    orientation: int = 1
    value_range: tuple[float, float] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        good = len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0
        require(good, "pixels", expected="shape (1, h, w) or (3, h, w)", got=f"shape {shape}")
        require(self.bits in (*TOP, FLOATS), "bits", expected="8, 16 or 32", got=self.bits)
        check_range(self.value_range)
        if self.alpha is not None:
            got = tuple(self.alpha.shape)
            good = got == (1, *self.size)
            require(good, "alpha", expected=f"shape {(1, *self.size)}", got=f"shape {got}")
        for name, value in (("pixels", self.pixels), ("alpha", self.alpha)):
            good = value is None or value.dtype == torch.float32
            require(good, name, expected="float32", got=getattr(value, "dtype", None))

    def __repr__(self) -> str:
        """Size and kind, without the pixels."""
        height, width = self.size
        kind = "gray" if len(self.pixels) == 1 else "RGB"
        kind += ", alpha" if self.alpha is not None else ""
        source = f", from {self.format}" if self.format else ""
        return f"Picture({width}x{height}, {kind}, {self.bits} bits{source})"

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        height, width = self.pixels.shape[1:]
        return height, width

    def to_numpy(self, bits: int | None = None) -> NDArray[Any]:
        """An array of uint8, uint16 or float32: `(h, w)` if gray without alpha, else `(h, w, c)`.

        Alpha is the last channel. Integers are rounded to the nearest level, and pixels outside [0,
        1] become black or white. With the picture's own bits, its `value_range` is applied.

        Arguments:
            bits: 8 or 16, or 32 for floats; `bits` of the picture by default.

        Raises:
            InvalidArgument: If `bits` is another number, or pixels are not finite.
        """
        own = bits is None or bits == self.bits
        bits = self.bits if bits is None else bits
        require(bits in (*TOP, FLOATS), "bits", expected="8, 16 or 32", got=bits)
        pixels, alpha = self.pixels.detach().cpu(), self.alpha
        require(bool(pixels.isfinite().all()), "pixels", expected="finite values", got="nan or inf")
        top = TOP.get(bits, 1)
        low, high = self.value_range if own and self.value_range is not None else (0, top)
        levels = low + (high - low) * (pixels if bits == FLOATS else pixels.clamp(0, 1)).double()
        if alpha is not None:
            levels = torch.cat([levels, top * alpha.detach().cpu().clamp(0, 1).double()])
        if bits in TOP:
            levels = levels.round().clamp(0, top)
        kinds = {8: np.uint8, 16: np.uint16, FLOATS: np.float32}
        array = levels.movedim(0, -1).numpy().astype(kinds[bits], order="C")
        return array[..., 0] if len(levels) == 1 else array

    def save(self, path: str | Path, *, quality: int = 95, force: bool = False) -> None:
        """Write the picture with all its bits and metadata; see `write_picture`.

        Arguments:
            path: The file; its suffix is its format. PNG and TIFF keep 16 bits.
            quality: Of JPEG and WebP, 1 to 100.
            force: Whether a file that exists may be replaced.

        Raises:
            PictureError: If it cannot be written, or exists without `force`.
        """
        from reddiff.images.io.writing import write_picture

        write_picture(path, self, quality=quality, force=force)

    def to_pil(self) -> PIL.Image.Image:
        """A PIL image, with profile, EXIF and resolution.

        PIL has 16 bits for gray only: color and alpha become 8 bits, with a warning if they had
        more. `save` keeps 16 bits.
        """
        deep = self.bits > 8
        if deep and (len(self.pixels) == 3 or self.alpha is not None):
            message = "to_pil() reduces 16 bits per channel to 8; picture.save(path) keeps 16"
            warnings.warn(message, UserWarning, stacklevel=2)
            deep = False
        image = PIL.Image.fromarray(self.to_numpy(16 if deep else 8))
        if self.icc is not None:
            image.info["icc_profile"] = self.icc
        if self.exif is not None:
            image.info["exif"] = self.exif
        if self.metadata.dpi is not None:
            image.info["dpi"] = self.metadata.dpi
        return image


def as_range(text: str | tuple[float, float] | None) -> tuple[float, float] | None:
    """The range in a text `LOW,HIGH` or a pair; None for None.

    Raises:
        InvalidArgument: If it is not a range.
    """
    if not isinstance(text, str):
        check_range(text)
        return text
    low, high = numbers("range", "LOW,HIGH (two finite numbers)", text)
    check_range((low, high))
    return low, high


def check_range(value_range: tuple[float, float] | None) -> None:
    """Validate a range of values.

    Raises:
        InvalidArgument: If it is not two finite numbers, the lower first.
    """
    if value_range is not None:
        good = len(value_range) == 2 and all(math.isfinite(v) for v in value_range)
        good = good and value_range[0] < value_range[1]
        expected = "two finite numbers, LOW below HIGH"
        require(good, "range", expected=expected, got=value_range)


Image = Picture | PIL.Image.Image | Tensor | NDArray[Any]  # what `as_picture` takes

"""EXIF: selecting the tags to keep, and applying the orientation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

# The other tags of the first directory describe the layout of a file.
KEPT = (
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.WhitePoint,
    ExifTags.Base.PrimaryChromaticities,
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
# Sizes that may no longer be right, and blocks with absolute offsets.
DROPPED = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.MakerNote,
    ExifTags.IFD.Interop,
)
PREFIX = b"Exif\0\0"


def cleaned(get: Callable[[], Image.Exif]) -> tuple[bytes | None, int]:
    """The EXIF to keep, as a block without orientation, and the orientation.

    Description, camera, author, times, exposure and location are kept; thumbnails, maker notes and
    the layout of the file are dropped. Damaged EXIF is dropped as a whole.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's warnings about damage
            exif = get()
            orientation = exif.get(ExifTags.Base.Orientation, 1)
            return _select(exif), orientation if orientation in range(1, 9) else 1
    except Exception:  # noqa: BLE001 - the parser raises anything on damaged data
        return None, 1


def loaded(block: bytes) -> Image.Exif:
    """Parse an EXIF block."""
    exif = Image.Exif()
    exif.load(block)
    return exif


def turned(array: NDArray[Any], orientation: object) -> NDArray[Any]:
    """Rotate an array `(h, w, ...)` upright by its EXIF orientation; unknown values are ignored."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _select(exif: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in KEPT:
        if tag in exif:
            kept[tag] = exif[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        content = {k: v for k, v in exif.get_ifd(directory).items() if k not in DROPPED}
        if content:
            kept[directory] = content
    return kept.tobytes() if len(kept) else None

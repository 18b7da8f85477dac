"""TIFF, read by tifffile: Pillow drops half of 16-bit colours, and libtiff writes to stderr."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from reddiff.errors import PictureError
from reddiff.pictures.exif import cleaned, turned
from reddiff.pictures.picture import Picture, from_array, matching

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
JPEG = 7
NO_ALPHA, MULTIPLIED = 0, 1  # what one more channel can be, beside alpha as `Picture` has it
SMALLER_COPY = 1
MAX_PAGES = 64
LAYOUTS = ("{", "ImageJ=", "<?xml", "<OME")


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse pictures that are too large."""
    if width * height > max_pixels:
        got = f"{width}x{height} = {width * height}"
        raise PictureError(path, expected=f"at most {max_pixels} pixels", got=got)


def check_single(path: Path, count: int) -> None:
    """Refuse animations and files of several pages."""
    if count != 1:
        got = "an animation or several pages" if count else "none"
        raise PictureError(path, expected="one picture", got=got)


def read_tiff(path: Path, file: IO[bytes], max_pixels: int) -> Picture:
    """The picture of a TIFF; see `read_picture`."""
    import tifffile

    log = logging.getLogger("tifffile")
    if not log.handlers:  # else what it has to say of damaged files would go to stderr
        log.addHandler(logging.NullHandler())
    with tifffile.TiffFile(file) as tiff:
        page = _page(path, tiff)
        check_size(path, page.imagewidth, page.imagelength, max_pixels)
        _check_kind(path, page)
        array = _pixels(page)
        tags = page.tags
        orientation = tags.valueof(ExifTags.Base.Orientation, default=1)
        profile = tags.valueof(ExifTags.Base.InterColorProfile)
        exif, _ = cleaned(lambda: _exif(file))
    picture = from_array(turned(array, orientation))
    icc = matching(None if profile is None else bytes(profile), len(picture.pixels))
    return replace(picture, icc=icc, exif=exif, format="TIFF")


def _page(path: Path, tiff: Any) -> Any:
    """The one page that is no smaller copy of another."""
    pages: dict[int, Any] = {}
    for page in islice(tiff.pages, MAX_PAGES):  # a damaged file can have them in a circle
        if not page.subfiletype & SMALLER_COPY:
            pages[page.offset] = page
            check_single(path, len(pages))
    check_single(path, len(pages))
    return next(iter(pages.values()))


def _check_kind(path: Path, page: Any) -> None:
    """Refuse what is no gray or RGB picture of up to 16 bits, and truncated files."""
    if page.sampleformat != 1 or page.bitspersample not in (1, 2, 4, 8, 16):
        kind = {1: "integers", 2: "signed integers", 3: "floats"}.get(page.sampleformat, "numbers")
        got = f"{kind} of {page.bitspersample} bits"
        raise PictureError(path, expected="8 or 16 bits per channel", got=got)
    extra = page.samplesperpixel - COLOURS.get(page.photometric, -1)
    converted = page.photometric != YCBCR or page.compression == JPEG
    if extra not in (0, 1) or not converted or page.imagedepth != 1:
        name = getattr(page.photometric, "name", page.photometric)
        got = f"{page.samplesperpixel} channels of {name}"
        expected = "gray, RGB or palette colours, with or without alpha"
        raise PictureError(path, expected=expected, got=got)
    size = path.stat().st_size
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole = len(pieces) == math.prod(page.chunked) and all(count > 0 for _, count in pieces)
    if not whole or any(offset + count > size for offset, count in pieces):
        raise PictureError(path, expected="a whole picture", got="a truncated file")


def _pixels(page: Any) -> NDArray[Any]:
    """The pixels of a page `(h, w, c)`, uint8 or uint16, black zero, alpha not multiplied in."""
    # (planes, 1, h, w, channels): one of the two counts is 1
    array = np.moveaxis(page.asarray(squeeze=False)[:, 0], 0, -2)
    array = array.reshape(page.imagelength, page.imagewidth, -1)
    count = COLOURS[page.photometric]
    colours, alpha = array[..., :count], array[..., count:]
    if page.photometric == PALETTE:
        colours = (page.colormap >> 8).astype(np.uint8).T[colours[..., 0]]
    elif page.bitspersample < 8:
        colours = colours.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    if page.photometric == WHITE_IS_ZERO:
        colours = ~colours
    kind = page.extrasamples[0] if page.extrasamples else None
    if alpha.shape[-1] == 0 or kind == NO_ALPHA or page.bitspersample < 8:
        return colours
    if kind == MULTIPLIED:
        top = np.iinfo(colours.dtype).max
        divided = np.rint(top * colours.astype(np.float64) / np.maximum(alpha, 1))
        colours = divided.clip(0, top).astype(colours.dtype)
    return np.concatenate([colours, alpha], -1)


def _exif(file: IO[bytes]) -> Image.Exif:
    """The tags of the first page; not a description that is the layout some program keeps there."""
    exif = Image.Exif()
    file.seek(0)
    exif.load_from_fp(file)
    if str(exif.get(ExifTags.Base.ImageDescription, "")).startswith(LAYOUTS):
        del exif[ExifTags.Base.ImageDescription]
    return exif

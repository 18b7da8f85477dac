"""Read TIFF with tifffile: Pillow truncates 16-bit colors, and libtiff writes to stderr."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from reddiff.errors import PictureError
from reddiff.images.io.exif import cleaned, turned
from reddiff.images.io.inks import to_rgb
from reddiff.images.io.kinds import RAW, unread
from reddiff.images.io.metadata import Metadata, iptc_of, resolution, without_layout
from reddiff.images.io.opened import Opened, page_index
from reddiff.images.io.picture import Picture
from reddiff.images.io.segments import JPEG, check_segments
from reddiff.images.io.sources import from_array, matching
from reddiff.images.io.values import Values, as_values, to_picture

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
SENSOR = (32803, 34892)  # the values of a color filter array, and linear ones of a sensor
DNG_VERSION, XMP, IPTC, RESOURCES = 50706, 700, 33723, 34377
NO_ALPHA, MULTIPLIED = 0, 1  # the meaning of an extra channel, other than the alpha of `Picture`
SMALLER_COPY = 1
MAX_PAGES = 4096
LAYOUTS = ("{", "ImageJ=", "<?xml", "<OME")


@contextmanager
def open_tiff(
    path: Path, file: IO[bytes], page: int | None, value_range: tuple[float, float] | None
) -> Iterator[Opened]:
    """The picture of a TIFF; see `read_picture`."""
    import tifffile

    log = logging.getLogger("tifffile")
    if not log.handlers:  # otherwise warnings about damaged files go to stderr
        log.addHandler(logging.NullHandler())
    with tifffile.TiffFile(file) as tiff:
        found, frame = _page(path, tiff, page)
        orientation = found.tags.valueof(ExifTags.Base.Orientation, default=1)
        orientation = int(orientation) if orientation in range(1, 9) else 1

        def load() -> Picture:
            return _load(path, file, found, frame, orientation, value_range)

        yield Opened(found.imagewidth, found.imagelength, orientation, load)


def _load(
    path: Path,
    file: IO[bytes],
    page: Any,
    frame: int,
    orientation: int,
    value_range: tuple[float, float] | None,
) -> Picture:
    values = _kind(path, page)
    check_segments(path, file, page)
    profile = page.tags.valueof(ExifTags.Base.InterColorProfile)
    icc = None if profile is None else bytes(profile)
    exif, _ = cleaned(lambda: _exif(file, page))
    array = _pixels(path, file, page, frame)
    notes: tuple[str, ...] = ()
    if page.photometric == CMYK:
        image, note = to_rgb(Image.fromarray(np.ascontiguousarray(array[..., :4]), "CMYK"), icc)
        array, notes = np.asarray(image), (note,)
    array = turned(array, orientation)
    picture = from_array(array) if values is Values.LEVELS else to_picture(array, value_range)
    return replace(
        picture,
        icc=matching(icc, len(picture.pixels)),
        exif=exif,
        format="TIFF",
        orientation=orientation,
        metadata=_metadata(page, exif),
        notes=(*picture.notes, *notes),
    )


def _page(path: Path, tiff: Any, wanted: int | None) -> tuple[Any, int]:
    """The page to read, not counting thumbnails, and the frame in it."""
    found, seen = [], set()
    for page in islice(tiff.pages, MAX_PAGES):
        if page.offset in seen:  # a damaged file can link its pages in a circle
            break
        seen.add(page.offset)
        _check_raw(path, page)
        if not page.subfiletype & SMALLER_COPY:
            found.append(page)
    frames = _frames(tiff) if len(found) == 1 else 1
    index = page_index(path, max(frames, len(found)) * bool(found), wanted)
    return (found[0], index) if frames > 1 else (found[index], 0)


def _frames(tiff: Any) -> int:
    """The number of pictures in an ImageJ stack, which has one page; 1 for other files."""
    if not tiff.is_imagej:
        return 1
    count = (tiff.imagej_metadata or {}).get("images", 1)
    return count if isinstance(count, int) and count > 0 else 1


def _check_raw(path: Path, page: Any) -> None:
    """Raise PictureError for raw photos, which have only sensor values and a thumbnail."""
    inner = page.pages or () if page.subifds else ()
    raw = any(int(p.photometric) in SENSOR for p in (page, *islice(inner, 16)))
    if raw or DNG_VERSION in page.tags:
        raise unread(path, "a raw photo (DNG, NEF, ARW, ...)", RAW)


def _kind(path: Path, page: Any) -> Values:
    """The kind of the values. Raises PictureError for truncated files and other color models."""
    if not isinstance(page.bitspersample, int) or not isinstance(page.sampleformat, int):
        expected = "8 or 16 bits per channel, or floats"
        raise PictureError(path, expected=expected, got="channels of different kinds")
    name = getattr(page.photometric, "name", page.photometric)
    extra = page.samplesperpixel - COLORS.get(page.photometric, -1)
    converted = page.photometric != YCBCR or page.compression == JPEG
    if extra not in (0, 1) or not converted or page.imagedepth != 1:
        got = f"{page.samplesperpixel} channels of {name}"
        expected = "gray, RGB, CMYK or palette colors, with or without alpha"
        raise PictureError(path, expected=expected, got=got)
    values = as_values(path, page.sampleformat, page.bitspersample)
    levels = page.photometric in (BLACK_IS_ZERO, RGB) or values is Values.LEVELS
    if not levels or (page.photometric == CMYK and page.bitspersample != 8):
        got = f"{page.bitspersample} bits of {name}"
        raise PictureError(path, expected="8 or 16 bits per channel", got=got)
    size = path.stat().st_size
    offsets, counts = page.dataoffsets, page.databytecounts
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    whole = len(offsets) == len(counts) == math.prod(page.chunked) and min(counts, default=0) > 0
    if not whole or max(ends) > size:
        raise PictureError(path, expected="a whole picture", got="a truncated file")
    return values


def _pixels(path: Path, file: IO[bytes], page: Any, frame: int) -> NDArray[Any]:
    """The pixels of a page `(h, w, c)`, with 0 for black and alpha not premultiplied."""
    # (planes, 1, h, w, channels): one of the two counts is 1
    array = page.asarray(squeeze=False) if frame == 0 else _stacked(path, file, page, frame)
    array = np.moveaxis(array[:, 0], 0, -2).reshape(page.imagelength, page.imagewidth, -1)
    count = COLORS[page.photometric]
    colors, alpha = array[..., :count], array[..., count:]
    if page.photometric == PALETTE:
        colors = (page.colormap >> 8).astype(np.uint8).T[colors[..., 0]]
    elif page.bitspersample < 8:
        colors = colors.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    if page.photometric == WHITE_IS_ZERO:
        colors = ~colors
    kind = next(iter(page.extrasamples), None)
    if alpha.shape[-1] == 0 or kind == NO_ALPHA or page.bitspersample < 8:
        return colors
    if kind == MULTIPLIED and colors.dtype.kind == "u":
        top = np.iinfo(colors.dtype).max
        divided = np.rint(top * colors.astype(np.float64) / np.maximum(alpha, 1))
        colors = divided.clip(0, top).astype(colors.dtype)
    return np.concatenate([colors, alpha], -1)


def _stacked(path: Path, file: IO[bytes], page: Any, frame: int) -> NDArray[Any]:
    """A later picture of an ImageJ stack. They are stored one after the other, uncompressed."""
    dtype = np.dtype(page.parent.byteorder + page.dtype.char)
    size = math.prod(page.shaped) * dtype.itemsize
    start = page.dataoffsets[0] + frame * size
    file.seek(start)
    data = file.read(size) if page.compression == 1 else b""
    if len(data) < size:
        raise PictureError(path, expected="a whole picture", got="a truncated file")
    return np.frombuffer(data, dtype).astype(page.dtype).reshape(page.shaped)


def _metadata(page: Any, exif: bytes | None) -> Metadata:
    found = {tag: page.tags.valueof(tag) for tag in (XMP, IPTC, RESOURCES)}
    raw = {tag: bytes(value) for tag, value in found.items() if isinstance(value, bytes)}
    iptc = raw.get(IPTC) or iptc_of(raw.get(RESOURCES, b""))
    return Metadata(resolution(exif), without_layout(raw.get(XMP)), iptc)


def _exif(file: IO[bytes], page: Any) -> Image.Exif:
    """The EXIF tags of a page, without descriptions in which programs store the layout."""
    exif = Image.Exif()
    file.seek(0)
    first = page.index == 0
    if not first:
        exif.endian, exif.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
    exif.load_from_fp(file, None if first else page.offset)
    if str(exif.get(ExifTags.Base.ImageDescription, "")).startswith(LAYOUTS):
        del exif[ExifTags.Base.ImageDescription]
    return exif

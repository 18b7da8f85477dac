"""Strips and tiles of a TIFF file that are PNG, WebP, JPEG XL, ... with their own headers.

A decoder allocates the size stated in such a header. It is therefore compared with the size of the
strip or tile before anything is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from reddiff.errors import PictureError
from reddiff.images.io import jpeg

JPEG = 7
JPEG_2000 = (33003, 33004, 33005, 34712)
PNG, WEBP, JPEG_XL, LERC, JPEG_XR = (34933,), (34927, 50001), (50002, 52546), (34887,), (34934,)
# Compressions without a header: the size of the strip bounds what is decoded.
PLAIN = (1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 34926, 50000, 50013)
START = b"\xff\x4f\xff\x51"  # of a codestream of JPEG 2000, and its header


def check_segments(path: Path, file: IO[bytes], page: Any) -> None:
    """Check the compression, and the sizes in the headers of strips and tiles.

    Raises:
        PictureError: If the compression is unknown, or a header has another size than its strip.
    """
    if page.compression in PLAIN:
        return
    decoders = _decoders()
    if page.compression not in (JPEG, *JPEG_2000, *decoders):
        name = getattr(page.compression, "name", page.compression)
        got = f"a TIFF compressed by {name}; convert it first: tiffcp -c zip IN OUT.tif"
        raise PictureError(path, expected="a TIFF of a usual compression", got=got)
    for data, shapes in _segments(file, page):
        if page.compression in decoders:
            _try(path, decoders[page.compression], data, shapes, page.dtype)
            continue
        coded = page.compression == JPEG
        inner = _jpeg(path, data, page.jpegtables) if coded else _jpeg_2000(data)
        if inner not in shapes:
            got = f"one of {inner[1]}x{inner[0]} pixels, {inner[2]} channels"
            raise PictureError(path, expected=_wanted(shapes[0]), got=got)


def _segments(file: IO[bytes], page: Any) -> Iterator[tuple[bytes, list[tuple[int, int, int]]]]:
    """The bytes of each strip or tile, and the shapes allowed for it."""
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    if page.is_tiled:
        width, height = page.tilewidth, page.tilelength
        down = 1
    else:
        width, height = page.imagewidth, min(page.rowsperstrip, page.imagelength)
        down = -(-page.imagelength // height)
    for index, (offset, count) in enumerate(
        zip(page.dataoffsets, page.databytecounts, strict=True)
    ):
        file.seek(offset)
        shapes = [(height, width, samples)]
        left = page.imagelength - (index % down) * height
        if not page.is_tiled and left < height:  # the last strip, which some writers pad
            shapes.insert(0, (left, width, samples))
        yield file.read(count), shapes


def _try(
    path: Path,
    decode: Callable[..., Any],
    data: bytes,
    shapes: list[tuple[int, int, int]],
    dtype: Any,
) -> None:
    """Decode into an array of the expected size, which decoders compare with their header first."""
    for shape in shapes:
        options = {"hasalpha": True} if decode.__name__ == "webp_decode" and shape[2] == 4 else {}
        try:
            decode(data, out=np.empty(shape if shape[2] > 1 else shape[:2], dtype), **options)
        except ValueError as error:
            if shape == shapes[-1]:
                got = f"another ({' '.join(str(error).split())})"
                raise PictureError(path, expected=_wanted(shape), got=got) from error
        else:
            return


def _wanted(shape: tuple[int, int, int]) -> str:
    return f"strips or tiles of {shape[1]}x{shape[0]} pixels, {shape[2]} channels"


def _jpeg(path: Path, data: bytes, tables: bytes | None) -> tuple[int, int, int]:
    """Height, width and number of components of a JPEG, which must be complete."""
    if tables:
        data = tables.removesuffix(b"\xff\xd9") + data[2:]
    found = jpeg.structure(path, data)
    jpeg.decode(path, found, data)
    return found.height, found.width, len(found.factors)


def _jpeg_2000(data: bytes) -> tuple[int, int, int]:
    """Height, width and number of components of a JPEG 2000 codestream."""
    at = 0
    while data[at : at + 4] != START and at + 8 <= len(data):  # the boxes of a JP2
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"jp2c":
            length = 8
        if length < 8:
            return 0, 0, 0
        at += length
    if data[at : at + 4] != START or len(data) < at + 42:
        return 0, 0, 0
    at += 2
    right, bottom, left, top = struct.unpack(">IIII", data[at + 6 : at + 22])
    tile = struct.unpack(">II", data[at + 22 : at + 30])
    (count,) = struct.unpack(">H", data[at + 38 : at + 40])
    if right < left or bottom < top or min(tile) == 0:
        return 0, 0, 0
    return bottom - top, right - left, count


def _decoders() -> dict[int, Callable[..., Any]]:
    import imagecodecs

    table: dict[tuple[int, ...], Callable[..., Any]] = {
        PNG: imagecodecs.png_decode,
        WEBP: imagecodecs.webp_decode,
        JPEG_XL: imagecodecs.jpegxl_decode,
        LERC: imagecodecs.lerc_decode,
        JPEG_XR: imagecodecs.jpegxr_decode,
    }
    return {number: decode for numbers, decode in table.items() for number in numbers}

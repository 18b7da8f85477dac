"""Pictures as the bytes of a PNG, JPEG, WebP, TIFF, BMP or PPM file."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from reddiff.images.io import exif
from reddiff.images.io.embedding import exif_with, jpeg_segments, png_chunks
from reddiff.images.io.metadata import Metadata
from reddiff.images.io.picture import Picture
from reddiff.images.io.png import chunk
from reddiff.images.io.sources import matching

JPEG_EXIF_BYTES = 65533  # the most one marker holds
STRIP_BYTES = 1 << 20
ZLIB_LEVEL = 4  # half the time of 6, and 2 % more bytes


def encode_as(kind: str, picture: Picture, quality: int) -> bytes:
    """A picture in this format, with the metadata that the format can store."""
    icc, meta = matching(picture.icc, len(picture.pixels)), picture.metadata
    if kind == "TIFF":
        return _tiff(picture.to_numpy(), icc, exif_with(picture.exif, meta, resolution=True), meta)
    if kind == "PNG":
        return _png(picture.to_numpy(min(picture.bits, 16)), icc, picture.exif, meta)
    if kind == "PPM":
        return _ppm(picture.to_numpy(min(picture.bits, 16)))
    image, buffer = Image.fromarray(picture.to_numpy(8)), BytesIO()
    options: dict[str, Any] = {} if meta.dpi is None else {"dpi": meta.dpi}
    if kind == "BMP":
        image.save(buffer, kind, **options)
        return buffer.getvalue()
    block = exif_with(picture.exif, meta, resolution=kind == "WEBP")
    if kind == "JPEG":
        if block is not None and len(block) <= JPEG_EXIF_BYTES:
            options["exif"] = block
        # Without None, Pillow would use the profile of the source image.
        image.save(buffer, kind, icc_profile=icc, quality=quality, subsampling=0, **options)
        return _behind_headers(buffer.getvalue(), jpeg_segments(meta))
    options = {} if block is None else {"exif": block}
    if meta.xmp is not None:
        options["xmp"] = meta.xmp
    options |= {"quality": quality, "lossless": quality == 100, "exact": True}
    icc = icc if len(picture.pixels) == 3 else None
    image.save(buffer, kind, icc_profile=icc, **options)
    return buffer.getvalue()


def _behind_headers(data: bytes, segments: bytes) -> bytes:
    """A JPEG with more segments after those of JFIF, EXIF and the profile."""
    at = 2
    while data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + segments + data[at:]


def _ppm(array: NDArray[Any]) -> bytes:
    """A binary PPM, or PGM if it is gray."""
    kind, top = ("P5" if array.ndim == 2 else "P6"), np.iinfo(array.dtype).max
    big = array.astype(array.dtype.newbyteorder(">"))
    return f"{kind}\n{array.shape[1]} {array.shape[0]}\n{top}\n".encode() + big.tobytes()


def _png(array: NDArray[Any], icc: bytes | None, block: bytes | None, meta: Metadata) -> bytes:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(array, level=ZLIB_LEVEL))
    chunks = [] if icc is None else [(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))]
    chunks += png_chunks(meta, icc is not None)
    if block is not None:
        chunks.append((b"eXIf", block.removeprefix(exif.PREFIX)))
    head = 8 + 25  # the signature and IHDR, after which these may follow
    return b"".join([data[:head], *(chunk(*c) for c in chunks), data[head:]])


def _tiff(array: NDArray[Any], icc: bytes | None, block: bytes | None, meta: Metadata) -> bytes:
    """A TIFF in strips, deflated; integers after taking differences between neighboring pixels.

    Neither Pillow (no 16-bit RGB) nor tifffile (no EXIF) can write it.
    """
    array = array if array.ndim == 3 else array[..., None]
    height, width, samples = array.shape
    floats = array.dtype.kind == "f"
    little = array.astype(array.dtype.newbyteorder("<"))
    rows = max(1, STRIP_BYTES // (width * samples * array.itemsize))
    strips = []
    for top in range(0, height, rows):
        strip = little[top : top + rows].copy()
        if not floats:
            strip[:, 1:] -= little[top : top + rows, :-1]  # modulo 2^bits, as the format requires
        strips.append(zlib.compress(strip.tobytes(), ZLIB_LEVEL))
    starts = np.cumsum([0, *(len(strip) for strip in strips[:-1])]).tolist()
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8 * array.itemsize,) * samples,
        259: 8,  # deflate
        262: 2 if samples >= 3 else 1,  # RGB, or black is zero
        273: tuple(starts),  # Pillow adds the length of the directory
        277: samples,
        278: rows,
        279: tuple(len(strip) for strip in strips),
        284: 1,  # channels side by side
        317: 1 if floats else 2,  # differences
    }
    if floats:
        tags[339] = (3,) * samples  # the sample format
    if samples in (2, 4):
        tags[338] = 2  # the last is alpha, not multiplied into the colors
    if icc is not None:
        tags[34675] = icc
    if meta.xmp is not None:
        tags[700] = meta.xmp
    if meta.iptc is not None:
        tags[33723] = meta.iptc
    chroma = dict(meta.color).get(b"cHRM", b"")
    if len(chroma) == 32:
        points = [
            IFDRational(int.from_bytes(chroma[i : i + 4], "big"), 100_000) for i in range(0, 32, 4)
        ]
        tags[318], tags[319] = tuple(points[:2]), tuple(points[2:])
    directory = ImageFileDirectory_v2()
    for tag, value in [*_exif_tags(block).items(), *tags.items()]:
        directory[tag] = value
    buffer = BytesIO()
    directory.save(buffer)
    return b"".join([buffer.getvalue(), *strips])


def _exif_tags(block: bytes | None) -> dict[int, Any]:
    """The tags of an EXIF block, directories as dicts."""
    if block is None:
        return {}
    found = exif.loaded(block)
    return {tag: found.get_ifd(tag) or value for tag, value in found.items()}

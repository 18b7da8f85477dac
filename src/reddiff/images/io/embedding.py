"""Metadata in the formats of PNG, JPEG and EXIF."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from reddiff.images.io import exif
from reddiff.images.io.metadata import INCH, IPTC, IRB, XMP_JPEG, XMP_PNG, Metadata

JPEG_ROOM = 65533  # bytes of a segment
# Texts of a PNG that have a tag in EXIF.
TAGS = {
    "Title": ExifTags.Base.DocumentName,
    "Description": ExifTags.Base.ImageDescription,
    "Author": ExifTags.Base.Artist,
    "Copyright": ExifTags.Base.Copyright,
    "Software": ExifTags.Base.Software,
}
GAMMA = 0xA500


def png_chunks(meta: Metadata, profile: bool) -> Iterator[tuple[bytes, bytes]]:
    """The PNG chunks of the metadata, which may all follow the header."""
    for name, content in meta.color:
        if not (profile and name == b"sRGB"):
            yield name, content
    if meta.dpi is not None:
        x, y = (min(round(n / INCH), 2**31 - 1) for n in meta.dpi)
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if meta.xmp is not None:
        yield b"iTXt", XMP_PNG.encode() + bytes(5) + meta.xmp
    for keyword, text in meta.texts:
        try:
            yield b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", keyword.encode("latin-1", "replace") + bytes(5) + text.encode()


def jpeg_segments(meta: Metadata) -> bytes:
    """The JPEG segments of the metadata, except the resolution."""
    parts = []
    if meta.xmp is not None:
        parts.append((0xE1, XMP_JPEG + meta.xmp))
    if meta.iptc is not None:
        size = len(meta.iptc).to_bytes(4, "big")
        parts.append(
            (0xED, IRB + IPTC + bytes(2) + size + meta.iptc + b"\0" * (len(meta.iptc) % 2))
        )
    parts += [(0xFE, t.encode()) for keyword, t in meta.texts if keyword == "Comment"]
    return b"".join(
        bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content
        for marker, content in parts
        if len(content) <= JPEG_ROOM
    )


def exif_with(block: bytes | None, meta: Metadata, *, resolution: bool) -> bytes | None:
    """EXIF with the metadata that have an EXIF tag and no other place in the file.

    Arguments:
        block: The EXIF of the picture.
        meta: The metadata to add; existing tags are kept.
        resolution: Whether to add the resolution.
    """
    found = exif.loaded(block) if block is not None else Image.Exif()
    before = len(found)
    for keyword, text in meta.texts:
        if keyword in TAGS and TAGS[keyword] not in found:
            found[TAGS[keyword]] = text.encode("ascii", "replace").decode()
    if resolution and meta.dpi is not None:
        found[ExifTags.Base.XResolution], found[ExifTags.Base.YResolution] = (
            IFDRational(round(1000 * n), 1000) for n in meta.dpi
        )
        found[ExifTags.Base.ResolutionUnit] = 2
    gamma = next((content for name, content in meta.color if name == b"gAMA"), b"")
    if len(gamma) == 4 and int.from_bytes(gamma, "big"):
        inner: dict[int, Any] = dict(found.get_ifd(ExifTags.IFD.Exif))
        inner.setdefault(GAMMA, IFDRational(100_000, int.from_bytes(gamma, "big")))
        found[ExifTags.IFD.Exif] = inner
    if len(found) == before == 0:
        return None
    return found.tobytes()

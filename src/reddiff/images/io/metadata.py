"""Metadata other than EXIF and the color profile: resolution, gamma, XMP, texts."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from PIL import ExifTags

from reddiff.images.io import exif

INCH = 0.0254  # meters
# Color chunks of a PNG, apart from the profile.
COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
MAX_TEXT = 1 << 20  # bytes of an unpacked text; longer ones are dropped
MAX_PROFILE = 1 << 24
XMP_PNG = "XML:com.adobe.xmp"
RAW_PROFILE = "Raw profile type "  # ImageMagick's, of before there was a chunk for EXIF
XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
IRB = b"Photoshop 3.0\0"
IPTC = b"8BIM\x04\x04"
# Properties of the layout of a file, which may no longer be right.
STALE = (
    rb"tiff:(?:ImageWidth|ImageLength|Orientation)|exif:Pixel[XY]Dimension|xmpNote:HasExtendedXMP"
)
ATTRIBUTES = re.compile(rb"\s(?:" + STALE + rb")\s*=\s*(?:\"[^\"]*\"|'[^']*')")
ELEMENTS = re.compile(rb"<(" + STALE + rb")>[^<]*</\1>")
THUMBNAILS = re.compile(rb"<xmp:Thumbnails\b.*?</xmp:Thumbnails>", re.DOTALL)


@dataclass(frozen=True)
class Metadata:
    """Metadata that is kept when a picture is written, if the format can store it.

    Arguments:
        dpi: Pixels per inch, across and down.
        xmp: The XMP packet, without sizes, orientation and thumbnails.
        iptc: The IPTC records.
        texts: Keywords and texts of a PNG, or the comment of a JPEG.
        color: Color chunks of a PNG: names and contents.
    """

    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    color: tuple[tuple[bytes, bytes], ...] = ()


def without_layout(xmp: bytes | None) -> bytes | None:
    """An XMP packet without orientation, sizes and thumbnails."""
    if not xmp:
        return None
    return THUMBNAILS.sub(b"", ELEMENTS.sub(b"", ATTRIBUTES.sub(b"", xmp)))


def of_png(found: tuple[tuple[bytes, bytes], ...]) -> tuple[Metadata, bytes | None, bytes | None]:
    """The metadata, the EXIF block and the profile of a PNG's chunks."""
    dpi = xmp = block = icc = legacy = None
    texts: list[tuple[str, str]] = []
    color: dict[bytes, bytes] = {}
    for name, content in found:
        if name == b"pHYs" and len(content) == 9 and content[8] == 1:
            x, y = (INCH * n for n in struct.unpack(">II", content[:8]))
            dpi = (x, y) if x and y else None
        elif name == b"eXIf" and block is None:
            block = exif.PREFIX + content
        elif name == b"iCCP" and icc is None:
            icc = _unpacked(content.partition(b"\0")[2][1:], MAX_PROFILE)
        elif name in COLOR_CHUNKS and name not in color:
            color[name] = content
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            entry = _text(name, content)
            if entry is not None and entry[0] == XMP_PNG:
                xmp = entry[1].encode()
            elif entry is not None and entry[0].startswith(RAW_PROFILE):
                legacy = entry[1] if entry[0] == RAW_PROFILE + "exif" else legacy
            elif entry is not None and len(texts) < 100:
                texts.append(entry)
    if block is None and legacy is not None:
        digits = "".join(legacy.split("\n")[3:])
        block = bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits) else None
    return Metadata(dpi, without_layout(xmp), None, tuple(texts), tuple(color.items())), block, icc


def of_jpeg(segments: list[tuple[int, bytes]]) -> Metadata:
    """The metadata in the segments of a JPEG."""
    dpi = xmp = iptc = None
    texts = []
    for marker, content in segments:
        if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, x, y = struct.unpack(">BHH", content[7:12])
            scale = {1: 1.0, 2: 2.54}.get(unit)
            dpi = (scale * x, scale * y) if scale and x and y else None
        elif marker == 0xE1 and content.startswith(XMP_JPEG) and xmp is None:
            xmp = content[len(XMP_JPEG) :]
        elif marker == 0xED and content.startswith(IRB) and iptc is None:
            iptc = iptc_of(content[len(IRB) :])
        elif marker == 0xFE and content.strip(b"\0 "):
            texts.append(("Comment", _words(content)))
    return Metadata(dpi, without_layout(xmp), iptc, tuple(texts[:10]))


def iptc_of(resources: bytes) -> bytes | None:
    """The IPTC records among the image resources of Photoshop."""
    at = 0
    while at + 12 <= len(resources) and resources[at : at + 4] == b"8BIM":
        name = resources[at + 6]
        start = at + 7 + name + (name + 1) % 2
        length = int.from_bytes(resources[start : start + 4], "big")
        content = resources[start + 4 : start + 4 + length]
        if resources[at : at + 6] == IPTC and len(content) == length:
            return content
        at = start + 4 + length + length % 2
    return None


def resolution(block: bytes | None) -> tuple[float, float] | None:
    """The pixels per inch that EXIF states."""
    if block is None:
        return None
    found = exif.loaded(block)
    try:
        x, y = (float(found[tag]) for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    scale = {2: 1.0, 3: 2.54}.get(found.get(ExifTags.Base.ResolutionUnit, 2))
    good = scale is not None and 0 < x < 1e6 and 0 < y < 1e6
    return (scale * x, scale * y) if good and scale is not None else None


def _text(name: bytes, content: bytes) -> tuple[str, str] | None:
    """Keyword and text of a chunk; None if it is damaged or too long."""
    keyword, _, rest = content.partition(b"\0")
    data: bytes | None = rest
    if name == b"zTXt":
        data = _unpacked(rest[1:], MAX_TEXT)
    elif name == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        data = _unpacked(rest, MAX_TEXT) if packed else rest
    if not keyword or data is None or len(data) > MAX_TEXT:
        return None
    try:
        text = data.decode("utf-8" if name == b"iTXt" else "latin-1")
    except UnicodeDecodeError:
        return None
    return keyword.decode("latin-1"), text


def _unpacked(data: bytes, most: int) -> bytes | None:
    """Decompressed data; None if it is damaged or longer than `most` bytes."""
    packer = zlib.decompressobj()
    try:
        found = packer.decompress(data, most)
    except zlib.error:
        return None
    return found if packer.eof else None


def _words(content: bytes) -> str:
    content = content.rstrip(b"\0")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")

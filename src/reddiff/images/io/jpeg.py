"""The structure of a JPEG file, and a check that it is complete.

Decoders fill missing pixels with gray. Therefore, the size in the header is compared with the
number of coded bytes, and decoding with extra bytes appended must give the same picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from reddiff.errors import PictureError

EOI, SOS = 0xD9, 0xDA
FRAMES = {0xC0: "sequential", 0xC1: "sequential", 0xC2: "progressive"}
ARITHMETIC = (0xC9, PROGRESSIVE_ARITHMETIC := 0xCA)
LOSSLESS = (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
MAX_SCANS = 100  # encoders write about ten; thousands keep a decoder busy for hours
MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # in coded bytes: not 0, no restart
STRIP = 512  # rows that are compared at once
# Random coded bytes with all restart markers, which a decoder uses if bytes are missing.
_NOISE = np.random.default_rng(0).integers(0, 255, 512, np.uint8).tobytes()
FILLING = b"".join(_NOISE + bytes([0xFF, 0xD0 + n]) for n in range(8)) * 2 + _NOISE


@dataclass
class Structure:
    """The content of the markers of a JPEG file.

    Arguments:
        frame: The marker of the frame, such as 0xC0; 0 if there is none.
        width: Width of the picture.
        height: Height of the picture.
        factors: The sampling factors (across, down) of each component, by its number.
        segments: The markers of metadata, and their contents.
        scans: Of each scan, its components and (first, last, high, low) of its coefficients.
        coded: The bytes of all scans.
        end: Where the pixels end.
        ended: Whether an end marker is there.
    """

    frame: int = 0
    width: int = 0
    height: int = 0
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    segments: list[tuple[int, bytes]] = field(default_factory=list)
    scans: list[tuple[tuple[int, ...], tuple[int, int, int, int]]] = field(default_factory=list)
    coded: int = 0
    end: int = 0
    ended: bool = False

    @property
    def blocks(self) -> int:
        """The number of 8 x 8 blocks, over all components."""
        across = max(a for a, _ in self.factors.values())
        down = max(d for _, d in self.factors.values())
        counts = [
            -(-self.width * a // (8 * across)) * -(-self.height * d // (8 * down))
            for a, d in self.factors.values()
        ]
        return sum(counts)

    @property
    def missing_scans(self) -> bool:
        """Whether the last bits of some coefficients are missing."""
        if FRAMES.get(self.frame) != "progressive" and self.frame != PROGRESSIVE_ARITHMETIC:
            return set(self.factors) != {c for names, _ in self.scans for c in names}
        fine = {
            (name, k)
            for names, (first, last, _, low) in self.scans
            for name in names
            for k in range(first, min(last, 63) + 1)
            if low == 0
        }
        return len(fine & {(name, k) for name in self.factors for k in range(64)}) < 64 * len(
            self.factors
        )


def structure(path: Path, data: bytes) -> Structure:
    """The markers of a JPEG file, up to the end of its first picture.

    Raises:
        PictureError: If the file is truncated, damaged or of an unsupported kind.
    """
    found, at = Structure(), 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:  # decoders skip bytes between segments
            at = data.find(b"\xff", at) % (len(data) + 1)
            continue
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # padding
            at += 1 if marker == 0xFF else 2
            continue
        if marker == EOI:
            found.ended = True
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if length < 2 or len(content) < length - 2:
            raise PictureError(path, expected="a whole picture", got="a truncated file")
        at += 2 + length
        if marker == SOS:
            at = _scan(path, found, data, content, at)
            if found.ended:
                break
        elif marker in FRAMES or marker in ARITHMETIC or marker in LOSSLESS:
            _frame(path, found, marker, content)
        else:
            found.segments.append((marker, content))
    if not found.frame or not found.scans:
        raise PictureError(path, expected="a whole picture", got="a truncated file")
    return found


def check_room(path: Path, found: Structure) -> None:
    """Raise PictureError if the header has more pixels than the coded bytes can represent.

    A block takes at least two bits, or one bit in a progressive file. Arithmetic coding has no
    limit; 1/64 bit is far below what it reaches in practice.
    """
    least = 1.0 if FRAMES.get(found.frame) == "progressive" else 2.0
    least = 1 / 64 if found.frame in ARITHMETIC else least
    if found.blocks * least > 8 * found.coded + 64:
        got = f"a truncated file ({found.coded} bytes for {found.width}x{found.height} pixels)"
        raise PictureError(path, expected="a whole picture", got=got)


def decode(path: Path, found: Structure, data: bytes) -> tuple[JpegImageFile, tuple[str, ...]]:
    """Decode the picture; returns it with notes.

    Raises:
        PictureError: If pixels are missing.
    """
    check_room(path, found)
    progressive = FRAMES.get(found.frame) == "progressive" or found.frame == PROGRESSIVE_ARITHMETIC
    if found.missing_scans and not progressive:
        raise PictureError(path, expected="a whole picture", got="a truncated file")
    coded = data[: found.end]
    image, filled = (JpegImageFile(BytesIO(coded + more + b"\xff\xd9")) for more in (b"", FILLING))
    for top in range(0, image.height, STRIP):
        box = (0, top, image.width, min(top + STRIP, image.height))
        if image.crop(box).tobytes() != filled.crop(box).tobytes():
            raise PictureError(path, expected="a whole picture", got="a truncated file")
    notes = []
    if not found.ended:
        notes.append("The JPEG file has no end marker; all of its pixels are there.")
    if found.missing_scans:
        notes.append("The JPEG file lacks its last scans: fine detail is missing.")
    return image, tuple(notes)


def _frame(path: Path, found: Structure, marker: int, content: bytes) -> None:
    if marker in LOSSLESS:
        got = "a lossless or hierarchical JPEG; convert it first: djpeg, or magick IN OUT.png"
        raise PictureError(path, expected="a sequential or progressive JPEG", got=got)
    if found.frame or len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise _damaged(path, "its frame")
    found.frame = marker
    found.height, found.width = (int.from_bytes(content[i : i + 2], "big") for i in (1, 3))
    for i in range(content[5]):
        name, factors, _ = content[6 + 3 * i : 9 + 3 * i]
        found.factors[name] = (factors >> 4, factors & 15)
    good = found.width and found.height and len(found.factors) == content[5]
    if not good or not found.factors or not all(a and d for a, d in found.factors.values()):
        raise _damaged(path, "its frame")


def _scan(path: Path, found: Structure, data: bytes, content: bytes, at: int) -> int:
    """Record a scan whose coded bytes begin at `at`; returns where they end."""
    count = content[0] if content else 0
    if not found.frame or not count or len(content) < 4 + 2 * count:
        raise _damaged(path, "a scan")
    first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    found.scans.append((tuple(content[1 : 1 + 2 * count : 2]), (first, last, bits >> 4, bits & 15)))
    if len(found.scans) > MAX_SCANS:
        raise PictureError(path, expected=f"at most {MAX_SCANS} scans", got="more")
    marker = MARKER.search(data, at)
    end = len(data) if marker is None else marker.start()
    end -= marker is None and data.endswith(b"\xff")
    found.coded += end - at
    found.end = end
    found.ended = marker is not None and marker[1][0] == EOI
    return end


def _damaged(path: Path, words: str) -> PictureError:
    return PictureError(path, expected="a whole picture", got=f"a damaged file ({words})")

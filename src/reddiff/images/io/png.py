"""Read PNG chunk by chunk: Pillow truncates 16-bit colors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from reddiff.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEFLATE_LIMIT = 1100  # zlib compresses at most 1032 bytes into one
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
FRAMES = (b"acTL", b"fcTL", b"fdAT")
# The passes of an interlaced picture: first row and column, and the steps between them.
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


@dataclass(frozen=True)
class Chunks:
    """The chunks of a PNG file, in order."""

    path: Path
    found: tuple[tuple[bytes, bytes], ...]

    def first(self, name: bytes) -> bytes | None:
        """The content of the first chunk of that name."""
        return next((content for n, content in self.found if n == name), None)

    @property
    def header(self) -> bytes:
        """Width, height, bits, color type, compression, filter, interlacing."""
        return self.found[0][1]

    @property
    def width(self) -> int:
        """In pixels."""
        return int.from_bytes(self.header[:4], "big")

    @property
    def height(self) -> int:
        """In pixels."""
        return int.from_bytes(self.header[4:8], "big")

    @property
    def bits(self) -> int:
        """Per channel."""
        return self.header[8]

    @property
    def frames(self) -> int:
        """Number of frames of an animation; 1 for other files."""
        control = self.first(b"acTL")
        return 1 if control is None else int.from_bytes(control[:4], "big")

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` pixels, the filter byte included."""
        return 1 + -(-width * CHANNELS[self.header[9]] * self.bits // 8)

    def data(self) -> bytes:
        """The compressed pixel data."""
        return b"".join(content for name, content in self.found if name == b"IDAT")

    def file(self, keep: tuple[bytes, ...]) -> bytes:
        """A PNG file with only these chunks."""
        return SIGNATURE + b"".join(chunk(n, c) for n, c in self.found if n in keep)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    crc = zlib.crc32(name + content)
    return len(content).to_bytes(4, "big") + name + content + crc.to_bytes(4, "big")


def read_chunks(path: Path, data: bytes) -> Chunks:
    """The chunks of a PNG, up to its end.

    Raises:
        PictureError: If it is truncated, or a checksum of a chunk of pixels is wrong.
    """
    found = tuple(_walk(path, data))
    chunks = Chunks(path, found)
    header = chunks.first(b"IHDR")
    good = header is not None and found[0][0] == b"IHDR" and len(header) == 13
    if not good or chunks.header[9] not in CHANNELS:
        raise PictureError(path, expected="a whole picture", got="a damaged file (its header)")
    return chunks


def check_room(chunks: Chunks) -> None:
    """Raise PictureError if the header has more pixels than the compressed data can represent."""
    size = sum(len(content) for name, content in chunks.found if name == b"IDAT")
    if chunks.row_bytes(chunks.width) * chunks.height > DEFLATE_LIMIT * size:
        raise PictureError(chunks.path, expected="a whole picture", got="a truncated file")


def decode_shallow(chunks: Chunks, page: int) -> PngImageFile:
    """Decode a PNG of up to 8 bits with Pillow, from its pixel chunks alone."""
    image = PngImageFile(BytesIO(chunks.file(PIXELS + FRAMES * (chunks.frames > 1))))
    if page:
        image.seek(page)
    return image


def decode_deep(chunks: Chunks) -> NDArray[Any]:
    """Decode a PNG of 16 bits, pass by pass: libpng warns of interlacing on stderr."""
    import imagecodecs

    if chunks.header[12] != 1:
        return np.asarray(imagecodecs.png_decode(chunks.file(PIXELS)))
    shapes = [_pass_size(chunks, p) for p in ADAM7]
    lengths = [h * chunks.row_bytes(w) if w else 0 for h, w in shapes]
    raw = zlib.decompressobj().decompress(chunks.data(), sum(lengths))
    if len(raw) < sum(lengths):
        raise PictureError(chunks.path, expected="a whole picture", got="a truncated file")
    whole: NDArray[Any] | None = None
    for (top, left, down, right), (h, w), length in zip(ADAM7, shapes, lengths, strict=True):
        if length == 0:
            continue
        size = w.to_bytes(4, "big") + h.to_bytes(4, "big")
        parts = [SIGNATURE, chunk(b"IHDR", size + chunks.header[8:12] + b"\0")]
        parts += [chunk(n, c) for n, c in chunks.found if n == b"tRNS"]
        parts += [chunk(b"IDAT", zlib.compress(raw[:length], 0)), chunk(b"IEND", b"")]
        raw = raw[length:]
        part = np.asarray(imagecodecs.png_decode(b"".join(parts)))
        if whole is None:
            whole = np.empty((chunks.height, chunks.width, *part.shape[2:]), part.dtype)
        whole[top::down, left::right] = part
    if whole is None:
        raise PictureError(chunks.path, expected="a picture", got="one without pixels")
    return whole


def _pass_size(chunks: Chunks, part: tuple[int, int, int, int]) -> tuple[int, int]:
    top, left, down, right = part
    h, w = -(-(chunks.height - top) // down), -(-(chunks.width - left) // right)
    return max(h, 0), max(w, 0)


def _walk(path: Path, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, ended = len(SIGNATURE), False
    while at + 12 <= len(data) and not ended:
        length = int.from_bytes(data[at : at + 4], "big")
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        crc = data[at + 8 + length : at + 12 + length]
        good = len(content) == length and zlib.crc32(name + content) == int.from_bytes(crc, "big")
        if good:
            yield name, content
        elif name in PIXELS + FRAMES or len(crc) < 4:
            got = "a truncated file"
            if len(crc) == 4:
                got = f"a damaged file (the checksum of its {name.decode()} differs)"
            raise PictureError(path, expected="a whole picture", got=got)
        ended = name == b"IEND"
        at += 12 + length
    if not ended:
        raise PictureError(path, expected="a whole picture", got="a truncated file")

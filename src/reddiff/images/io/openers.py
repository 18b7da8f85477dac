"""Picture files, opened by their kind."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from reddiff.errors import PictureError, require
from reddiff.images.io import exif, jpeg, png
from reddiff.images.io.kinds import kind_of
from reddiff.images.io.metadata import Metadata, of_jpeg, of_png, resolution, without_layout
from reddiff.images.io.netpbm import open_netpbm
from reddiff.images.io.opened import Opened, check_size, page_index
from reddiff.images.io.picture import Picture
from reddiff.images.io.sources import from_array, matching, stored
from reddiff.images.io.tiff import open_tiff

MAX_PIXELS = 178_000_000  # a little below the size at which Pillow refuses on its own
MAX_BYTES = 1 << 33  # of a file: more than MAX_PIXELS pixels need in any format
# Not `Image.open`, whose size limit is global.
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}


def check_regular(path: Path) -> None:
    """Refuse directories, pipes, devices and empty files, before anything is opened."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(path, expected="a file", got="a directory", errno=errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        raise PictureError(path, expected="a file", got="a pipe or device", errno=errno.EINVAL)
    if status.st_size == 0:
        raise PictureError(path, expected="a file with content", got="an empty file")
    if status.st_size > MAX_BYTES:
        expected = f"a file of at most {MAX_BYTES} bytes"
        raise PictureError(path, expected=expected, got=status.st_size)


@contextmanager
def open_picture(
    path: Path, page: int | None, value_range: tuple[float, float] | None
) -> Iterator[Opened]:
    """A picture file whose header is read; see `read_picture`."""
    check_regular(path)
    with path.open("rb") as file:
        kind = kind_of(path, file.read(132))
        file.seek(0)
        if kind == "TIFF":
            with open_tiff(path, file, page, value_range) as found:
                yield found
        elif kind == "PNG":
            yield _open_png(path, file.read(), page)
        elif kind == "JPEG":
            page_index(path, 1, page)
            yield _open_jpeg(path, file.read())
        elif kind == "PPM":
            page_index(path, 1, page)
            expected = "none: such a file defines the value of white"
            require(value_range is None, "range", expected=expected, got=value_range)
            yield open_netpbm(path, file.read())
        else:
            yield _open_other(path, file, kind, page)


def _open_png(path: Path, data: bytes, page: int | None) -> Opened:
    chunks = png.read_chunks(path, data)
    frame = page_index(path, chunks.frames, page)
    meta, block, icc = of_png(chunks.found)
    kept, orientation = exif.cleaned(partial(exif.loaded, block or b""))

    def load() -> Picture:
        png.check_room(chunks)
        if chunks.bits == 16 and frame == 0:
            picture = from_array(exif.turned(png.decode_deep(chunks), orientation))
        else:
            picture = stored(png.decode_shallow(chunks, frame), orientation, None)
        return replace(
            picture,
            icc=matching(icc, len(picture.pixels)),
            exif=kept,
            format="PNG",
            orientation=orientation,
            metadata=meta if meta.dpi else replace(meta, dpi=resolution(kept)),
        )

    return Opened(chunks.width, chunks.height, orientation, load)


def _open_jpeg(path: Path, data: bytes) -> Opened:
    found = jpeg.structure(path, data)
    meta = of_jpeg(found.segments)

    kept, orientation = exif.cleaned(JpegImageFile(BytesIO(data[: found.end])).getexif)

    def load() -> Picture:
        image, notes = jpeg.decode(path, found, data)
        picture = stored(image, orientation, image.info.get("icc_profile"))
        return replace(
            picture,
            exif=kept,
            format="JPEG",
            metadata=meta if meta.dpi else replace(meta, dpi=resolution(kept)),
            notes=(*notes, *picture.notes),
        )

    return Opened(found.width, found.height, orientation, load)


def _open_other(path: Path, file: IO[bytes], kind: str, page: int | None) -> Opened:
    if kind == "WEBP":  # the plugin allocates all pixels at once
        check_size(path, *_webp_size(file.read(32)), MAX_PIXELS)
        file.seek(0)
    image = PLUGINS[kind](file)
    frame = page_index(path, getattr(image, "n_frames", 1), page)
    kept, orientation = exif.cleaned(image.getexif)

    def load() -> Picture:
        if frame:
            image.seek(frame)
            check_size(path, image.width, image.height, MAX_PIXELS)
        picture = stored(image, orientation, image.info.get("icc_profile"))
        dpi, xmp = image.info.get("dpi"), image.info.get("xmp")
        dpi = dpi if kind == "BMP" and dpi and min(dpi) > 0 else resolution(kept)
        meta = Metadata(dpi, without_layout(xmp if isinstance(xmp, bytes) else None))
        return replace(picture, exif=kept, format=kind, metadata=meta)

    return Opened(image.width, image.height, orientation, load)


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height in the header of a WebP file."""
    if head[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        return width, height
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = (int.from_bytes(head[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    return width, height

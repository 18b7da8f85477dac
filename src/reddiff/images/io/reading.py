"""Pictures from files."""

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

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.images.io import exif, jpeg, png
from reddiff.images.io.kinds import kind_of
from reddiff.images.io.metadata import Metadata, of_jpeg, of_png, resolution, without_layout
from reddiff.images.io.netpbm import open_netpbm
from reddiff.images.io.opened import Opened, check_size, page_index
from reddiff.images.io.picture import Picture, check_range, from_array, matching, stored
from reddiff.images.io.tiff import open_tiff

MAX_PIXELS = 178_000_000  # a little below the size at which Pillow refuses on its own
MAX_WORDS = 200  # of what a decoder says
MAX_BYTES = 1 << 33  # of a file: more than MAX_PIXELS take in any format

# The classes themselves: `Image.open` has a limit of its own, which is global.
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}


def read_picture(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    page: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Picture:
    """The picture in a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM file, known by its content.

    8 and 16 bits per channel stay what they are; fewer become 8. Palettes become RGB, and alpha
    where one holds transparent colors. The EXIF orientation is applied. The color profile is
    kept if it fits the channels (an RGB profile of a gray picture does not). CMYK becomes RGB, by
    its profile if it has one; `notes` of the picture say so.

    Arguments:
        path: The file.
        max_pixels: The largest height times width, found in the header before anything is decoded:
            small files can unfold into pictures that fill any memory.
        page: Which picture of a file of several, from 1: a page of a TIFF, a frame of an animation.
        value_range: The values that are black and white: for floats beyond [0, 1], and for integers
            that do not fill their bits (0 and 4095 of a camera of 12 bits). Values beyond the two
            are kept.

    Raises:
        PictureError: If the file is missing, cannot be read, is empty, truncated, damaged, of
            another format, of more pixels than `max_pixels`, of several pictures without a `page`,
            or its pixels are of a kind that is not read (Lab, a sensor's raw values, floats beyond
            [0, 1] without a `value_range`, ...).
        InvalidArgument: If `value_range` is no range, or `page` no number from 1.
    """
    path = Path(path)
    check_range(value_range)
    require(page is None or page >= 1, "page", expected="a number from 1", got=page)
    with reading(path), _opened(path, page, value_range) as found:
        check_size(path, found.width, found.height, max_pixels)
        picture = found.load()
        if value_range is not None and picture.value_range is None:
            picture = _spread(picture, value_range)
    return picture


def picture_size(path: str | Path, *, page: int | None = None) -> tuple[int, int]:
    """The height and the width of the upright picture in a file, from its header alone.

    Arguments and errors as for `read_picture`.
    """
    path = Path(path)
    with reading(path), _opened(path, page, None) as found:
        size = found.size
    return size  # noqa: RET504 - as above


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is raised while a file is read into a `PictureError` that names it."""
    try:
        yield
    except PictureError:
        raise
    except MemoryError as error:
        expected = "a picture that fits in memory"
        raise PictureError(path, expected=expected, got="one that does not") from error
    except InvalidArgument as error:
        raise PictureError(path, expected=error.expected, got=error.got) from error
    except OSError as error:
        if error.errno is None:  # Pillow's
            raise _damaged(path, error) from error
        got = (error.strerror or type(error).__name__).lower()
        expected = "a file that can be read"
        raise PictureError(path, expected=expected, got=got, errno=error.errno) from error
    except Exception as error:  # decoders raise anything on damaged data
        raise _damaged(path, error) from error


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
def _opened(
    path: Path, page: int | None, value_range: tuple[float, float] | None
) -> Iterator[Opened]:
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
            expected = "none: such a file says what white is"
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
    if kind == "WEBP":  # the plugin makes room for the pixels at once
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
    """The width and the height that the header of a WebP states; 0 for one of an unknown kind."""
    if head[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        return width, height
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = (int.from_bytes(head[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    return width, height


def _spread(picture: Picture, value_range: tuple[float, float]) -> Picture:
    """A picture of integers, with these as black and white."""
    top = (1 << picture.bits) - 1
    low, high = (value / top for value in value_range)
    pixels = (picture.pixels - low) / (high - low)
    return replace(picture, pixels=pixels, value_range=value_range)


def _damaged(path: Path, error: Exception) -> PictureError:
    words = " ".join(str(error).split()) or type(error).__name__
    words = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."
    return PictureError(path, expected="a whole picture", got=f"a damaged file ({words})")

"""Pictures from files."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from reddiff.errors import InvalidArgument, PictureError
from reddiff.pictures import exif
from reddiff.pictures.picture import Picture, from_array, from_pil, matching
from reddiff.pictures.tiff import check_single, check_size, read_tiff

MAX_PIXELS = 178_000_000  # a little below the size at which Pillow refuses on its own

# The classes themselves: `Image.open` has a limit of its own, which is global.
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
}


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a PNG, JPEG, WebP or TIFF file, known by its content, whatever its name.

    8 and 16 bits per channel stay what they are; fewer become 8. Palettes become RGB, and alpha
    where one holds transparent colours. The EXIF orientation is applied. The colour profile is
    kept if it fits the channels (an RGB profile of a gray picture does not).

    Arguments:
        path: The file.
        max_pixels: The largest height times width, found in the header before anything is decoded:
            small files can unfold into pictures that fill any memory.

    Raises:
        PictureError: If the file is missing, cannot be read, is empty, truncated, damaged, of
            another format, of more pixels than `max_pixels`, an animation or of several pages, or
            its pixels are CMYK, Lab, floats or of another number of bits.
    """
    path = Path(path)
    with reading(path):
        picture = _read(path, max_pixels)
    return picture  # noqa: RET504 - for mypy a context may swallow exceptions


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is raised while a file is read into a `PictureError` that names it."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
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


def _read(path: Path, max_pixels: int) -> Picture:
    check_regular(path)
    with path.open("rb") as file:
        kind = _sniff(path, file)
        if kind == "TIFF":
            return read_tiff(path, file, max_pixels)
        image = PLUGINS[kind](file)
        check_size(path, image.width, image.height, max_pixels)
        check_single(path, getattr(image, "n_frames", 1))
        if kind == "PNG" and _png_depth(file) == 16:
            return _read_deep_png(image, file)
        return replace(from_pil(image), format=kind)


def _damaged(path: Path, error: Exception) -> PictureError:
    words = " ".join(str(error).split()) or type(error).__name__
    return PictureError(path, expected="a whole picture", got=f"a damaged file ({words})")


def _sniff(path: Path, file: IO[bytes]) -> str:
    """PNG, JPEG, WEBP or TIFF, from the first bytes; the file is rewound."""
    head = file.read(16)
    file.seek(0)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    got = f"a file of another kind (it begins with {head[:8]!r})"
    raise PictureError(path, expected="a PNG, JPEG, WebP or TIFF picture", got=got)


def _png_depth(file: IO[bytes]) -> int:
    """The bits per channel that the header of a PNG states."""
    file.seek(24)
    return file.read(1)[0]


def _read_deep_png(image: Image.Image, file: IO[bytes]) -> Picture:
    """A PNG of 16 bits, of which Pillow would drop half, given what Pillow found in its header."""
    import imagecodecs

    file.seek(0)
    data = file.read()
    array = np.asarray(imagecodecs.png_decode(data))
    block = _png_chunk(data, b"eXIf")
    if block is not None:
        image.info["exif"] = exif.PREFIX + block
    # The `getexif` of a PNG would decode it to look for EXIF behind the pixels.
    holder = Image.new("L", (1, 1))
    holder.info = image.info
    kept, orientation = exif.cleaned(holder.getexif)
    picture = from_array(exif.turned(array, orientation))
    icc = matching(image.info.get("icc_profile"), len(picture.pixels))
    return replace(picture, icc=icc, exif=kept, format="PNG", orientation=orientation)


def _png_chunk(data: bytes, name: bytes) -> bytes | None:
    """The content of the first chunk of that name."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == name:
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return None

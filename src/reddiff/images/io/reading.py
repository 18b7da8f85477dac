"""Pictures from files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.images.io.opened import check_size
from reddiff.images.io.openers import MAX_PIXELS, open_picture
from reddiff.images.io.picture import Picture, check_range

MAX_WORDS = 200  # characters of a decoder's message


def read_picture(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    page: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM file; the format is recognized by its content.

    8 and 16 bits per channel are kept; fewer bits become 8. Palettes become RGB, with alpha if they
    have transparent colors. The EXIF orientation is applied. The color profile is kept if it fits
    the channels (an RGB profile does not fit a gray picture). CMYK becomes RGB, by its profile if
    it has one, and `notes` of the picture say so.

    Arguments:
        path: The file.
        max_pixels: Largest height times width. The header is checked before anything is decoded,
            because a small file can expand to a picture that fills the memory.
        page: The page of a TIFF file or the frame of an animation, from 1.
        value_range: The values of black and white: for floats outside [0, 1], and for integers that
            do not use all their bits (0 and 4095 for a camera with 12 bits). Values outside the
            range are kept.

    Raises:
        PictureError: If the file is missing, unreadable, empty, truncated, damaged, or in another
            format; if it has more than `max_pixels` pixels, or several pictures without `page`; or
            if its pixels are of an unsupported kind (Lab, raw sensor values, floats outside [0, 1]
            without `value_range`, ...).
        InvalidArgument: If `value_range` is not a range, or `page` is below 1.
    """
    path = Path(path)
    check_range(value_range)
    require(page is None or page >= 1, "page", expected="a number from 1", got=page)
    with picture_errors(path), open_picture(path, page, value_range) as found:
        check_size(path, found.width, found.height, max_pixels)
        picture = found.load()
        if value_range is not None and picture.value_range is None:
            picture = _spread(picture, value_range)
    return picture


def picture_size(path: str | Path, *, page: int | None = None) -> tuple[int, int]:
    """The height and the width of the upright picture in a file, from its header.

    Arguments and errors as for `read_picture`.
    """
    path = Path(path)
    with picture_errors(path), open_picture(path, page, None) as found:
        size = found.size
    return size  # noqa: RET504 - as above


@contextmanager
def picture_errors(path: Path) -> Iterator[None]:
    """Convert any exception raised while a file is read to a `PictureError` that names the file."""
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


def _spread(picture: Picture, value_range: tuple[float, float]) -> Picture:
    """Rescale a picture of integers, with these values as black and white."""
    top = (1 << picture.bits) - 1
    low, high = (value / top for value in value_range)
    pixels = (picture.pixels - low) / (high - low)
    return replace(picture, pixels=pixels, value_range=value_range)


def _damaged(path: Path, error: Exception) -> PictureError:
    words = " ".join(str(error).split()) or type(error).__name__
    words = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."
    return PictureError(path, expected="a whole picture", got=f"a damaged file ({words})")

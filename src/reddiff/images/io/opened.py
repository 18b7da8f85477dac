"""A picture file with its header read, before memory is allocated for the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reddiff.errors import PictureError
from reddiff.images.io.picture import Picture


@dataclass(frozen=True)
class Opened:
    """Size and orientation from the header, and a function that reads the pixels.

    Arguments:
        width: Width of the stored picture.
        height: Height of the stored picture.
        orientation: EXIF orientation.
        load: Reads the picture and turns it upright.
    """

    width: int
    height: int
    orientation: int
    load: Callable[[], Picture]

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width of the upright picture."""
        stored = (self.height, self.width)
        return stored[::-1] if self.orientation >= 5 else stored  # those that transpose


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError if the picture is too large."""
    if width * height > max_pixels:
        got = f"{width}x{height} = {width * height}"
        raise PictureError(path, expected=f"at most {max_pixels} pixels", got=got)


def page_index(path: Path, count: int, page: int | None) -> int:
    """Index of the page to read, from 0: the one requested, or the only one."""
    if page is None and count != 1:
        got = f"an animation or a file of {count} pages" if count else "none"
        hint = " (--page N picks one of several)" if count else ""
        raise PictureError(path, expected=f"one picture{hint}", got=got)
    if page is not None and not 1 <= page <= count:
        raise PictureError(path, expected=f"a page from 1 to {count}", got=page)
    return 0 if page is None else page - 1

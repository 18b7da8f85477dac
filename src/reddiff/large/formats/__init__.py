"""Files that are read and written in parts: NumPy arrays, (Geo)TIFF and Zarr."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reddiff.errors import PictureError
from reddiff.files import system_reason
from reddiff.large.formats.base import Canvas, Source
from reddiff.large.formats.npy import NpyCanvas, open_npy
from reddiff.large.formats.tiff_reader import open_tiff
from reddiff.large.formats.tiff_writer import TiffCanvas
from reddiff.large.formats.zarr_store import ZarrCanvas, open_zarr


@dataclass(frozen=True)
class Format:
    """A file format.

    Arguments:
        open: Opens a file, or a page of it, for reading.
        canvas: Makes the file to write in, in a folder, for the result of a source at a scale.
    """

    open: Callable[[Path, int | None], Source]
    canvas: Callable[[Path, Source, int], Canvas]


FORMATS: Mapping[str, Format] = {
    ".npy": Format(open_npy, NpyCanvas),
    ".tif": Format(open_tiff, TiffCanvas),
    ".tiff": Format(open_tiff, TiffCanvas),
    ".zarr": Format(open_zarr, ZarrCanvas),
}


def format_of(path: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
        PictureError: If it is unknown.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        expected = f"a file that is read in parts ({', '.join(FORMATS)})"
        raise PictureError(path, expected=expected, got=path.suffix or "a name without suffix")
    return found


def open_large(path: Path, page: int | None = None) -> Source:
    """Open a picture or a mask.

    Raises:
        InvalidArgument: If a package is missing, or a page is named and the format has none.
        PictureError: If the format is unknown, or the file cannot be read.
    """
    kind = format_of(path)
    if not path.exists():
        raise PictureError(path, expected="a file that can be read", got="no such file", errno=2)
    try:
        return kind.open(path, page)
    except OSError as error:
        got = system_reason(error)
        raise PictureError(path, expected="to read it", got=got, errno=error.errno) from error

"""TIFF and GeoTIFF, read tile by tile or strip by strip."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.large.formats.base import Source
from reddiff.large.formats.geotiff import kept_tags, nodata_of
from reddiff.large.formats.npy import MappedSource
from reddiff.large.layout import Index, Layout

REDUCED, MASK = 1, 4  # bits of NewSubfileType
ALPHA = (1, 2)  # of ExtraSamples
CONTIGUOUS, SEPARATE = 1, 2  # of PlanarConfiguration
COLORS = {"MINISBLACK": 1, "RGB": 3, "YCBCR": 3}


@dataclass(frozen=True, kw_only=True, eq=False)
class TiffSource(Source):
    """A page of a TIFF.

    Arguments:
        offsets: Where each tile or strip begins.
        counts: Its bytes; 0 if it is not there.
        decode: Decodes one, by its bytes and its number; see `tifffile.TiffPage.decode`.
    """

    offsets: Sequence[int]
    counts: Sequence[int]
    decode: Callable[[bytes | None, int], tuple[Any, Any, tuple[int, ...]]]

    def read(self, index: Index) -> NDArray[Any]:
        """The entries of this index, from the tiles or strips that hold some of them."""
        at, first, last = self.layout.rows, index[0], index[-1]
        rows, columns = self.layout.spans(index)
        planes = (
            [first] if at and isinstance(first, int) else range(self.layout.shape[0] if at else 1)
        )
        found = np.stack([self._region(plane, rows, columns) for plane in planes])
        if at:
            return found[0, ..., 0] if isinstance(first, int) else found[..., 0]
        return found[0][..., last if len(self.layout.shape) == 3 else 0]

    def _region(self, plane: int, rows: range, columns: range) -> NDArray[Any]:
        """A part `(h, w, samples)` of a plane."""
        samples = (
            self.layout.shape[2] if len(self.layout.shape) == 3 and not self.layout.rows else 1
        )
        found = np.empty((len(rows), len(columns), samples), self.dtype)
        high, wide = self.chunk
        down, across = (
            range(r.start // n, (r.stop - 1) // n + 1) for r, n in ((rows, high), (columns, wide))
        )
        for i, j in product(down, across):
            part = self._part(plane, i, j)
            top, left = i * high, j * wide
            above, below = max(rows.start, top), min(rows.stop, top + len(part))
            start, stop = max(columns.start, left), min(columns.stop, left + wide)
            target = found[above - rows.start : below - rows.start]
            target[:, start - columns.start : stop - columns.start] = part[
                above - top : below - top, start - left : stop - left
            ]
        return found

    def _part(self, plane: int, row: int, column: int) -> NDArray[Any]:
        """A tile or strip `(h, w, samples)`; tiles at the border may be cut."""
        down, across = (-(-n // c) for n, c in zip(self.layout.size, self.chunk, strict=True))
        number = (plane * down + row) * across + column
        data = None
        if self.counts[number]:
            with self.path.open("rb") as file:
                file.seek(self.offsets[number])
                data = file.read(self.counts[number])
        decoded, _, shape = self.decode(data, number)
        if decoded is None:  # a sparse file
            value = 0 if self.nodata is None else self.nodata
            return np.full(shape[1:], value, self.dtype)
        return np.asarray(decoded[0])


def open_tiff(path: Path, page: int | None) -> Source:
    """Open a page of a TIFF; smaller copies do not count as pages.

    Raises:
        PictureError: If it is no TIFF, has several pages and none is named, an alpha channel, an
            internal mask, or other colors than gray and RGB.
    """
    import tifffile

    log = logging.getLogger("tifffile")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(path) as tiff:
            return _opened(path, _chosen(path, [p.aspage() for p in tiff.pages], page))
    except (tifffile.TiffFileError, ValueError, KeyError) as error:
        if isinstance(error, InvalidArgument):
            raise
        raise PictureError(path, expected="a TIFF", got=error) from error


def _chosen(path: Path, pages: Sequence[Any], number: int | None) -> Any:
    """The page to read."""
    masks = [p for p in pages if p.subfiletype & MASK]
    full = [p for p in pages if not p.subfiletype & (MASK | REDUCED)]
    if masks:
        expected = "missing pixels given by a nodata value"
        raise PictureError(path, expected=expected, got="an internal mask")
    if not full or (number is None and len(full) > 1):
        raise PictureError(path, expected="one page, or --page", got=f"{len(full)} pages")
    expected = f"a number from 1 to {len(full)}"
    require(number is None or number <= len(full), "page", expected=expected, got=number)
    return full[0 if number is None else number - 1]


def _opened(path: Path, page: Any) -> Source:
    for problem in _problems(page):
        raise PictureError(path, expected="gray or RGB, whole values, no alpha", got=problem)
    size, samples = (page.imagelength, page.imagewidth), page.samplesperpixel
    color = COLORS[page.photometric.name] == samples == 3
    if samples == 1:
        layout = Layout(size, 0)
    elif page.planarconfig == SEPARATE:
        layout = Layout((samples, *size), 1, 0 if color else None)
    else:
        layout = Layout((*size, samples), 0, 2 if color else None)
    nodata, notes = nodata_of(page)
    extras = {
        "tags": kept_tags(page),
        "compression": int(page.compression),
        "predictor": int(page.predictor),
        "bigtiff": page.parent.is_bigtiff,
    }
    common: dict[str, Any] = {
        "path": path,
        "layout": layout,
        "nodata": nodata,
        "extras": extras,
        "notes": notes,
    }
    if page.is_contiguous:
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        return MappedSource(**common, dtype=dtype, chunk=(1, 1), offset=page.dataoffsets[0])
    if page.is_tiled:
        chunk = page.tilelength, page.tilewidth
    else:
        chunk = min(page.rowsperstrip, size[0]), size[1]
    return TiffSource(
        **common,
        dtype=page.dtype,
        chunk=chunk,
        offsets=page.dataoffsets,
        counts=page.databytecounts,
        decode=partial(page.decode, jpegtables=page.jpegtables),
    )


def _problems(page: Any) -> Iterator[str]:
    """What cannot be read."""
    name = getattr(page.photometric, "name", str(page.photometric))
    if name not in COLORS or (name == "YCBCR" and page.compression != 7):
        yield name.lower()
    if any(extra in ALPHA for extra in page.extrasamples):
        yield "an alpha channel"
    if page.dtype is None or page.bitspersample not in (8, 16, 32, 64):
        yield f"{page.bitspersample} bits"
    if page.imagedepth != 1:
        yield "a volume"

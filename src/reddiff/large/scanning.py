"""One pass over a picture before any work: its hash, its limits and its missing pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.errors import InvalidArgument, PictureError
from reddiff.images.io.picture import SLACK
from reddiff.large.formats.base import Source
from reddiff.large.values import missing

BLOCK = 1 << 20  # pixels that are read at once, at the least
DARK = 0.25  # a picture whose values reach less of the range than this gets a note


@dataclass(frozen=True)
class Scan:
    """What one pass over a source finds.

    Arguments:
        digest: The SHA-256 of its values, type and shape.
        low: The smallest value that is not missing.
        high: The largest.
        missing: The number of missing values.
        values: The number of all values.
    """

    digest: str
    low: float
    high: float
    missing: int
    values: int


def blocks(source: Source) -> Iterator[NDArray[Any]]:
    """All values in a fixed order, in blocks of whole chunks."""
    (height, width), (high, wide) = source.layout.size, source.chunk
    wide = min(width, -(-1024 // wide) * wide)
    high = min(height, max(1, BLOCK // wide // high) * high)
    for picture in source.layout.pictures:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                rows = slice(top, min(top + high, height))
                columns = slice(left, min(left + wide, width))
                yield source.read(source.layout.at(picture, rows, columns))


def scan(source: Source, nodata: float | None = None) -> Scan:
    """Read a source once.

    Raises:
        PictureError: If a part cannot be read, or all values are missing.
    """
    layout = source.layout
    digest = sha256(f"{source.dtype.str}{layout.shape}{layout.color}".encode())
    low, high, gone, count = np.inf, -np.inf, 0, 0
    for values in blocks(source):
        digest.update(np.ascontiguousarray(values).data)
        good = values[~missing(values, nodata)]
        if good.size:
            low, high = min(low, float(good.min())), max(high, float(good.max()))
        gone, count = gone + values.size - good.size, count + values.size
    if gone == count:
        raise PictureError(source.path, expected="a picture", got="missing values only")
    return Scan(digest.hexdigest(), low, high, gone, count)


def limits(
    source: Source, found: Scan, given: tuple[float, float] | None
) -> tuple[float, float, list[str]]:
    """The values of black and white, and notes.

    Raises:
        InvalidArgument: If they are not given and the values do not tell.
    """
    notes = []
    if given is not None:
        if found.low < given[0] or found.high > given[1]:
            held = f"{found.low:.6g} to {found.high:.6g}"
            limit = f"{given[0]:g} to {given[1]:g}"
            notes.append(f"The file holds {held}; the result is clipped to the range {limit}.")
        return *given, notes
    if source.dtype.kind == "b":
        return 0.0, 1.0, notes
    if source.dtype.kind == "u" and source.dtype.itemsize <= 2:
        top = float(np.iinfo(source.dtype).max)
        if found.high < DARK * top:
            notes.append(
                f"No value is above {found.high:g} of {top:g}: --range 0,{found.high:g} would show "
                "the prior a picture of full contrast."
            )
        return 0.0, top, notes
    inside = found.low >= -SLACK and found.high <= 1 + SLACK
    if source.dtype.kind == "f" and inside:
        return 0.0, 1.0, notes
    expected = "what black and white are (--range LOW,HIGH)"
    got = f"none, for values from {found.low:.6g} to {found.high:.6g}"
    raise InvalidArgument("range", expected=expected, got=got)

"""The tags of a TIFF that its result keeps: georeference, missing values, profile, resolution."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

PIXEL_SCALE, TIEPOINTS, TRANSFORMATION = 33550, 33922, 34264
GEO_KEYS, GEO_DOUBLES, GEO_TEXTS = 34735, 34736, 34737
GDAL_METADATA, GDAL_NODATA = 42112, 42113
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296
RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
ARTIST, COPYRIGHT, ICC, XMP = 315, 33432, 34675, 700

KEPT = (
    *(DESCRIPTION, RESOLUTION_UNIT, ARTIST, COPYRIGHT, XMP, ICC),
    *(PIXEL_SCALE, TIEPOINTS, TRANSFORMATION, GEO_KEYS, GEO_DOUBLES, GEO_TEXTS),
    *(GDAL_METADATA, GDAL_NODATA, X_RESOLUTION, Y_RESOLUTION),
)
RASTER_TYPE, POINT = 1025, 2  # a geographic key, and its value for coordinates of pixel centers
LAYOUTS = ("{", "ImageJ=", "<?xml", "<OME")  # descriptions in which programs store a layout
STATISTICS = re.compile(r'\s*<Item name="STATISTICS_[^>]*>[^<]*</Item>')

Tag = tuple[int, int, int, Any]  # code, type, count, value


def kept_tags(page: Any) -> dict[int, Tag]:
    """The tags to keep, by their codes."""
    found = {}
    for code in KEPT:
        tag = page.tags.get(code)
        if tag is None:
            continue
        value = tag.value
        if code == DESCRIPTION and str(value).startswith(LAYOUTS):
            continue
        if code == GDAL_METADATA:  # statistics of the values before the restoration
            value = STATISTICS.sub("", str(value))
        text = isinstance(value, str)
        count = 0 if text else tag.count
        found[code] = (code, int(tag.dtype), count, value)
    return found


def nodata_of(page: Any) -> tuple[float | None, tuple[str, ...]]:
    """The value of missing pixels in GDAL's tag, and notes."""
    tag = page.tags.get(GDAL_NODATA)
    if tag is None:
        return None, ()
    text = str(tag.value).strip().strip("\0")
    try:
        value = float(text)
    except ValueError:
        return None, (f"The nodata value {text} is no number and was ignored.",)
    if page.dtype.kind in "iu":
        limits = np.iinfo(page.dtype)
        if value != value or value != round(value) or not limits.min <= value <= limits.max:
            note = f"No pixel can have the nodata value {text} in {page.dtype}; it was ignored."
            return None, (note,)
    return value, ()


def scaled_tags(tags: dict[int, Tag], scale: int) -> dict[int, Tag]:
    """The tags of a picture that is `scale` times higher and wider, at the same place on the map.

    Coordinates of a raster are those of pixel corners, or of centers if `GTRasterTypeGeoKey` says
    so: the center of the first pixel then moves.
    """
    found = dict(tags)
    half = (scale - 1) / 2 if _is_point(tags) else 0.0
    if PIXEL_SCALE in tags:
        x, y, z = tags[PIXEL_SCALE][3][:3]
        found[PIXEL_SCALE] = (*tags[PIXEL_SCALE][:3], (x / scale, y / scale, z))
    if TIEPOINTS in tags:
        points = np.array(tags[TIEPOINTS][3], float).reshape(-1, 6)
        points[:, :2] = points[:, :2] * scale + half
        found[TIEPOINTS] = (*tags[TIEPOINTS][:3], tuple(points.ravel()))
    if TRANSFORMATION in tags:
        matrix = np.array(tags[TRANSFORMATION][3], float).reshape(4, 4)
        matrix[:, :2] /= scale
        matrix[:, 3] -= half * (matrix[:, 0] + matrix[:, 1])
        found[TRANSFORMATION] = (*tags[TRANSFORMATION][:3], tuple(matrix.ravel()))
    for code in (X_RESOLUTION, Y_RESOLUTION):
        if code in tags:
            above, below = tags[code][3]
            found[code] = (*tags[code][:3], (above * scale, below))
    return found


def _is_point(tags: dict[int, Tag]) -> bool:
    """Whether raster coordinates are those of pixel centers."""
    if GEO_KEYS not in tags:
        return False
    keys = np.array(tags[GEO_KEYS][3]).reshape(-1, 4)[1:]
    return any(key == RASTER_TYPE and value == POINT for key, _, _, value in keys)

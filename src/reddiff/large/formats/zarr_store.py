"""Zarr arrays, and OME-Zarr groups, in local folders. Needs the extra `zarr`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.errors import InvalidArgument, PictureError, import_package, require
from reddiff.large.formats.base import Canvas, Source
from reddiff.large.layout import Index, Layout

SIDE = 1024  # of the chunks of the result, where those of the source are larger


@dataclass(frozen=True, kw_only=True, eq=False)
class ZarrSource(Source):
    """An array in a store.

    Arguments:
        array: The array, as zarr has it.
    """

    array: Any

    def read(self, index: Index) -> NDArray[Any]:
        """The entries of this index."""
        return np.asarray(self.array[index])


def open_zarr(path: Path, page: int | None) -> ZarrSource:
    """Open an array, or the first array of an OME-Zarr group, of Zarr v2 or v3.

    Missing pixels are those of the attribute `_FillValue`, if there is one.

    Raises:
        InvalidArgument: If zarr is not installed, or a page is named.
        PictureError: If it is neither.
    """
    require(page is None, "page", expected="none for a Zarr array", got=page)
    zarr = import_package("zarr", "image", "zarr")
    expected = "a Zarr array or an OME-Zarr group"
    try:
        found = zarr.open(str(path), mode="r")
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise PictureError(path, expected=expected, got=error) from error
    extras: dict[str, Any] = {"attributes": dict(found.attrs)}
    extras["version"] = found.metadata.zarr_format
    names: Sequence[str | None] | None = None
    if isinstance(found, zarr.Group):
        scales = _multiscales(extras["attributes"])
        if not scales:
            raise PictureError(path, expected=expected, got="a group without multiscales")
        extras["group"], dataset = True, scales[0]["datasets"][0]["path"]
        names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in scales[0]["axes"]]
        found = found[dataset]
        extras |= {"array": dict(found.attrs), "dataset": dataset}
    names = names or getattr(found.metadata, "dimension_names", None)
    layout = _layout(path, found.shape, names)
    chunks = getattr(found, "shards", None) or found.chunks
    extras |= {"names": names, "fill": found.fill_value, "chunks": chunks}
    nodata = extras.get("array", extras["attributes"]).get("_FillValue")
    return ZarrSource(
        path=path,
        layout=layout,
        dtype=found.dtype,
        chunk=(chunks[layout.rows], chunks[layout.rows + 1]),
        nodata=float(nodata) if isinstance(nodata, int | float) else None,
        extras=extras,
        array=found,
    )


def _multiscales(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pyramids of an OME-Zarr group, of version 0.4 or 0.5."""
    inner = attributes.get("ome", attributes)
    found: list[dict[str, Any]] = inner.get("multiscales", [])
    return found


def _layout(path: Path, shape: tuple[int, ...], names: Sequence[str | None] | None) -> Layout:
    """The layout by the names of the axes, where there are any."""
    if names is None or "y" not in names or "x" not in names:
        return Layout.guess(shape, "image")
    rows, columns = names.index("y"), names.index("x")
    if columns != rows + 1 or len(shape) > rows + 3 or min(shape) < 1:
        expected = "axes (..., y, x) or (..., y, x, c)"
        raise PictureError(path, expected=expected, got=f"({', '.join(map(str, names))})")
    last = len(shape) == rows + 3 and shape[-1] == 3
    return Layout(shape, rows, rows + 2 if last else None)


class ZarrCanvas(Canvas):
    """A Zarr array with the version, attributes and axes of the source.

    An OME-Zarr group becomes one of a single resolution, with its scale and translation adapted.
    """

    def __init__(self, folder: Path, source: Source, scale: int) -> None:
        super().__init__(folder, source, scale)
        rows, shape = source.layout.rows, self.layout.shape
        chunks = source.extras["chunks"]
        sides = [min(c, SIDE, n) for c, n in zip(chunks, shape, strict=True)]
        # a chunk of each picture: otherwise writing one would touch others
        self.chunks = [
            s if i in (rows, rows + 1) else shape[i] if i == source.layout.color else 1
            for i, s in enumerate(sides)
        ]

    @property
    def chunk(self) -> tuple[int, int]:
        """Height and width of a chunk."""
        rows = self.layout.rows
        return self.chunks[rows], self.chunks[rows + 1]

    def create(self) -> None:
        """Make the array and its group."""
        zarr = import_package("zarr", "output", "zarr")
        extras, place = self.source.extras, self.path
        version = extras["version"]
        if extras.get("group"):
            attributes = scaled_attributes(extras["attributes"], self.scale)
            if not place.exists():
                zarr.open_group(str(place), mode="a", zarr_format=version, attributes=attributes)
            place = place / extras["dataset"]
        mine = extras.get("array", extras["attributes"])
        if place.exists():
            self.array = zarr.open_array(str(place), mode="r+")
            return
        more: dict[str, Any] = {"dimension_names": extras["names"]} if version == 3 else {}
        if version == 2:
            more["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        self.array = zarr.create_array(
            store=str(place),
            shape=self.layout.shape,
            dtype=self.source.dtype,
            chunks=self.chunks,
            fill_value=extras["fill"],
            zarr_format=version,
            attributes=mine,
            **more,
        )

    def write(self, index: Index, values: NDArray[Any]) -> None:
        """Write whole chunks, each of which is renamed when it is complete."""
        self.array[index] = values

    def flush(self) -> None:
        """Wait for the disks."""
        if hasattr(os, "sync"):
            os.sync()

    def finish(self) -> Path:
        """Nothing is left to do."""
        self.flush()
        return self.path


def scaled_attributes(attributes: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """The attributes of an OME-Zarr group with its first resolution only, and smaller pixels.

    Raises:
        InvalidArgument: If its transformations have other lengths than its axes.
    """
    found = copy.deepcopy(dict(attributes))
    for pyramid in _multiscales(found):
        pyramid["datasets"] = pyramid["datasets"][:1]
        names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in pyramid["axes"]]
        moved = pyramid["datasets"][0].get("coordinateTransformations", [])
        sizes: list[float] = [1.0] * len(names)
        for entry in moved:
            if entry["type"] == "scale":
                sizes = list(entry["scale"])
        if len(sizes) != len(names):
            raise InvalidArgument("image", expected="a scale per axis", got=sizes)
        small = [s / scale if n in ("y", "x") else s for s, n in zip(sizes, names, strict=True)]
        # centers of pixels: the first one moves by half of what the pixels became smaller
        shift = [(b - a) / 2 for a, b in zip(sizes, small, strict=True)]
        offset = [0.0] * len(names)
        for entry in moved:
            if entry["type"] == "translation":
                offset = list(entry["translation"])
        if scale > 1:
            moved = [
                {"type": "scale", "scale": small},
                {
                    "type": "translation",
                    "translation": [a + b for a, b in zip(offset, shift, strict=True)],
                },
            ]
            pyramid["datasets"][0]["coordinateTransformations"] = moved
    return found

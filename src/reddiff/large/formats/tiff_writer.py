"""TIFF and GeoTIFF, written in tiles when all pixels are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reddiff.large.formats.geotiff import RESOLUTION, scaled_tags
from reddiff.large.formats.npy import NpyCanvas
from reddiff.large.layout import Index

TILE = 256
COMPRESSIONS = {1: None, 5: "lzw", 8: "adobe_deflate", 32946: "adobe_deflate", 50000: "zstd"}
PREDICTORS = (2, 3)  # differences of integers, and of floats
CLASSIC = 1 << 32  # bytes in a TIFF that is no BigTIFF


class TiffCanvas(NpyCanvas):
    """Pixels in a .npy file, which becomes a tiled TIFF at the end.

    It has the tags and the lossless compression of the source; deflate if that was lossy.
    """

    def __init__(self, folder: Path, source: Any, scale: int) -> None:
        super().__init__(folder, source, scale)
        self.file_path, self.path = self.path, folder / "result.npy"

    def finish(self) -> Path:
        """Write the TIFF."""
        import tifffile

        self.flush()
        extras = self.source.extras
        layout, dtype = self.layout, self.source.dtype.newbyteorder("=")
        tags = scaled_tags(extras["tags"], self.scale)
        across, down, unit = (tags.pop(code, None) for code in RESOLUTION)  # tifffile's own
        separate = layout.rows == 1
        colors = layout.color is not None
        compression = COMPRESSIONS.get(extras["compression"], "adobe_deflate")
        predictor = extras["predictor"] if extras["predictor"] in PREDICTORS else None
        large = np.prod(layout.shape, dtype=float) * dtype.itemsize > CLASSIC * 0.95
        samples = layout.shape[0] if separate else (*layout.shape[2:], 1)[0]
        tifffile.imwrite(
            self.file_path,
            self._tiles(),
            shape=layout.shape,
            dtype=dtype,
            bigtiff=bool(large or extras["bigtiff"]),
            tile=(TILE, TILE),
            photometric="rgb" if colors else "minisblack",
            planarconfig=("separate" if separate else "contig") if samples > 1 else None,
            extrasamples=[0] * (samples - 1) if samples > 1 and not colors else None,
            compression=compression,
            predictor=None if compression is None else predictor,
            resolution=None if across is None or down is None else (across[3], down[3]),
            resolutionunit=None if unit is None else int(unit[3]),
            extratags=[(*tag, True) for tag in tags.values()],
            metadata=None,
            software=False,
        )
        with self.file_path.open("rb") as file:
            os.fsync(file.fileno())
        self.close()
        return self.file_path

    def _tiles(self) -> Iterator[NDArray[Any]]:
        """The tiles, in the order of the file."""
        height, width = self.layout.size
        rows, shape = self.layout.rows, self.layout.shape
        lead: list[Index] = [(i,) for i in range(shape[0])] if rows else [()]
        for first, top, left in product(lead, range(0, height, TILE), range(0, width, TILE)):
            array = np.memmap(self.path, self.source.dtype, "r", self.offset, shape)
            part = array[(*first, slice(top, top + TILE), slice(left, left + TILE))]
            tile = np.zeros((TILE, TILE, *part.shape[2:]), self.source.dtype.newbyteorder("="))
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile

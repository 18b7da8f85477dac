"""Files that are read and written in parts: the same entries as NumPy, tifffile, zarr and GDAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from rasterio.transform import Affine

from reddiff.errors import PictureError
from reddiff.large.channels import Channels
from reddiff.large.formats import format_of, open_large
from reddiff.large.formats.zarr_store import scaled_attributes
from reddiff.large.grid import Grid
from reddiff.large.layout import Layout
from reddiff.large.scanning import scan
from reddiff.large.values import as_type

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 60000, (70, 90), dtype=np.uint16)
COLOR = RNG.integers(0, 255, (70, 90, 3), dtype=np.uint8)
PLANES = RNG.normal(size=(5, 70, 90)).astype(np.float32)


def tiff(array: np.ndarray, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "a.tif"
        tifffile.imwrite(path, array, metadata=None, **options)
        return path

    return make


def npy(array: np.ndarray) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.save(folder / "a.npy", array)
        return folder / "a.npy"

    return make


def store(array: np.ndarray, chunks: tuple[int, ...], **more: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        place = str(folder / "a.zarr")
        made = zarr.create_array(place, shape=array.shape, chunks=chunks, dtype=array.dtype, **more)
        made[:] = array
        return folder / "a.zarr"

    return make


MINIS, RGB, TILE = {"photometric": "minisblack"}, {"photometric": "rgb"}, {"tile": (32, 48)}
SQUARE = {"tile": (16, 16), "compression": "zlib", "predictor": True}
FILES = {
    "npy": (npy(GRAY), GRAY),
    "npy of columns": (npy(np.asfortranarray(COLOR)), COLOR),
    "npy, big-endian": (npy(PLANES.astype(">f4")), PLANES),
    "contiguous": (tiff(COLOR, **RGB), COLOR),
    "big-endian": (tiff(GRAY, byteorder=">", **MINIS), GRAY),
    "tiles": (tiff(COLOR, **RGB, **SQUARE), COLOR),
    "tiles, 16 bits": (tiff(GRAY, **MINIS, **SQUARE, byteorder=">"), GRAY),
    "strips": (tiff(COLOR, **RGB, rowsperstrip=7, compression="lzw"), COLOR),
    "planes": (tiff(PLANES, **MINIS, planarconfig="separate", **TILE), PLANES),
    "planes of strips": (
        tiff(PLANES, **MINIS, planarconfig="separate", rowsperstrip=9, compression="zlib"),
        PLANES,
    ),
    "five channels": (
        tiff(np.moveaxis(PLANES, 0, -1), **MINIS, **TILE, planarconfig="contig"),
        np.moveaxis(PLANES, 0, -1),
    ),
    "BigTIFF": (tiff(GRAY, **MINIS, **TILE, bigtiff=True), GRAY),
    "zarr": (store(COLOR, (20, 30, 3)), COLOR),
    "zarr 2": (store(GRAY, (20, 30), zarr_format=2), GRAY),
    "sharded": (store(PLANES, (1, 10, 30), shards=(1, 70, 90)), PLANES),
}


@pytest.mark.parametrize("name", FILES)
def test_parts_are_those_of_the_whole(name, tmp_path):
    make, array = FILES[name]
    source = open_large(make(tmp_path))
    assert source.layout.shape == array.shape
    assert source.dtype == array.dtype or source.dtype.newbyteorder("=") == array.dtype
    for picture in source.layout.pictures:
        for rows, columns in ((slice(0, 70), slice(0, 90)), (slice(13, 41), slice(30, 90))):
            index = source.layout.at(picture, rows, columns)
            assert (source.read(index) == array[index]).all()


@pytest.mark.parametrize(
    ("name", "channels"),
    [*((name, Channels.AUTO) for name in FILES), *((n, Channels.APART) for n in ("tiles", "zarr"))],
)
def test_a_result_written_in_parts_is_whole(name, channels, tmp_path):
    make, array = FILES[name]
    source = open_large(make(tmp_path))
    source = replace(source, layout=source.layout.with_channels(channels))
    canvas = format_of(source.path).canvas(tmp_path / "parts", source, 1)
    (tmp_path / "parts").mkdir()
    canvas.create()
    layout, grid = canvas.layout, Grid((70, 90), 48, 10, 1, canvas.chunk)
    parts = [(p, box) for p in layout.pictures for row in grid.parts for box in row]
    assert (
        sum(np.prod(box.size) for _, box in parts) * array.size
        == 70 * 90 * len(layout.pictures) * array.size
    )
    for place in RNG.permutation(len(parts)):
        picture, box = parts[place]
        index = layout.at(picture, box.rows, box.columns)
        canvas.write(index, array[index])
        if place == 3:  # as after an interruption
            canvas = format_of(source.path).canvas(tmp_path / "parts", source, 1)
            canvas.create()
    found = canvas.finish()
    again = open_large(found)
    assert again.layout.shape == array.shape
    assert again.extras.get("version") == source.extras.get("version")
    assert again.layout.with_channels(channels) == source.layout
    for picture in again.layout.pictures:
        index = again.layout.at(picture, slice(0, 70), slice(0, 90))
        assert (again.read(index) == array[index]).all()
    if found.suffix == ".tif":
        assert (tifffile.imread(found) == array).all()


def test_a_sparse_tile_is_missing(tmp_path):
    path = tmp_path / "a.tif"
    shape = {"width": 64, "height": 64, "count": 1, "dtype": "float32", "nodata": -1.0}
    options = {"tiled": True, "blockxsize": 32, "blockysize": 32, "sparse_ok": True}
    with rasterio.open(
        path, "w", driver="GTiff", transform=Affine.scale(2), **shape, **options
    ) as f:
        f.write(np.ones((32, 32), np.float32), 1, window=((0, 32), (32, 64)))
    source = open_large(path)
    with rasterio.open(path) as file:
        expected = file.read(1)
    assert (source.read((slice(0, 64), slice(0, 64))) == expected).all()
    assert scan(source, source.nodata).missing == 3 * 32 * 32


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_geotiff_stays_at_its_place(point, rotated, scale, tmp_path):
    path = tmp_path / "a.tif"
    at = Affine.translation(500_000, 4_600_000) @ Affine.rotation(30.0 * rotated)
    at = at @ Affine.scale(10, -10)
    size = {"height": 70, "width": 90, "count": 1, "dtype": "uint16", "nodata": 65535}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs="EPSG:32633",
        transform=at,
        tiled=True,
        **size,
        blockxsize=32,
        blockysize=32,
        compress="deflate",
    ) as file:
        file.write(GRAY, 1)
        file.update_tags(AREA_OR_POINT="Point" if point else "Area", SENSOR="test")
        file.update_tags(1, STATISTICS_MEAN="7")
        file.set_band_description(1, "red")
    source = open_large(path)
    canvas = format_of(path).canvas(tmp_path, source, scale)
    canvas.create()
    canvas.write(
        (slice(0, 70 * scale), slice(0, 90 * scale)), GRAY.repeat(scale, 0).repeat(scale, 1)
    )
    with rasterio.open(canvas.finish()) as file:
        assert file.crs.to_epsg() == 32633
        expected = at @ Affine.scale(1 / scale)
        assert np.allclose(file.transform, expected, rtol=0, atol=1e-6)
        assert file.nodata == 65535
        assert file.tags()["SENSOR"] == "test"
        assert file.tags()["AREA_OR_POINT"] == ("Point" if point else "Area")
        assert file.descriptions == ("red",)
        assert "STATISTICS_MEAN" not in file.tags(1)
        assert file.compression.name == "deflate"
        assert file.profile["tiled"]


def test_a_scan_keeps_its_description(tmp_path):
    profile = bytes(128)
    tifffile.imwrite(
        tmp_path / "a.tif", GRAY, photometric="minisblack", metadata=None, description="sheet 7",
        resolution=(600, 600), resolutionunit="INCH", iccprofile=profile, datetime=True,
    )  # fmt: skip
    source = open_large(tmp_path / "a.tif")
    canvas = format_of(source.path).canvas(tmp_path, source, 2)
    canvas.create()
    canvas.write((slice(0, 140), slice(0, 180)), GRAY.repeat(2, 0).repeat(2, 1))
    with tifffile.TiffFile(canvas.finish()) as file:
        tags = file.pages.first.tags
        assert tags["ImageDescription"].value == "sheet 7"
        assert tags["XResolution"].value == (1200, 1)
        assert tags["ResolutionUnit"].value == 2
        assert tags["InterColorProfile"].value == profile
        codes = [tag.code for tag in tags]
        assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            tiff(
                RNG.integers(0, 9, (32, 32, 4), dtype=np.uint8), **RGB, extrasamples=["unassalpha"]
            ),
            "an alpha channel",
        ),
        (tiff(GRAY.astype(np.complex64), **MINIS), "64 bits|complex64"),
        (tiff(np.ones((4, 32, 32), np.uint8), **MINIS), "4 pages"),
        (npy(GRAY.astype("O")), "objects"),
        (npy(GRAY.astype(np.int64)), "int64"),
    ],
)
def test_what_cannot_be_read_is_refused(make, expected, tmp_path):
    with pytest.raises(PictureError, match=expected):
        open_large(make(tmp_path))


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_keeps_its_axes_and_units(version, tmp_path):
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "micrometer"} for n in "yx"
    ]
    datasets = [
        {
            "path": str(i),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 0.5 * 2**i, 0.25 * 2**i]},
                {"type": "translation", "translation": [0, 100, 200]},
            ],
        }
        for i in range(2)
    ]
    inner = {"multiscales": [{"axes": axes, "datasets": datasets, "name": "cells"}]}
    attributes = inner if version == 2 else {"ome": {"version": "0.5", **inner}}
    group = zarr.open_group(
        str(tmp_path / "a.zarr"), mode="w", zarr_format=version, attributes=attributes
    )
    array = group.create_array("0", shape=PLANES.shape, chunks=(5, 32, 32), dtype="float32")
    array[:] = PLANES
    source = open_large(tmp_path / "a.zarr")
    assert source.layout == Layout(PLANES.shape, 1)
    canvas = format_of(source.path).canvas(tmp_path / "parts", source, 2)
    canvas.create()
    for k in range(5):
        canvas.write((k, slice(0, 140), slice(0, 180)), PLANES[k].repeat(2, 0).repeat(2, 1))
    found = zarr.open_group(str(canvas.finish()), mode="r")
    attributes = dict(found.attrs)
    pyramid = attributes.get("ome", attributes)["multiscales"][0]
    assert pyramid["name"] == "cells"
    assert pyramid["axes"] == axes
    assert pyramid["datasets"] == [
        {
            "path": "0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 0.25, 0.125]},
                {"type": "translation", "translation": [0, 99.875, 199.9375]},
            ],
        }
    ]
    assert found["0"].shape == (5, 140, 180)
    assert (found["0"][:, ::2, ::2] == PLANES).all()
    assert scaled_attributes(inner, 1)["multiscales"][0]["datasets"] == datasets[:1]


def test_no_value_becomes_nodata_by_rounding():
    values = np.array([-3.0, 0.0, 0.2, 0.9, 254.6, 300.0])
    assert as_type(values, np.dtype("u1"), 0.0).tolist() == [1, 1, 1, 1, 255, 255]
    assert as_type(values, np.dtype("u1"), 255.0).tolist() == [0, 0, 0, 1, 254, 254]
    assert as_type(values, np.dtype("u1"), 1.0).tolist() == [0, 0, 0, 0, 255, 255]
    assert as_type(np.array([6.8, 7.2]), np.dtype("i2"), 7.0).tolist() == [6, 8]
    found = as_type(np.array([-9999.0, 1.0]), np.dtype("f4"), -9999.0)
    assert found[0] != -9999
    assert abs(found[0] + 9999) < 0.01
    assert found[1] == 1

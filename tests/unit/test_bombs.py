"""Small files with headers of huge pictures are refused before anything is decoded."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.lib import format as npy
from PIL import Image

from reddiff import PictureError
from reddiff.images.io import picture_size, read_kernel, read_mask, read_picture


def tiff(strip: bytes, compression: int, side: int = 64) -> bytes:
    """A gray TIFF of one strip."""
    start = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, side),
        (257, side),
        (258, 8),
        (259, compression),
        (262, 1),
        (273, start),
        (277, 1),
        (278, side),
        (279, len(strip)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + strip


ENCODERS = {
    7: imagecodecs.jpeg8_encode,
    34712: lambda a: imagecodecs.jpeg2k_encode(a, level=0),
    34887: imagecodecs.lerc_encode,
    34933: imagecodecs.png_encode,
    34934: imagecodecs.jpegxr_encode,
    50002: lambda a: imagecodecs.jpegxl_encode(a, effort=1, lossless=True),
}


@pytest.mark.parametrize("compression", ENCODERS)
def test_the_picture_in_a_strip_is_of_the_size_of_the_strip(tmp_path, compression):
    for side in (64, 63, 65, 200):
        picture = np.full((side, side), 7, np.uint8)
        path = tmp_path / f"{side}.tif"
        path.write_bytes(tiff(bytes(ENCODERS[compression](picture)), compression))
        if side == 64:
            assert np.abs(read_picture(path).to_numpy().astype(int) - picture).max() <= 1
        else:
            with pytest.raises(PictureError, match=r"strips or tiles of 64x64 pixels"):
                read_picture(path)


def test_a_header_of_jpeg_2000_that_lies_is_not_believed(tmp_path):
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8), codecformat="j2k"))
    at = data.find(b"\xff\x51")
    data[at + 6 : at + 14] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "a.tif").write_bytes(tiff(bytes(data), 34712))
    with pytest.raises(PictureError, match="got one of 60000x60000 pixels"):
        read_picture(tmp_path / "a.tif")


def test_rare_compressions_are_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(bytes(99), 65000))
    with pytest.raises(PictureError, match=r"a TIFF compressed by .*convert it first: tiffcp"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cannot_hold_more_than_its_bytes_do(tmp_path, progressive):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(buffer, "JPEG", progressive=progressive)
    data = bytearray(buffer.getvalue())
    at = data.find(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 13_000, 13_000)
    (tmp_path / "a.jpg").write_bytes(data)
    words = r"expected a whole picture, got a truncated file \(\d+ bytes for 13000x13000 pixels"
    with pytest.raises(PictureError, match=words):
        read_picture(tmp_path / "a.jpg")


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    (tmp_path / "a.jpg").write_bytes(data[:first] + data[first:second] * 200 + b"\xff\xd9")
    with pytest.raises(PictureError, match="at most 100 scans"):
        read_picture(tmp_path / "a.jpg")


def test_half_a_jpeg_with_an_end_marker_is_no_whole_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    path = tmp_path / "a.jpg"
    for settings in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", **settings)
        data = buffer.getvalue()
        path.write_bytes(data)
        assert read_picture(path).notes == ()
        for part in (0.4, 0.6, 0.8, 0.95):
            path.write_bytes(data[: int(part * len(data))] + b"\xff\xd9")
            try:
                notes = read_picture(path).notes
            except PictureError as error:
                assert error.got == "a truncated file"  # noqa: PT017 - either is right
            else:  # cut between two scans
                assert "progressive" in settings
                assert notes[-1] == "The JPEG file lacks its last scans: fine detail is missing."


def test_a_jpeg_without_its_end_marker_is_read_and_said(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    whole, cut = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for settings in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        Image.fromarray(pixels).save(whole, quality=90, **settings)
        cut.write_bytes(whole.read_bytes()[:-2])
        picture = read_picture(cut)
        np.testing.assert_array_equal(picture.to_numpy(), read_picture(whole).to_numpy())
        assert picture.notes == ("The JPEG file has no end marker; all of its pixels are there.",)
        cut.write_bytes(whole.read_bytes()[:-6])
        with pytest.raises(PictureError, match="truncated"):
            read_picture(cut)


def test_a_progressive_jpeg_without_its_last_scan_is_said_to_be(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: data.rfind(b"\xff\xc4")] + b"\xff\xd9")
    notes = read_picture(tmp_path / "a.jpg").notes
    assert notes == ("The JPEG file lacks its last scans: fine detail is missing.",)


def test_jpeg_strips_of_half_a_tiff_are_missed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    strip = bytes(imagecodecs.jpeg8_encode(pixels))
    (tmp_path / "a.tif").write_bytes(tiff(strip[: len(strip) // 2] + b"\xff\xd9", 7))
    with pytest.raises(PictureError, match="truncated"):
        read_picture(tmp_path / "a.tif")


def test_a_png_cannot_hold_more_than_its_bytes_do(tmp_path):
    data = bytearray(imagecodecs.png_encode(np.zeros((64, 64, 4), np.uint16)))
    data[16:24] = struct.pack(">II", 13_000, 13_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PictureError, match="expected a whole picture, got a truncated file"):
        read_picture(tmp_path / "a.png")


def claim(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file, and nothing behind it."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(2**20, 2**20), (2**40,), (2**62, 4), (-1, 5), (9, 9)])
def test_arrays_that_claim_more_than_they_hold(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(claim(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("psf.npy", claim(shape))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(PictureError, match=r"at most 16777216 bytes|648 bytes of entries"):
            read_kernel(tmp_path / name)


def test_what_is_of_a_known_size_is_measured_before_it_is_decoded(tmp_path, monkeypatch):
    big = tmp_path / "big.png"
    Image.new("L", (3000, 2000)).save(big)
    tifffile.imwrite(tmp_path / "big.tif", np.zeros((2000, 3000), np.uint8))

    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("reddiff.images.io.png.decode_shallow", never)
    monkeypatch.setattr("reddiff.images.io.tiff._pixels", never)
    for path in (big, tmp_path / "big.tif"):
        assert picture_size(path) == (2000, 3000)
        with pytest.raises(PictureError, match=r"a mask of 32x24 pixels.*, got one of 3000x2000"):
            read_mask(path, (24, 32))
        with pytest.raises(PictureError, match="at most 1046529 pixels, got 3000x2000"):
            read_kernel(path)

"""Less common files: CMYK, BMP, PPM, floats, pages, raw photos, 16 bits in every layout."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from reddiff import InvalidArgument, PictureError
from reddiff.images.io import Picture, as_range, picture_size, read_picture, write_picture


def levels(*shape: int, top: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


PIXELS = levels(12, 17, 3)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".gif", ".tga"])
def test_bitmaps(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(PIXELS).quantize(64).convert("RGB").save(path)
    if suffix == ".tga":
        with pytest.raises(PictureError, match="a file of another kind"):
            read_picture(path)
        return
    with Image.open(path) as image:
        want = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_picture(path).to_numpy(), want)
    assert picture_size(path) == (12, 17)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PictureError, match="whole picture"):
        read_picture(path)


@pytest.mark.parametrize(
    ("text", "want", "bits"),
    [
        (b"P1\n# a comment\n3 2\n1 0 1\n010\n", [[0, 1, 0], [1, 0, 1]], 8),
        (b"P2 3 1 15\n0 # none\n5 15\n", [[0, 1 / 3, 1]], 8),
        (b"P4\n3 2\n\xa0\x40", [[0, 1, 0], [1, 0, 1]], 8),
        (b"P5 2 1 1000 " + struct.pack(">HH", 250, 1000), [[0.25, 1]], 16),
        (b"P3\n1 1\n255\n255 0 51\n", [[[1, 0, 0.2]]], 8),
    ],
)
def test_portable_maps(tmp_path, text, want, bits):
    (tmp_path / "a.pnm").write_bytes(text)
    picture = read_picture(tmp_path / "a.pnm")
    assert picture.bits == bits
    expected = torch.tensor(want, dtype=torch.float32)
    expected = expected.movedim(-1, 0) if expected.ndim == 3 else expected[None]
    torch.testing.assert_close(picture.pixels, expected)
    for cut in (4, len(text) - 3):
        (tmp_path / "b.pnm").write_bytes(text[:cut])
        with pytest.raises(PictureError):
            read_picture(tmp_path / "b.pnm")


@pytest.mark.parametrize("suffix", [".ppm", ".pgm", ".bmp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bitmaps_are_written(tmp_path, suffix, bits):
    bits = 8 if suffix == ".bmp" else bits
    gray = suffix == ".pgm"
    array = levels(6, 5, 3, top=1 << bits, dtype=np.uint8 if bits == 8 else np.uint16)
    array = array[..., 0] if gray else array
    pixels = torch.from_numpy(array.astype(np.float32) / (2**bits - 1))
    pixels = pixels[None] if gray else pixels.movedim(-1, 0).contiguous()
    write_picture(tmp_path / f"a{suffix}", Picture(pixels, bits=bits))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}").to_numpy(), array)


def cmyk_profile() -> bytes | None:
    """A profile of inks that the system has, if any."""
    for folder in ("/usr/share/color/icc", "/usr/share/ghostscript"):
        for path in sorted(Path(folder).rglob("*.ic[cm]")):
            data = path.read_bytes()
            if data[16:20] == b"CMYK":
                return data
    return None


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_inks_become_colors(tmp_path, suffix):
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(picture.pixels[:, 0, 0], [0, 1, 1], atol=0.01)
    assert picture.notes == (
        "The picture is CMYK without a usable profile: its colors are approximate.",
    )
    broken = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    broken[16:20] = b"CMYK"
    image.save(tmp_path / f"b{suffix}", icc_profile=bytes(broken))
    assert read_picture(tmp_path / f"b{suffix}").icc is None
    profile = cmyk_profile()
    if profile is not None:
        image.save(tmp_path / f"c{suffix}", icc_profile=profile)
        picture = read_picture(tmp_path / f"c{suffix}")
        assert picture.notes == ("The picture is CMYK: it was converted to sRGB by its profile.",)


# Floats


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_are_pixels(tmp_path, dtype):
    values = (PIXELS / 255).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.bits, picture.value_range, picture.notes) == (32, None, ())
    np.testing.assert_allclose(picture.pixels.movedim(0, -1), values, rtol=1e-6)
    picture.save(tmp_path / "b.tif")
    assert tifffile.imread(tmp_path / "b.tif").dtype == np.float32
    np.testing.assert_allclose(tifffile.imread(tmp_path / "b.tif"), values, rtol=1e-6)
    picture.save(tmp_path / "b.png")
    assert read_picture(tmp_path / "b.png").bits == 16


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, np.int32])
def test_numbers_need_a_range_and_come_back_in_it(tmp_path, dtype):
    values = np.array([[-100, 0, 50], [100, 300, 320]]).clip(0 if dtype == np.uint32 else None)
    tifffile.imwrite(tmp_path / "a.tif", values.astype(dtype))
    with pytest.raises(
        PictureError, match=r"the values of black and white \(--range LOW,HIGH\), got va"
    ):
        read_picture(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif", value_range=(-100, 300))
    torch.testing.assert_close(picture.pixels[0], torch.tensor((values + 100) / 400).float())
    assert picture.notes[0].startswith("1 values (17 %) lie outside the range -100 to 300")
    picture.save(tmp_path / "b.tif")
    back = tifffile.imread(tmp_path / "b.tif")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, values, atol=1e-3)


def test_a_range_of_integers(tmp_path):
    values = levels(6, 7, top=4096, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    picture = read_picture(tmp_path / "a.tif", value_range=(0, 4095))
    np.testing.assert_allclose(picture.pixels[0], values / 4095, atol=1e-6)
    for name in ("b.tif", "b.png"):
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_picture(tmp_path / name).to_numpy(), values)
    assert np.abs(picture.to_numpy(8) - values / 4095 * 255).max() <= 0.5


def test_ranges_that_are_none(tmp_path):
    for text in ("", "1", "1,2,3", "a,b", "nan,1", "0,inf", "2,2", "3,1", "9" * 5000):
        with pytest.raises(InvalidArgument, match=r"range: expected .*two finite numbers"):
            as_range(text)
    assert as_range("-1.5,1e3") == (-1.5, 1000)
    values = np.array([[0.5, np.nan]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(PictureError, match="finite values, got nan or inf in 1 of 2"):
        read_picture(tmp_path / "a.tif", value_range=(0, 1))


# Several pictures in a file


def test_pages_and_frames(tmp_path):
    frames = [np.full((8, 9, 3), v, np.uint8) for v in (0, 102, 255)]
    images = [Image.fromarray(frame) for frame in frames]
    for suffix in (".png", ".webp", ".gif", ".tif"):
        settings = {"lossless": True} if suffix == ".webp" else {}
        path = tmp_path / f"a{suffix}"
        images[0].save(path, save_all=True, append_images=images[1:], **settings)
        for page, frame in enumerate(frames, 1):
            np.testing.assert_array_equal(read_picture(path, page=page).to_numpy(), frame)
        for page in (4, 99):
            with pytest.raises(PictureError, match=f"a page from 1 to 3, got {page}"):
                read_picture(path, page=page)
    with pytest.raises(InvalidArgument, match="page: expected a number from 1, got 0"):
        read_picture(path, page=0)
    Image.fromarray(PIXELS).save(tmp_path / "one.jpg")
    assert read_picture(tmp_path / "one.jpg", page=1).size == (12, 17)


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TYX"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_stacks_by_imagej_are_of_several_pages(tmp_path, axes, dtype):
    stack = levels(3, 10, 12, top=256, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
    with pytest.raises(PictureError, match=r"one picture \(--page N .* a file of 3 pages"):
        read_picture(tmp_path / "a.tif")
    for page in (1, 2, 3):
        got = read_picture(tmp_path / "a.tif", page=page)
        np.testing.assert_array_equal(got.to_numpy(), stack[page - 1])


# What is not read


def test_raw_photos_are_refused_and_not_their_thumbnails(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.dng") as file:
        thumbnail = np.zeros((16, 16, 3), np.uint8)
        file.write(thumbnail, photometric="rgb", subfiletype=1, subifds=1)
        file.write(levels(64, 64, dtype=np.uint16), photometric=32803, subfiletype=0)
    with tifffile.TiffWriter(tmp_path / "b.dng") as file:
        tags = [(50706, "B", 4, (1, 4, 0, 0), True)]
        file.write(PIXELS, photometric="rgb", extratags=tags)
    for name in ("a.dng", "b.dng"):
        with pytest.raises(PictureError, match=r"a raw photo \(DNG.*convert it first: darktable"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0", r"a raw photo \(CR2\); convert it first"),
        (b"\0\0\0\x18ftypcrx isom", r"a raw photo \(CR3\)"),
        (b"FUJIFILMCCD-RAW 0201", r"a raw photo \(RAF\)"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC picture; convert it first: heif-convert"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture; convert it first: avifdec"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture; convert it first: djxl"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"SIMPLE  =                    T", "a FITS file"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"\x93NUMPY\1\0", "a NumPy array; convert it first: reddiff.restore"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", r"a metadata file of macOS .* not a picture$"),
        (b"%PDF-1.4", "a PDF document; convert it first: pdftoppm"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, head, words):
    path = tmp_path / "a.png"
    path.write_bytes(head + bytes(200))
    with pytest.raises(PictureError, match=words):
        read_picture(path)


# 16 bits


def interlaced(array: np.ndarray) -> bytes:
    """A PNG of 16 bits in seven passes."""
    height, width, channels = array.shape
    rows = b""
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = array[top::down, left::right].astype(">u2")
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_interlaced_pngs_of_16_bits(tmp_path, channels, capfd):
    path = tmp_path / "a.png"
    for size in ((1, 1), (3, 2), (21, 19)):
        array = levels(*size, channels, top=65536, dtype=np.uint16)
        path.write_bytes(interlaced(array))
        got = read_picture(path).to_numpy().reshape(array.shape)
        np.testing.assert_array_equal(got, array)
    path.write_bytes(interlaced(array)[:-30])
    with pytest.raises(PictureError):
        read_picture(path)
    assert capfd.readouterr() == ("", "")


def test_16_bits_are_saved_and_not_lost_in_silence(tmp_path):
    array = levels(5, 6, 3, top=65536, dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(bytes(imagecodecs.png_encode(array)))
    picture = read_picture(path)
    with pytest.warns(UserWarning, match=r"16 bits per channel to 8; picture.save\(path\) keeps"):
        picture.to_pil()
    for name in ("b.png", "b.tif"):
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_picture(tmp_path / name).to_numpy(), array)
    gray = Picture(picture.pixels[:1], bits=16)
    buffer = io.BytesIO()
    gray.to_pil().save(buffer, "PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), array[..., 0])


def test_a_picture_is_printed_without_its_pixels():
    assert repr(Picture(torch.zeros(3, 4, 5), bits=16)) == "Picture(5x4, RGB, 16 bits)"

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps

from reddiff import InvalidArgument, ReddiffError
from reddiff.errors import PictureError
from reddiff.images.io import (
    Picture,
    as_picture,
    check_output,
    read_kernel,
    read_mask,
    read_picture,
    write_picture,
    write_whole,
)
from reddiff.images.io.exif import loaded
from reddiff.operators import CircularBlur, motion_psf

LOSSLESS = [".png", ".tif"]
EVERY = [".png", ".tif", ".jpg", ".webp"]
FILES = [*((suffix, 8) for suffix in EVERY), *((suffix, 16) for suffix in LOSSLESS)]
RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = RGB_PROFILE[:16] + b"GRAY" + RGB_PROFILE[20:]
DTYPES = {8: np.uint8, 16: np.uint16}


def levels(bits: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Random levels, the first and last among them."""
    top = 2**bits - 1
    array = np.random.default_rng(seed).integers(0, top, shape, DTYPES[bits], endpoint=True)
    array.flat[0], array.flat[-1] = 0, top
    return array


def smooth(height: int, width: int, channels: int = 3) -> torch.Tensor:
    """A picture that JPEG and WebP change little."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([0.2 + 0.6 * x, 0.8 - 0.5 * y, 0.3 + 0.4 * x * y][:channels])


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Make] = "Maker"
    block[ExifTags.Base.Orientation] = orientation
    block[ExifTags.Base.YCbCrPositioning] = 1
    block[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05",
        ExifTags.Base.ExifImageWidth: 99,
        ExifTags.Base.MakerNote: b"some note",
    }
    block[ExifTags.IFD.GPSInfo] = {1: "N", 2: (52.0, 30.0, 1.5)}
    return block.tobytes()


def file_of(path: Path, array: np.ndarray, *, block: bytes = b"", icc: bytes | None = None) -> Path:
    """Write a file, by other means than `write_picture` where there are any."""
    if array.dtype == np.uint16:
        write_picture(path, Picture(as_picture(array).pixels, None, 16, icc, block or None))
    else:
        Image.fromarray(array).save(path, quality=100, lossless=True, exif=block, icc_profile=icc)
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def refused(path: Path, words: str, **options) -> PictureError:
    with pytest.raises(PictureError, match=words) as caught:
        read_picture(path, **options)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert "\n" not in str(caught.value)
    return caught.value


# Round trips


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (23, 37)])
def test_lossless_files_keep_every_level(tmp_path, suffix, bits, channels, size):
    array = levels(bits, *size, channels)
    array = array[..., 0] if channels == 1 else array
    write_picture(tmp_path / f"a{suffix}", as_picture(array))
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.bits == bits
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.shape == (1 if channels < 3 else 3, *size)
    assert (picture.alpha is None) == (channels in (1, 3))
    np.testing.assert_array_equal(picture.to_numpy(), array)
    # Other programs see the same.
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)
    if bits == 8 or array.ndim == 2:
        with Image.open(tmp_path / f"a{suffix}") as image:
            np.testing.assert_array_equal(np.asarray(image), array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_webp_of_quality_100_keeps_every_level_as_rgb(tmp_path, channels):
    array = levels(8, 19, 13, channels)
    write_picture(tmp_path / "a.webp", as_picture(array), quality=100)
    colors, alpha = (
        array[..., : channels - 1 + channels % 2],
        array[..., 3 - 2 * (channels == 2) :],
    )
    expected = np.broadcast_to(colors, (19, 13, 3))
    if channels in (2, 4):
        expected = np.concatenate([expected, alpha], -1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp").to_numpy(), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_files_are_near(tmp_path, suffix, channels):
    pixels = smooth(33, 47, channels)
    write_picture(tmp_path / f"a{suffix}", Picture(pixels, bits=16))
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.bits == 8
    assert len(picture.pixels) == (3 if suffix == ".webp" else channels)
    assert (picture.pixels - pixels).abs().max() < 0.03


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_makes_lossy_files_larger_and_better(tmp_path, suffix):
    picture = as_picture(levels(8, 64, 64, 3))
    for quality in (10, 95):
        write_picture(tmp_path / f"{quality}{suffix}", picture, quality=quality)
    low, high = (tmp_path / f"{quality}{suffix}" for quality in (10, 95))
    assert low.stat().st_size < high.stat().st_size
    errors = [(read_picture(p).pixels - picture.pixels).square().mean() for p in (low, high)]
    assert errors[1] < errors[0]
    with pytest.raises(InvalidArgument, match="quality: expected 1 to 100, got 0"):
        write_picture(tmp_path / "x.jpg", picture, quality=0)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.integers(1, 4),
    bits=st.sampled_from([8, 16]),
    suffix=st.sampled_from(LOSSLESS),
)
def test_any_size_comes_back(tmp_path_factory, height, width, channels, bits, suffix):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    array = levels(bits, height, width, channels, seed=height * width)
    write_picture(path, as_picture(array))
    got = read_picture(path).to_numpy()
    np.testing.assert_array_equal(got.reshape(array.shape), array)


@pytest.mark.parametrize("bits", [8, 16])
def test_large_tiffs_are_of_several_strips(tmp_path, bits):
    array = levels(bits, 700, 801, 3)
    write_picture(tmp_path / "a.tif", as_picture(array))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages[0].dataoffsets) > 1
        np.testing.assert_array_equal(tiff.pages[0].asarray(), array)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").to_numpy(), array)


@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_are_rounded_to_the_nearest_level_and_never_wrap_around(tmp_path, bits):
    top = 2**bits - 1
    values = torch.tensor(
        [-7.0, -0.3 / top, 0.0, 0.4 / top, 0.6 / top, 1 - 0.4 / top, 1.0, 1.4, 99]
    )
    write_picture(tmp_path / "a.png", Picture(values.reshape(1, 1, -1), bits=bits))
    got = read_picture(tmp_path / "a.png").to_numpy()
    np.testing.assert_array_equal(got, [[0, 0, 0, 0, 1, top, top, top, top]])


def test_pixels_that_are_not_finite_are_not_written(tmp_path):
    pixels = torch.full((3, 4, 4), torch.nan)
    with pytest.raises(PictureError, match="expected finite values, got nan or inf"):
        write_picture(tmp_path / "a.png", Picture(pixels))
    assert not list(tmp_path.iterdir())


# What other programs write


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4)],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_modes_of_pillow(tmp_path, mode, channels, suffix):
    image = Image.fromarray(levels(8, 12, 17, 3 if mode == "P" else 4)).convert(mode)
    image.save(tmp_path / f"a{suffix}")
    plain = {"1": "L", "P": "RGB"}.get(mode, mode)
    got = read_picture(tmp_path / f"a{suffix}")
    assert got.bits == 8
    np.testing.assert_array_equal(got.to_numpy(), np.asarray(image.convert(plain)))
    assert len(got.pixels) + (got.alpha is not None) == channels


def test_a_palette_with_transparent_colors_has_alpha(tmp_path):
    image = Image.fromarray(levels(8, 12, 17, 3)).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    with Image.open(tmp_path / "a.png") as same:
        expected = np.asarray(same.convert("RGBA"))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").to_numpy(), expected)


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (1, 2, 3))])
def test_a_transparent_color_becomes_alpha(tmp_path, mode, key):
    array = levels(8, 6, 5, 3)
    array[2, 3] = key
    array = array[..., 0] if mode == "L" else array
    array = np.where(array == 7, 8, array).astype(np.uint8) if mode == "L" else array
    array[2, 3] = key
    Image.fromarray(array).save(tmp_path / "a.png", transparency=key)
    got = read_picture(tmp_path / "a.png")
    assert got.alpha is not None
    expected = np.ones((6, 5))
    expected[2, 3] = 0
    np.testing.assert_array_equal(got.alpha[0], expected)


def test_a_16_bit_transparent_color_becomes_alpha(tmp_path):
    array = levels(16, 6, 5, 3)
    data = imagecodecs.png_encode(array)
    key = chunk(b"tRNS", array[2, 3].astype(">u2").tobytes())
    (tmp_path / "a.png").write_bytes(data[:33] + key + data[33:])
    got = read_picture(tmp_path / "a.png")
    assert got.alpha is not None
    assert got.bits == 16
    assert (got.alpha == 0).sum() == 1
    assert got.alpha[0, 2, 3] == 0
    np.testing.assert_array_equal(got.to_numpy()[..., :3], array)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_gray_of_few_bits_is_stretched_to_8(tmp_path, depth, suffix):
    array = levels(8, 5, 16) % 2**depth
    top = 2**depth - 1
    if suffix == ".png":
        bits = ((array[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(5, -1)
        rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
        header = struct.pack(">IIBBBBB", 16, 5, depth, 0, 0, 0, 0)
        parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    else:
        tifffile.imwrite(tmp_path / "a.tif", array, bitspersample=depth, photometric="minisblack")
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.bits == 8
    torch.testing.assert_close(picture.pixels[0], torch.from_numpy(array / top).float())


TIFF_KINDS = [
    {},
    {"planarconfig": "separate"},
    {"tile": (16, 16)},
    {"bigtiff": True},
    {"byteorder": ">"},
    {"rowsperstrip": 4},
]


@pytest.mark.parametrize("kind", TIFF_KINDS, ids=str)
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiffs_of_every_layout(tmp_path, bits, compression, kind):
    for channels in (1, 2, 3, 4):
        array = levels(bits, 37, 41, channels)
        extra = ["unassalpha"] if channels in (2, 4) else None
        stored = np.moveaxis(array, -1, 0) if "planarconfig" in kind else array
        if channels == 1:
            if "planarconfig" in kind:
                continue
            stored = array[..., 0]
        tifffile.imwrite(
            tmp_path / "a.tif",
            stored,
            photometric="rgb" if channels > 2 else "minisblack",
            extrasamples=extra,
            compression=compression,
            predictor=compression in ("zlib", "lzw"),
            **kind,
        )
        picture = read_picture(tmp_path / "a.tif")
        assert picture.bits == bits
        np.testing.assert_array_equal(picture.to_numpy().reshape(array.shape), array)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiffs_where_white_is_zero_are_inverted(tmp_path, bits):
    array = levels(bits, 9, 9)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").to_numpy(), 2**bits - 1 - array)


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_that_is_multiplied_into_a_tiff_is_divided_out(tmp_path, bits):
    top = 2**bits - 1
    colors, alpha = levels(bits, 9, 9, 3), levels(bits, 9, 9, 1, seed=1) // 2 + top // 4
    product = np.rint(colors * (alpha / top)).astype(colors.dtype)
    stored = np.concatenate([product, alpha], -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    got = read_picture(tmp_path / "a.tif").to_numpy().astype(int)
    np.testing.assert_array_equal(got[..., 3:], alpha)
    assert np.abs(got[..., :3] - colors).max() <= 3


def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path):
    array = levels(16, 9, 9, 4)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").to_numpy(), array[..., :3])


def test_jpeg_in_a_tiff(tmp_path):
    array = (255 * smooth(48, 48)).byte().movedim(0, -1).numpy()
    for photometric in ("rgb", "ycbcr"):
        image = Image.fromarray(array)
        if photometric == "ycbcr":
            image.save(tmp_path / "a.tif", compression="jpeg", quality=95)
        else:
            tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", compression="jpeg")
        got = read_picture(tmp_path / "a.tif")
        assert np.abs(got.to_numpy().astype(int) - array).max() < 12


def test_a_smaller_copy_in_a_tiff_is_passed_over(tmp_path):
    array = levels(16, 20, 20, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(array, photometric="rgb")
        writer.write(array[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").to_numpy(), array)


def test_the_content_counts_and_not_the_name(tmp_path):
    write_picture(tmp_path / "a.png", as_picture(levels(8, 5, 5)))
    (tmp_path / "a.png").rename(tmp_path / "b.jpg")
    assert read_picture(tmp_path / "b.jpg").format == "PNG"
    assert read_picture(str(tmp_path / "b.jpg")).size == (5, 5)


# Orientation, EXIF, profile


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "bits"), FILES)
def test_pictures_come_upright(tmp_path, suffix, bits, orientation):
    array = (smooth(30, 20).movedim(0, -1).numpy() * (2**bits - 1)).astype(DTYPES[bits])
    path = file_of(tmp_path / f"a{suffix}", array, block=exif(orientation))
    picture = read_picture(path)
    turned = Image.fromarray((array // 257 if bits == 16 else array).astype(np.uint8))
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(turned)) / 255
    assert picture.size == expected.shape[:2]
    assert np.abs(picture.pixels.movedim(0, -1).numpy() - expected).max() < 0.03
    # Written again, it stays upright.
    write_picture(tmp_path / f"b{suffix}", picture)
    assert read_picture(tmp_path / f"b{suffix}").size == picture.size
    assert picture.exif is not None
    assert ExifTags.Base.Orientation not in loaded(picture.exif)


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.parametrize(("source", "bits"), FILES)
def test_exif_and_profile_go_from_format_to_format(tmp_path, source, target, bits):
    array = levels(bits, 10, 12, 3)
    path = file_of(tmp_path / f"a{source}", array, block=exif(), icc=RGB_PROFILE)
    write_picture(tmp_path / f"b{target}", read_picture(path))
    picture = read_picture(tmp_path / f"b{target}")
    assert picture.icc == RGB_PROFILE
    assert picture.exif is not None
    block = loaded(picture.exif)
    assert block[ExifTags.Base.Make] == "Maker"
    assert ExifTags.Base.YCbCrPositioning not in block
    photo = {ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05"}
    assert dict(block.get_ifd(ExifTags.IFD.Exif)) == photo
    assert dict(block.get_ifd(ExifTags.IFD.GPSInfo)) == {1: "N", 2: (52.0, 30.0, 1.5)}
    with Image.open(tmp_path / f"b{target}") as image:  # and Pillow finds them
        assert image.info["icc_profile"] == RGB_PROFILE
        assert image.getexif()[ExifTags.Base.Make] == "Maker"


@pytest.mark.parametrize("suffix", EVERY)
@pytest.mark.parametrize(("profile", "channels"), [(GRAY_PROFILE, 1), (RGB_PROFILE, 3)])
def test_a_profile_is_kept_where_it_fits_the_channels(tmp_path, suffix, profile, channels):
    other = 4 - channels
    for count in (channels, other):
        pixels = smooth(8, 8, count)
        write_picture(tmp_path / f"{count}{suffix}", Picture(pixels, icc=profile))
    kept = None if suffix == ".webp" and channels == 1 else profile  # WebP has no gray
    assert read_picture(tmp_path / f"{channels}{suffix}").icc == kept
    assert read_picture(tmp_path / f"{other}{suffix}").icc is None


def test_exif_behind_the_pixels_of_a_png_is_found(tmp_path):
    array = levels(16, 6, 4, 3)
    data = imagecodecs.png_encode(array)
    late = chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(data[:-12] + late + data[-12:])
    picture = read_picture(tmp_path / "a.png")
    assert picture.size == (4, 6)
    assert picture.exif is not None


@pytest.mark.parametrize("suffix", EVERY)
def test_damaged_exif_is_left_out(tmp_path, suffix):
    path = file_of(tmp_path / f"a{suffix}", levels(8, 8, 8, 3), block=exif())
    data = path.read_bytes()
    at = data.index(b"Maker\0") if suffix == ".tif" else data.index(exif()[6:16])
    path.write_bytes(data[:at] + b"\xff" * 6 + data[at + 6 :])
    if suffix == ".png":  # with the sum of the chunk made right again
        start = path.read_bytes().index(b"eXIf")
        broken = path.read_bytes()
        length = int.from_bytes(broken[start - 4 : start], "big")
        whole = chunk(b"eXIf", broken[start + 4 : start + 4 + length])
        path.write_bytes(broken[: start - 4] + whole + broken[start + 8 + length :])
    assert read_picture(path).size == (8, 8)


def test_exif_too_large_for_jpeg_is_left_out(tmp_path):
    block = Image.Exif()
    block[ExifTags.Base.ImageDescription] = "x" * 70_000
    for suffix in EVERY:
        write_picture(tmp_path / f"a{suffix}", Picture(smooth(8, 8), exif=block.tobytes()))
        assert (read_picture(tmp_path / f"a{suffix}").exif is None) == (suffix == ".jpg")


def test_layouts_in_the_description_of_a_tiff_are_left_out(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", levels(16, 8, 8, 3), photometric="rgb", software="it")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.exif is not None
    assert ExifTags.Base.ImageDescription not in loaded(picture.exif)
    assert loaded(picture.exif)[ExifTags.Base.Software] == "it"


# What cannot be read


def test_a_picture_error_is_one_of_ours():
    error = PictureError("a.png", expected="this", got="that", errno=2)
    assert isinstance(error, ReddiffError)
    assert str(error) == "a.png: expected this, got that"
    assert (error.path, error.expected, error.got, error.errno) == ("a.png", "this", "that", 2)


def test_files_that_are_none(tmp_path):
    assert refused(tmp_path / "none.png", "got no such file").errno == errno.ENOENT
    assert refused(tmp_path, "expected a file, got a directory").errno == errno.EISDIR
    (tmp_path / "empty.png").touch()
    assert refused(tmp_path / "empty.png", "got an empty file").errno is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "got a pipe or device")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", as_picture(levels(8, 5, 5)))

    def forbid(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)
    assert refused(tmp_path / "a.png", "got permission denied").errno == errno.EACCES


@pytest.mark.parametrize(
    "content", [b"\0", b"hello, world", b"GIF90a" + bytes(99), b"RIFF1234WAVE"]
)
def test_files_of_other_kinds(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "expected a PNG, JPEG, WebP, .* picture, got a file of another")


@pytest.mark.parametrize(("suffix", "bits"), FILES)
def test_truncated_files(tmp_path, suffix, bits, capfd):
    write_picture(tmp_path / f"a{suffix}", as_picture(levels(bits, 32, 32, 3)))
    data = (tmp_path / f"a{suffix}").read_bytes()
    for size in [*range(1, 120, 7), *np.linspace(120, len(data) - 40, 15).astype(int)]:
        (tmp_path / "b").write_bytes(data[:size])
        refused(tmp_path / "b", "expected")
    assert capfd.readouterr() == ("", "")  # nothing on stderr beside our words


@pytest.mark.parametrize(("suffix", "bits"), FILES)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    head=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(tmp_path, suffix, bits, changes, head):
    path = tmp_path / f"a{suffix}"
    pixels = as_picture(levels(bits, 9, 11, 3)).pixels
    write_picture(path, Picture(pixels, None, bits, RGB_PROFILE, exif(6)), force=True)
    data = bytearray(path.read_bytes())
    for where, value in changes:
        data[int(where * (min(200, len(data)) - 1 if head else len(data) - 1))] = value
    path.write_bytes(data)
    with contextlib.suppress(PictureError):
        read_picture(path, max_pixels=1_000_000)


def test_colors_that_are_not_rgb(tmp_path):
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    refused(tmp_path / "lab.tif", "got 3 channels of CIELAB")
    tifffile.imwrite(tmp_path / "many.tif", levels(16, 8, 8, 5), photometric="rgb")
    refused(tmp_path / "many.tif", "got 5 channels of RGB")


def test_animations_and_pages(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    for suffix in (".png", ".webp", ".tif"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
        refused(
            tmp_path / f"a{suffix}",
            r"one picture .*--page N.*got an animation or a file of 3 pages",
        )


def test_a_second_picture_in_a_jpeg_is_passed_over(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "a.jpg").pixels[0].min() > 0.9


def test_a_tiff_whose_pages_are_a_circle(tmp_path):
    write_picture(tmp_path / "a.tif", as_picture(levels(8, 5, 5)))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    end = 10 + 12 * int.from_bytes(data[8:10], "little")
    data[end : end + 4] = (8).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    assert read_picture(tmp_path / "a.tif").size == (5, 5)


@pytest.mark.parametrize(("suffix", "bits"), FILES)
def test_pictures_above_the_limit(tmp_path, suffix, bits):
    write_picture(tmp_path / f"a{suffix}", as_picture(levels(bits, 20, 30, 3)))
    assert read_picture(tmp_path / f"a{suffix}", max_pixels=600).size == (20, 30)
    words = "expected at most 599 pixels, got 30x20 = 600"
    refused(tmp_path / f"a{suffix}", words, max_pixels=599)


def test_a_changed_byte_is_named_by_its_chunk(tmp_path):
    write_picture(tmp_path / "a.png", as_picture(levels(8, 5, 5)))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    refused(tmp_path / "a.png", "the checksum of its IDAT differs")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_bomb_is_known_by_its_header(tmp_path, bits):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, bits, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    refused(tmp_path / "a.png", "at most 178000000 pixels, got 60000x60000 = 3600000000")
    write_picture(tmp_path / "a.tif", as_picture(levels(bits, 5, 5)))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[18:22] = data[30:34] = (60_000).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    refused(tmp_path / "a.tif", "at most 178000000 pixels, got 60000x60000 = 3600000000")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", lossless=True)
    webp = bytearray(buffer.getvalue())
    webp[21:25] = ((16383 << 14) | 16383).to_bytes(4, "little")
    (tmp_path / "a.webp").write_bytes(webp)
    refused(tmp_path / "a.webp", "expected")


# Writing


def test_nothing_is_overwritten_unless_forced(tmp_path):
    picture = as_picture(levels(8, 5, 5))
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(
        PictureError, match=r"expected a new file .force replaces one., got one"
    ) as caught:
        write_picture(tmp_path / "a.png", picture)
    assert caught.value.errno == errno.EEXIST
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    write_picture(tmp_path / "a.png", picture, force=True)
    assert read_picture(tmp_path / "a.png").size == (5, 5)


def test_what_cannot_be_written_is_known_before_any_work(tmp_path):
    for name, words in (
        ("a.gif", r"expected a name that ends in \.png, .*got '\.gif'"),
        ("a", "got no suffix"),
        ("none/a.png", "expected an existing folder, got no such folder"),
    ):
        with pytest.raises(PictureError, match=words):
            check_output(tmp_path / name)
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(PictureError, match="expected a file, got a directory"):
        check_output(tmp_path / "dir.png", force=True)
    with pytest.raises(PictureError, match="expected a picture without alpha for JPEG"):
        check_output(tmp_path / "a.jpg", alpha=True)
    with pytest.raises(PictureError, match="expected a picture without alpha for JPEG"):
        write_picture(tmp_path / "a.jpg", as_picture(levels(8, 5, 5, 4)))
    kinds = [check_output(tmp_path / f"a{suffix}") for suffix in EVERY]
    assert kinds == ["PNG", "TIFF", "JPEG", "WEBP"]


def test_pictures_too_large_for_a_format(tmp_path):
    for suffix, words in ((".webp", "that WEBP can hold"), (".jpg", "that JPEG can hold")):
        with pytest.raises(PictureError, match=f"{words}, got one of 70000x1 pixels"):
            write_picture(tmp_path / f"a{suffix}", Picture(torch.zeros(1, 1, 70_000)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("trouble", "caught"),
    [(OSError(errno.ENOSPC, "No space left on device"), PictureError), (KeyboardInterrupt(),) * 2],
)
@pytest.mark.parametrize("there", [False, True])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, there, trouble, caught):
    if there:
        (tmp_path / "a.png").write_bytes(b"mine")

    def fail(_file):
        assert len(list(tmp_path.iterdir())) <= 1 + there  # under another name, or none
        raise trouble

    monkeypatch.setattr("reddiff.staging.fsync", fail)
    with pytest.raises(caught if isinstance(caught, type) else KeyboardInterrupt) as raised:
        write_picture(tmp_path / "a.png", as_picture(levels(8, 5, 5)), force=True)
    if caught is PictureError:
        assert "a.png: expected a writable path, got no space left on device" in str(raised.value)
        assert raised.value.errno == errno.ENOSPC
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"mine"] * there


def test_written_files_have_the_usual_permissions(tmp_path):
    write_whole(tmp_path / "a", b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
    with pytest.raises(PictureError, match="one that exists"):
        write_whole(tmp_path / "a", b"abc")


# Arrays, tensors, PIL images


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_and_tensors_are_pictures(channels):
    for bits in (8, 16):
        array = levels(bits, 6, 7, channels)
        kept = array.copy()
        picture = as_picture(array)
        assert picture.bits == bits
        got = picture.to_numpy()
        np.testing.assert_array_equal(got.reshape(array.shape), array)
        got[...] = 0
        np.testing.assert_array_equal(array, kept)
    floats = array / 65535
    tensor = torch.from_numpy(floats).movedim(-1, 0)
    for image in (floats, floats.astype(np.float32), tensor, tensor.float()):
        again = as_picture(image)
        assert again.bits == 16
        np.testing.assert_array_equal(again.to_numpy(), picture.to_numpy())
    assert as_picture(picture) is picture


def test_layouts_of_arrays_do_not_matter():
    array = levels(16, 6, 7, 3)
    for other in (np.asfortranarray(array), array.astype(">u2"), array[::-1][::-1]):
        np.testing.assert_array_equal(as_picture(other).to_numpy(), array)
    np.testing.assert_array_equal(as_picture(array[::-1]).to_numpy(), array[::-1])
    np.testing.assert_array_equal(as_picture(array[..., 0]).to_numpy(), array[..., 0])


def test_what_is_given_is_never_written_to_or_shared():
    tensor = torch.rand(3, 4, 5)
    kept = tensor.clone()
    picture = as_picture(tensor)
    picture.pixels.zero_()
    assert torch.equal(tensor, kept)
    grad = as_picture(tensor.requires_grad_())
    assert not grad.pixels.requires_grad


def test_rounding_beyond_the_range_is_forgiven():
    picture = as_picture(np.array([[-1e-7, 1.0000001]]))
    assert picture.pixels.min() == 0
    assert picture.pixels.max() == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "La"])
def test_pil_images_are_pictures(mode):
    image = Image.fromarray(levels(8, 6, 7, 3 if mode == "P" else 4) // 2 + 100)
    for step in {"PA": ["LA", "PA"], "La": ["LA", "La"]}.get(mode, [mode]):
        image = image.convert(step)
    picture = as_picture(image)
    plain = {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "La": "LA"}
    expected = np.asarray(image.convert(plain.get(mode, mode)))
    np.testing.assert_array_equal(picture.to_numpy(), expected)
    np.testing.assert_array_equal(np.asarray(picture.to_pil()), expected)


def test_pil_images_come_upright_with_profile_and_exif_and_go_back():
    image = Image.fromarray(levels(8, 6, 7, 3))
    image.info |= {"exif": exif(6), "icc_profile": RGB_PROFILE}
    picture = as_picture(image)
    assert picture.size == (7, 6)
    assert picture.icc == RGB_PROFILE
    back = picture.to_pil()
    assert back.info["icc_profile"] == RGB_PROFILE
    assert back.getexif()[ExifTags.Base.Make] == "Maker"
    assert as_picture(back).size == (7, 6)


def test_16_bit_gray_of_pil_keeps_its_bits():
    array = levels(16, 6, 7)
    picture = as_picture(Image.fromarray(array))
    assert picture.bits == 16
    np.testing.assert_array_equal(picture.to_numpy(), array)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("a.png", "got a str"),
        ([[1, 2]], "got a list"),
        (
            np.zeros((2, 2), np.int64),
            "expected an array of uint8, uint16 or floats .* got .* int64",
        ),
        (np.zeros((2, 2), bool), "got an array of bool"),
        (np.zeros((3, 8, 8)), r"expected an array of shape \(h, w\).* got shape \(3, 8, 8\)"),
        (np.zeros(3), r"got shape \(3,\)"),
        (np.zeros((0, 3)), r"got shape \(0, 3\)"),
        (np.full((2, 2), 255.0), r"expected floats in \[0, 1\], got 255 to 255"),
        (np.array([[-0.5, 1.0]]), r"expected floats in \[0, 1\], got -0.5 to 1"),
        (np.array([[np.nan, 1.0]]), "expected finite values, got nan or inf"),
        (torch.zeros(8, 8), r"expected a tensor of shape \(c, h, w\) .* got shape \(8, 8\)"),
        (torch.zeros(8, 8, 3), r"got shape \(8, 8, 3\)"),
        (torch.zeros(1, 3, 8, 8), r"got shape \(1, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "expected a tensor of floats .* torch.uint8"),
        (2 * torch.ones(3, 8, 8) - 3, r"got -1 to -1"),
        (Image.new("LAB", (4, 4)), "got mode LAB"),
        (Image.new("F", (4, 4)), "got mode F"),
        (Image.new("I", (4, 4)), "got mode I"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_refused(image, words):
    with pytest.raises(InvalidArgument, match=words):
        as_picture(image)


def test_a_picture_is_checked(untyped):
    pixels = torch.zeros(3, 4, 5)
    for options, words in (
        ({"pixels": pixels[0]}, "pixels: expected shape"),
        ({"pixels": pixels[:2]}, "pixels: expected shape"),
        ({"pixels": pixels.double()}, "pixels: expected float32, got torch.float64"),
        ({"pixels": pixels, "bits": 12}, "bits: expected 8, 16 or 32, got 12"),
        ({"pixels": pixels, "alpha": pixels[:1, 1:]}, r"alpha: expected shape \(1, 4, 5\)"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            Picture(**options)


# Masks


def test_a_mask_is_one_where_it_is_at_least_half_white(tmp_path):
    array = np.array([[0, 127, 128], [255, 254, 1]], np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png", (2, 3))
    assert mask.tolist() == [[[0, 0, 1], [1, 1, 0]]]
    assert mask.dtype == torch.float32


def test_masks_of_other_kinds(tmp_path):
    half = np.zeros((4, 6), bool)
    half[:, 3:] = True
    expected = half[None].astype(np.float32)
    array = np.uint8(255) * half
    clear = np.full_like(array, 255)
    for name, image in {
        "bits.png": Image.fromarray(half),
        "rgb.png": Image.fromarray(np.stack([array] * 3, -1)),
        "hole.png": Image.fromarray(np.stack([clear, clear, clear, array], -1)),
        "lossy.jpg": Image.fromarray(array),
    }.items():
        image.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name, (4, 6)), expected)
    write_picture(tmp_path / "deep.png", as_picture(np.uint16(65535) * half))
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png", (4, 6)), expected)


def test_a_mask_of_another_size(tmp_path):
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a mask of 6x4 pixels .*, got one of 2x2"):
        read_mask(tmp_path / "a.png", (4, 6))
    mask = read_mask(tmp_path / "a.png", (4, 6), fit=True)
    half = torch.tensor([[0.0, 0, 0, 1, 1, 1]] * 2)
    assert torch.equal(mask, torch.cat([half, 1 - half])[None])


# Kernels


def test_kernels_from_words():
    kernel = read_kernel("gaussian:1.6")
    assert kernel.psf.dtype == torch.float64
    assert kernel.psf.shape == (15, 15)
    assert kernel.total == 1
    assert not kernel.normalized
    psf = read_kernel("motion:15,30").psf
    assert torch.equal(psf, motion_psf(15, 30))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gaussian:", "expected gaussian:SIGMA, got gaussian:"),
        ("gaussian:a", "expected gaussian:SIGMA"),
        ("gaussian:1,2", "expected gaussian:SIGMA"),
        ("gaussian:nan", "expected gaussian:SIGMA"),
        ("gaussian:-1", "sigma: expected a positive"),
        ("gaussian:1e9", "expected SIGMA of at most 127 pixels"),
        ("motion:5", "expected motion:LENGTH,ANGLE, got motion:5"),
        ("motion:-5,0", "length: expected 0 pixels or more"),
        ("motion:1e9,0", "expected LENGTH of at most 1021 pixels"),
        ("motion", "expected motion:LENGTH,ANGLE"),
    ],
)
def test_words_that_make_no_kernel(words, message):
    with pytest.raises(InvalidArgument, match=message):
        read_kernel(words)


def test_kernels_from_arrays(tmp_path):
    array = np.arange(1, 16.0).reshape(3, 5)
    np.save(tmp_path / "a.npy", array.astype(np.float32))
    np.savez(tmp_path / "one.npz", array / array.sum())
    np.savez_compressed(tmp_path / "two.npz", first=array.astype(np.uint8), second=array.T)
    for source, expected, total in (
        ("a.npy", array, 120),
        ("one.npz", array, 1),
        ("two.npz:first", array, 120),
        ("two.npz:second", array.T, 120),
    ):
        kernel = read_kernel(f"{tmp_path}/{source}")
        np.testing.assert_allclose(kernel.psf, expected / 120, rtol=1e-6)
        assert kernel.total == pytest.approx(total)
        assert kernel.normalized == (total != 1)
    with pytest.raises(
        PictureError, match=r"expected one array, or .*:NAME, got the arrays first, s"
    ):
        read_kernel(tmp_path / "two.npz")
    with pytest.raises(PictureError, match="expected one of the arrays first, second, got third"):
        read_kernel(f"{tmp_path}/two.npz:third")


def test_kernels_from_pictures(tmp_path):
    array = levels(8, 5, 7)
    for name, pixels in (("g.png", array), ("rgb.png", np.stack([array] * 3, -1))):
        Image.fromarray(pixels).save(tmp_path / name)
        kernel = read_kernel(tmp_path / name)
        np.testing.assert_allclose(kernel.psf, array / array.sum(dtype=float), rtol=1e-6)
        assert not kernel.normalized


def test_kernels_of_even_sides_keep_their_center(tmp_path):
    for shape in ((2, 2), (4, 3), (3, 6), (1, 2)):
        array = np.zeros(shape)
        array[shape[0] // 2, shape[1] // 2] = 1
        np.save(tmp_path / "a.npy", array)
        psf = read_kernel(tmp_path / "a.npy").psf
        x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(CircularBlur(psf)(x), x)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 3)), "divided by its sum, got a sum of 0"),
        (np.array([[1.0, -1.0, 0.0]]), "got a sum of 0"),
        (np.array([[1.0, np.nan]]), "finite values, got nan or inf"),
        (np.ones((2, 3, 3)), r"a kernel of two axes, .* got shape \(2, 3, 3\)"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        (np.ones((1, 1025)), r"at most 1023 pixels each, got shape \(1, 1025\)"),
        (
            np.ones((4000, 4000), np.uint16),
            r"at most 16777216 bytes, got shape \(4000, 4000\) of uint16",
        ),
        (np.array([["a"]]), "an array of numbers, got <U1"),
        (np.array([[None]]), "an array of numbers, got object"),
    ],
)
def test_arrays_that_are_no_kernel(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(PictureError, match=words):
            read_kernel(tmp_path / name)


def test_kernel_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "none.npz")
    for name, words in (
        ("text.npy", "damaged"),
        ("text.npz", "damaged"),
        ("empty.npz", "empty"),
        ("none.npz", "got the arrays none"),
        ("missing.npz:a", "no such file"),
        ("missing.png", "no such file"),
        ("box:3", "no such file"),
    ):
        with pytest.raises(PictureError, match=words):
            read_kernel(f"{tmp_path}/{name}")


# Motion


@pytest.mark.parametrize(
    ("length", "angle"), [(0, 0), (1, 0), (9, 90), (15, 30), (10.5, -60), (7, 135)]
)
def test_motion_is_the_mean_along_a_line(length, angle):
    psf = motion_psf(length, angle)
    turn = np.deg2rad(angle)
    s = (np.arange(20_000) + 0.5) / 20_000 - 0.5
    x, y = length * s * np.cos(turn), -length * s * np.sin(turn)
    height, width = psf.shape
    rows = np.maximum(1 - np.abs(y[:, None] - np.arange(height) + height // 2), 0)
    columns = np.maximum(1 - np.abs(x[:, None] - np.arange(width) + width // 2), 0)
    np.testing.assert_allclose(psf, rows.T @ columns / len(s), atol=1e-7)
    assert height % 2
    assert width % 2
    assert psf.sum() == pytest.approx(1, abs=1e-12)


@given(length=st.floats(0, 40), angle=st.floats(-400, 400))
def test_motion_is_even_and_turns_with_its_angle(length, angle):
    psf = motion_psf(length, angle)
    torch.testing.assert_close(psf, psf.flip(0, 1))
    torch.testing.assert_close(psf, motion_psf(length, angle + 180), atol=1e-7, rtol=0)
    torch.testing.assert_close(psf.flip(1), motion_psf(length, 180 - angle), atol=1e-7, rtol=0)
    torch.testing.assert_close(psf.T.flip(0), motion_psf(length, angle + 90), atol=1e-7, rtol=0)
    assert psf.min() >= 0


@pytest.mark.parametrize(
    ("length", "angle"), [(-1, 0), (float("nan"), 0), (float("inf"), 0), (3, float("nan"))]
)
def test_motion_that_is_none(length, angle):
    with pytest.raises(InvalidArgument, match="expected"):
        motion_psf(length, angle)

"""JPEG against Pillow, bit by bit; tables, files, derivative and errors."""

from __future__ import annotations

import io
from importlib.resources import files

import imagecodecs
import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import zoo
from reddiff import InvalidArgument, PictureError
from reddiff.operators import JPEG, Operator, Orientation, Subsampling
from reddiff.operators.jpeg import codec
from reddiff.operators.jpeg.tables import standard_tables

PILLOW = {Subsampling.S444: 0, Subsampling.S422: 1, Subsampling.S420: 2}
OTHERS = {Subsampling.S411: "411", Subsampling.S440: "440"}  # that Pillow reads and does not write


def photo(name: str, height: int, width: int) -> np.ndarray:
    path = files("reddiff") / "assets" / "photos" / f"{name}.png"
    with path.open("rb") as file, Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))[90 : 90 + height, 70 : 70 + width].copy()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(pixels: np.ndarray, **settings: object) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **settings)
    file.seek(0)
    return file


def sampled(pixels: np.ndarray, quality: int, sampling: Subsampling) -> io.BytesIO:
    """A file of any subsampling, by libjpeg-turbo."""
    if sampling in PILLOW:
        return saved(pixels, quality=quality, subsampling=PILLOW[sampling])
    data = imagecodecs.jpeg8_encode(pixels, level=quality, subsampling=OTHERS[sampling])
    return io.BytesIO(bytes(data))


def shown(file: io.BytesIO) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture).copy()


def pillow(pixels: np.ndarray, **settings: object) -> np.ndarray:
    with Image.open(saved(pixels, **settings)) as picture:
        return np.asarray(picture).copy()


def through(operator: Operator, pixels: np.ndarray) -> np.ndarray:
    """Pixels 0 ... 255, height first, as x in [-1, 1] and back."""
    x = torch.tensor(pixels.reshape(*pixels.shape[:2], -1)).double().movedim(2, 0)[None] / 127.5 - 1
    y = (operator(x)[0].movedim(0, 2).numpy() + 1) * 127.5
    np.testing.assert_allclose(y, y.round(), atol=1e-10)
    return y.round().astype(np.uint8).reshape(pixels.shape)


@pytest.mark.parametrize("sampling", Subsampling)
@pytest.mark.parametrize("quality", [1, 5, 30, 50, 75, 95, 100])
def test_is_pillows_to_the_bit_on_photos(quality, sampling):
    for name, size in (("coffee", (64, 96)), ("astronaut", (51, 61)), ("chelsea", (33, 18))):
        pixels = photo(name, *size)
        got = through(JPEG(quality, subsampling=sampling), pixels)
        np.testing.assert_array_equal(got, shown(sampled(pixels, quality, sampling)))
        gray = pixels[..., 1].copy()
        np.testing.assert_array_equal(through(JPEG(quality), gray), pillow(gray, quality=quality))


def test_pillows_own_settings_are_ours():
    pixels = photo("chelsea", 48, 40)
    np.testing.assert_array_equal(through(JPEG(75), pixels), pillow(pixels))


@given(
    h=st.integers(1, 40),
    w=st.integers(1, 40),
    quality=st.integers(1, 100),
    sampling=st.sampled_from(Subsampling),
    seed=st.integers(0, 99),
)
def test_is_pillows_to_the_bit_on_noise_of_any_size(h, w, quality, sampling, seed):
    pixels = noise(h, w, seed)
    want = shown(sampled(pixels, quality, sampling))
    np.testing.assert_array_equal(through(JPEG(quality, subsampling=sampling), pixels), want)


def test_x_is_rounded_and_clipped_to_the_levels_of_its_range():
    pixels = photo("coffee", 16, 16)
    x = torch.tensor(pixels).double().movedim(2, 0)[None] / 255
    y = JPEG(60, low=0.0, high=1.0)(x)
    torch.testing.assert_close(2 * y - 1, JPEG(60)(2 * x - 1))
    torch.testing.assert_close(JPEG(60, low=0.0, high=1.0)(x + 0.4 / 255), y)
    white = JPEG(60)(torch.full((1, 3, 9, 9), 7.0, dtype=zoo.F64))
    assert torch.equal(white, torch.ones_like(white))


def test_the_transform_is_a_cosine_transform_and_the_tables_are_pillows():
    exact = scipy.fft.dct(np.eye(8), axis=0, norm="ortho") * np.sqrt(8) * 2**codec.BITS
    assert np.abs(np.array(codec._transform()) - exact).max() < 1.5
    blocks = torch.tensor(noise(8, 8)[..., 0]).double() - 128
    wanted = 8 * scipy.fft.dctn(blocks.numpy(), norm="ortho")
    assert np.abs(codec.transform(blocks).numpy() - wanted).max() < 1.5
    assert torch.equal(codec.inverse(codec.transform(blocks) / 8), blocks)
    for quality in (1, 10, 49, 50, 75, 100):
        with Image.open(saved(noise(8, 8), quality=quality)) as picture:
            wanted = torch.tensor([picture.quantization[i] for i in (0, 1)])
        assert torch.equal(standard_tables(quality).flatten(1), wanted)


def test_of_a_file_is_what_made_it(tmp_path):
    """From a path, a name or a picture: its tables, own ones too, and its sampling."""
    pixels = photo("astronaut", 40, 37)
    ramp = [[1 + (7 * i) % 90 for i in range(64)], [3 + i for i in range(64)]]
    cases = [{"quality": 35, "subsampling": n} for n in (0, 1, 2)]
    for settings in [*cases, {"qtables": ramp}, {"qtables": [ramp[1]]}]:
        path = tmp_path / "a.jpg"
        path.write_bytes(saved(pixels, **settings).getvalue())
        with Image.open(path) as picture:
            operators = [JPEG.of(path), JPEG.of(str(path)), JPEG.of(picture)]
        want = pillow(pixels, **settings)
        for operator in operators:
            np.testing.assert_array_equal(through(operator, pixels), want)
    gray = pixels[..., 0].copy()
    operator = JPEG.of(Image.open(saved(gray, quality=20)), low=-1.0)
    np.testing.assert_array_equal(through(operator, gray), pillow(gray, quality=20))
    np.testing.assert_array_equal(JPEG(tables=operator.tables).tables, operator.tables)


@pytest.mark.parametrize("sampling", Subsampling)
@pytest.mark.parametrize("orientation", Orientation)
def test_of_a_turned_file_is_what_its_reader_shows(tmp_path, orientation, sampling):
    """The grid of blocks starts in a corner of the stored picture, with tables of its axes."""
    stored = photo("chelsea", 37, 51)
    with Image.open(sampled(stored, 20, sampling)) as picture:
        plain = JPEG.of(picture)
    ramp = torch.stack([torch.arange(64).view(8, 8) + 5 * i for i in (1, 2)])
    for tables, x in ((plain.tables, stored), (ramp, stored[..., 0].copy())):
        path = tmp_path / "turned.jpg"
        if tables is ramp:  # gray, and of tables that change when they are transposed
            file = saved(x, qtables=ramp.flatten(1).tolist(), exif=turned(orientation))
            path.write_bytes(file.getvalue())
        else:
            data = sampled(x, 20, sampling).getvalue()
            block = b"Exif\0\0" + turned(orientation).tobytes().removeprefix(b"Exif\0\0")
            head = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big")
            path.write_bytes(data[:2] + head + block + data[2:])
        with Image.open(path) as picture:
            want = np.asarray(ImageOps.exif_transpose(picture))
            original = Image.fromarray(x)
            original.getexif()[274] = int(orientation)
            upright = np.asarray(ImageOps.exif_transpose(original))
        operator = JPEG.of(path)
        assert operator.orientation is orientation
        np.testing.assert_array_equal(through(operator, upright), want)
        again = torch.tensor(upright.reshape(*upright.shape[:2], -1)).movedim(2, 0)[None]
        turn = operator.orientation
        assert torch.equal(turn.upright(turn.stored(again)), again)


def turned(orientation: Orientation) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = int(orientation)
    return exif


def test_sampling_factors_count_only_by_their_ratio():
    coded = saved(noise(16, 16), subsampling=1).getvalue()
    at = coded.index(b"\xff\xc0") + 10
    assert coded[at : at + 9 : 3] == b"\x01\x02\x03"
    for luma, chroma, sampling in ((0x22, 0x12, Subsampling.S422), (0x22, 0x22, Subsampling.S444)):
        data = bytearray(coded)
        data[at + 1], data[at + 4], data[at + 7] = luma, chroma, chroma
        assert JPEG.of(Image.open(io.BytesIO(data))).subsampling is sampling


def test_qualities_per_lane_are_those_of_each_lane_alone():
    x = zoo.randn(3, 3, 11, 10)
    qualities = [5, 50, 90]
    both = JPEG(torch.tensor(qualities), per_lane=True)
    assert both.lanes == 3
    tables = torch.stack([standard_tables(q) for q in qualities])
    assert torch.equal(JPEG(tables=tables, per_lane=True)(x), both(x))
    for i, quality in enumerate(qualities):
        assert torch.equal(both(x)[i], JPEG(quality)(x)[i])


@pytest.mark.parametrize("sampling", Subsampling)
def test_the_derivative_is_that_of_the_linear_stages(sampling):
    """Of a fine file, it is that of wide differences, up to rounding; gray passes as it is."""
    operator = JPEG(100, subsampling=sampling)
    x, v = 0.1 * zoo.randn(2, 3, 17, 14, seed=1), 0.2 * zoo.randn(2, 3, 17, 14, seed=2)
    near = operator.linearise(x)
    wide = (operator(x + v) - operator(x - v)) / 2
    off = (near.push(v) - wide).norm() / wide.norm()
    assert off < 0.05
    gray = v[:, :1].expand_as(v)
    torch.testing.assert_close(near.push(gray), gray)
    assert (sampling == Subsampling.S444) == torch.equal(near.pull(v), v)
    w = zoo.randn(2, 3, 17, 14, seed=3)
    torch.testing.assert_close((near.push(v) * w).sum(), (near.pull(w) * v).sum())
    narrow = torch.zeros(1, 3, 2, 3, dtype=zoo.F64)  # chroma is repeated, not interpolated
    mean = operator.linearise(narrow).push(zoo.randn(1, 3, 2, 3))
    assert torch.isfinite(mean).all()


def test_what_is_not_finite_stays_so_in_its_lane():
    x = zoo.randn(2, 3, 9, 9)
    y = JPEG(50)(x)
    x[1, 0, 4, 4] = torch.inf
    got = JPEG(50)(x)
    assert not torch.isfinite(got[1]).all()
    assert torch.equal(got[0], y[0])


BAD = {
    "quality 0": (lambda: JPEG(0), "quality: expected an integer from 1 to 100, got 0"),
    "quality float": (lambda: JPEG(50.0), "quality: expected an integer .*, got 50.0"),
    "quality lanes": (lambda: JPEG(50, per_lane=True), r"quality: .*whole numbers \(b,\), got 50"),
    "nothing": (JPEG, "quality: expected a quality or tables, got None, None"),
    "both": (
        lambda: JPEG(3, tables=torch.ones(2, 8, 8)),
        "quality: expected a quality or tables, got 3, tensor",
    ),
    "tables shape": (
        lambda: JPEG(tables=torch.ones(8, 8)),
        r"tables: expected shape \(2, 8, 8\), got \(8, 8\)",
    ),
    "tables lanes": (
        lambda: JPEG(tables=torch.ones(2, 8, 8), per_lane=True),
        r"tables: expected shape \(b, 2, 8, 8\), got \(2, 8, 8\)",
    ),
    "tables zero": (
        lambda: JPEG(tables=torch.zeros(2, 8, 8)),
        "tables: expected whole numbers from 1 to 65535, got values from 0 to 0",
    ),
    "range": (lambda: JPEG(50, low=1.0), "high: expected a finite number above low = 1.0, got 1.0"),
    "channels": (
        lambda: JPEG(50)(torch.zeros(1, 2, 8, 8)),
        "x: expected 1 or 3 channels, got 2",
    ),
    "y": (lambda: JPEG(50).x_shape((4, 8, 8)), "y: expected 1 or 3 channels, got 4"),
    "rank": (lambda: JPEG(50).x_shape((8, 8)), r"y: expected shape \(b, 1 or 3, h, w\), got"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_files_that_are_not_modelled_are_refused(tmp_path):
    with pytest.raises(PictureError, match=r"none.jpg: expected a JPEG file, got No such file"):
        JPEG.of(tmp_path / "none.jpg")
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    with pytest.raises(PictureError, match=r"text.jpg: expected a JPEG file, got another kind"):
        JPEG.of(text)
    png = tmp_path / "a.png"
    Image.fromarray(noise(8, 8)).save(png)
    with pytest.raises(PictureError, match=r"a.png: expected a JPEG file, got PNG"):
        JPEG.of(png)
    with pytest.raises(PictureError, match=r"the picture: expected a JPEG file, got no file"):
        JPEG.of(Image.fromarray(noise(8, 8)))
    inks = Image.fromarray(noise(8, 8)).convert("CMYK")
    file = io.BytesIO()
    inks.save(file, "JPEG")
    with pytest.raises(InvalidArgument, match=r"file: expected .* colors, got 4 layers, CMYK"):
        JPEG.of(Image.open(file))
    with pytest.raises(InvalidArgument, match=r"file: expected .* colors, got 3 layers, RGB"):
        JPEG.of(Image.open(saved(noise(8, 8), keep_rgb=True)))
    coded = saved(noise(8, 8)).getvalue()
    for factors in (0x13, 0x42, 0x24, 0x00):
        odd = coded.replace(bytes([1, 0x22, 0]), bytes([1, factors, 0]), 1)  # of the frame's header
        assert odd != coded
        with pytest.raises(InvalidArgument, match=r"file: expected subsampling .*4:4:0, got \[\("):
            JPEG.of(Image.open(io.BytesIO(odd)))

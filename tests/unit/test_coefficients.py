"""JPEG coefficients against SciPy, the codec and files; shapes and bad input."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from skimage import data

import zoo
from reddiff import InvalidArgument
from reddiff.operators import JPEG, JPEGCoefficients, Subsampling
from reddiff.operators.jpeg import codec, color

F64 = torch.float64


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    pixels = torch.from_numpy(data.astronaut()[:64, 180:244].copy())
    return pixels.permute(2, 0, 1)[None].double() / 127.5 - 1


def planes(y: torch.Tensor, subsampling: Subsampling) -> list[np.ndarray]:
    """The blocks of luma, Cb and Cr of y, by unit `(r, q, blocks, 8, 8)`."""
    count = subsampling.value[0] * subsampling.value[1]
    blocks = y[0].unflatten(2, (-1, 8, 8)).numpy()
    return [blocks[:, :, :count], blocks[:, :, count], blocks[:, :, count + 1]]


@pytest.mark.parametrize("subsampling", Subsampling, ids=lambda s: s.name)
def test_coefficients_are_those_of_pillows_colors_and_scipys_transform(photo, subsampling):
    jpeg = JPEG(30, subsampling=subsampling)
    y = JPEGCoefficients(jpeg)(photo)
    levels = ((photo[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    weights = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    ycc = np.moveaxis(levels @ weights.T, 2, 0) - np.array([127.5, 0, 0])[:, None, None]
    rows, columns = subsampling.value
    tables = jpeg.tables.numpy()
    luma, *chroma = planes(y, subsampling)
    for r in range(luma.shape[0]):
        for q in range(luma.shape[1]):
            for i in range(rows * columns):
                top = 8 * (rows * r + i // columns)
                left = 8 * (columns * q + i % columns)
                block = dctn(ycc[0, top : top + 8, left : left + 8], norm="ortho")
                np.testing.assert_allclose(luma[r, q, i], block / tables[0], atol=1e-9)
            for found, plane in zip(chroma, ycc[1:], strict=True):
                part = plane[8 * rows * r :, 8 * columns * q :][: 8 * rows, : 8 * columns]
                small = part.reshape(8, rows, 8, columns).mean((1, 3))
                block = dctn(small, norm="ortho") / tables[1]
                np.testing.assert_allclose(found[r, q], block, atol=1e-3)


@pytest.mark.parametrize(("quality", "wrong"), [(10, 0.002), (50, 0.01), (90, 0.04)])
@pytest.mark.parametrize("subsampling", Subsampling, ids=lambda s: s.name)
def test_measure_finds_the_numbers_of_the_file(photo, subsampling, quality, wrong, measure):
    """Against the whole-number encoder, from what its decoder shows."""
    jpeg = JPEG(quality, subsampling=subsampling)
    operator = JPEGCoefficients(jpeg)
    y = operator.measure(jpeg(photo)) - operator.middle
    torch.testing.assert_close(y, y.round(), atol=1e-9, rtol=0)
    rows, columns = subsampling.value
    levels = ((photo + 1) * 127.5).round()
    ycc = color.to_ycc(levels)
    encoded = [ycc[:, 0], *(color.shrink(ycc[:, i], rows, columns) for i in (1, 2))]
    missed = []
    for i, plane in enumerate(encoded):
        step = jpeg.tables[min(i, 1)].to(plane)
        h, w = plane.shape[1:]
        blocks = plane.view(h // 8, 8, w // 8, 8).transpose(1, 2) - 128
        numbers = codec.transform(blocks) / 8 / step
        numbers = numbers.sign() * (numbers.abs() + 0.5).floor()
        if i == 0:
            numbers = numbers.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
            numbers = numbers.transpose(1, 2).flatten(2, 3)
        found = torch.as_tensor(planes(y, subsampling)[i])
        missed.append(float((found != numbers).double().mean()))
    measure(f"{subsampling.name} {quality}: {missed} of the numbers missed")
    assert max(missed) < wrong


def test_a_file_of_pillow_has_these_coefficients(photo):
    """y of a decoded file is of whole steps, nearly: its rounding took less than 0.1 of one."""
    buffer = io.BytesIO()
    levels = ((photo[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(buffer, "JPEG", quality=20)
    with Image.open(buffer) as picture:
        operator = JPEGCoefficients(JPEG.of(picture))
        decoded = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].double() / 127.5 - 1
    y, rounded = operator(decoded), operator.measure(decoded)
    assert (y - rounded).std() < 0.1
    assert (operator(photo) - rounded).abs().max() < 0.56


@given(r=st.integers(1, 3), q=st.integers(1, 3), gray=st.booleans(), seed=st.integers(0, 9))
def test_shapes(r, q, gray, seed):
    jpeg = JPEG(50, subsampling=Subsampling.S422)
    operator = JPEGCoefficients(jpeg, 1 if gray else 3)
    assert operator.unit == ((8, 8) if gray else (8, 16))
    x = zoo.randn(2, operator.channels, r * 8, q * operator.unit[1], seed=seed)
    y = operator(x)
    assert y.shape == (2, r, q, 64 if gray else 256)
    assert operator.x_shape(tuple(y.shape[1:])) == tuple(x.shape[1:])
    torch.testing.assert_close(operator(operator.pinv(y)), y)


def test_tables_per_lane_are_those_of_each(photo):
    each = JPEGCoefficients(JPEG(torch.tensor([20, 70]), per_lane=True))
    assert each.lanes == 2
    y = each(photo.expand(2, -1, -1, -1))
    measured = each.measure(photo.expand(2, -1, -1, -1))
    for lane, quality in enumerate((20, 70)):
        one = JPEGCoefficients(JPEG(quality))
        torch.testing.assert_close(y[lane], one(photo)[0])
        torch.testing.assert_close(measured[lane], one.measure(photo)[0])


def test_the_range_of_x_is_that_of_the_codec(photo):
    units = JPEGCoefficients(JPEG(40, low=0.0, high=1.0))
    signed = JPEGCoefficients(JPEG(40))
    torch.testing.assert_close(
        units.measure((photo + 1) / 2) - units.middle, signed.measure(photo) - signed.middle
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JPEGCoefficients(JPEG(50), 2), "channels: expected 1 or 3, got 2"),
        (
            lambda: JPEGCoefficients(JPEG(50))(torch.zeros(1, 3, 16, 8)),
            r"x: expected 3 channels, and sides that are multiples of 16 x 16, got \(3, 16, 8\)",
        ),
        (
            lambda: JPEGCoefficients(JPEG(50)).x_shape((1, 1, 64)),
            "y: expected 384 coefficients per unit, got 64",
        ),
        (lambda: JPEGCoefficients(JPEG(50)).x_shape((384,)), r"y: expected shape \(b, rows"),
    ],
)
def test_bad_input(make, message, untyped):
    with pytest.raises(InvalidArgument, match=message):
        make()

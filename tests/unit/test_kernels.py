"""Blur kernels from arrays and files: center, normalization and notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from PIL import Image

import zoo
from reddiff import InvalidArgument, PictureError, degrade
from reddiff.images.io import as_kernel, read_kernel
from reddiff.images.tasks import Deblur
from reddiff.operators import Boundary, CircularBlur, center_psf, gaussian_psf, make_blur

F64 = torch.float64


def points(shape: tuple[int, int], *at: tuple[int, int, float]) -> np.ndarray[Any, Any]:
    """A kernel of a few points."""
    array = np.zeros(shape)
    for row, column, value in at:
        array[row, column] += value
    return array


def blurred(x: np.ndarray[Any, Any], kernel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """By the operator that a task would take, on a torus."""
    psf = as_kernel(kernel).psf
    return CircularBlur(psf)(torch.as_tensor(x)[None, None])[0, 0].numpy()


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (5, 4), (2, 7), (1, 6)])
def test_a_kernel_is_convolved_around_n_over_2(shape: tuple[int, int]) -> None:
    """Against scipy.ndimage.convolve, whose center is n // 2: any values, none of them small."""
    kernel = 1 + 0.1 * np.random.default_rng(0).random(shape)
    kernel /= kernel.sum()
    x = zoo.randn(16, 17).numpy()
    np.testing.assert_allclose(
        blurred(x, kernel), scipy.ndimage.convolve(x, kernel, mode="wrap"), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(8, 8), (4, 9), (6, 2)])
def test_an_even_side_is_centered_before_its_middle_if_its_centroid_is(
    shape: tuple[int, int],
) -> None:
    """Against scipy.signal, for which element (n - 1) // 2 of an even side stays where it is."""
    row, column = ((n - 1) // 2 for n in shape)
    kernel = points(shape, (row, column, 0.7), (row, max(column - 1, 0), 0.2), (row - 1, 0, 0.1))
    x = zoo.randn(20, 21).numpy()
    wanted = scipy.signal.convolve2d(x, kernel, mode="same", boundary="wrap")
    np.testing.assert_allclose(blurred(x, kernel), wanted, atol=1e-12)
    note = as_kernel(kernel).notes[0]
    assert f"its center was assumed at element {(row, column)}, counted from 0." in note


def test_a_kernel_off_its_center_moves_the_picture_and_says_so() -> None:
    kernel = points((7, 7), (5, 3, 1.0))  # 2 pixels below
    x = zoo.randn(12, 12).numpy()
    np.testing.assert_allclose(blurred(x, kernel), np.roll(x, 2, 0), atol=1e-12)
    (note,) = as_kernel(kernel).notes
    assert note == (
        "The kernel is off its center, element (3, 3): its centroid lies 2.0 pixels down. "
        "The result is shifted relative to the picture, 2.0 pixels up."
    )
    (note,) = as_kernel(points((7, 7), (2, 2, 0.5), (2, 0, 0.5))).notes
    assert "its centroid lies 1.0 pixels up and 2.0 pixels left" in note
    assert "1.0 pixels down and 2.0 pixels right." in note
    assert as_kernel(gaussian_psf(1.6)).notes == ()


def test_margins_of_zeros_are_cut_on_both_sides_alike() -> None:
    psf = gaussian_psf(1.5)
    kernel = as_kernel(torch.nn.functional.pad(psf, (41, 41, 30, 30)))
    assert torch.equal(kernel.psf, psf / psf.sum())
    lopsided = as_kernel(points((31, 31), (15, 15, 0.9), (15, 18, 0.1))).psf
    assert lopsided.shape == (1, 7)
    place = (np.arange(96) - 48) ** 2
    wide = np.exp(-(place[:, None] + place) / 4.5)
    kernel = as_kernel(wide)
    side = kernel.psf.shape[0]
    assert kernel.psf.shape == (side, side)
    assert 15 <= side <= 19
    kept = center_psf(torch.as_tensor(wide))
    assert float(kept.sum()) == pytest.approx(wide.sum(), rel=4e-7)
    np.testing.assert_allclose(
        blurred(zoo.randn(96, 96).numpy(), wide / wide.sum()),
        scipy.ndimage.convolve(zoo.randn(96, 96).numpy(), wide / wide.sum(), mode="wrap"),
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(1, 1, 5, 5), (5, 5, 1), (1, 5, 5)])
@pytest.mark.parametrize("kind", ["f4", ">f4", ">f8", "u2", "i8"])
def test_axes_of_length_1_and_any_numbers(shape: tuple[int, ...], kind: str) -> None:
    array = np.arange(1, 26).reshape(5, 5)
    kernel = as_kernel(array.reshape(shape).astype(kind))
    torch.testing.assert_close(kernel.psf, torch.as_tensor(array / 325.0))
    assert kernel.notes[0] == "The kernel summed to 325; it was divided by that."
    tensor = torch.as_tensor(array).reshape(shape)
    torch.testing.assert_close(as_kernel(tensor).psf, kernel.psf)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((3, 3)) * (1 + 1j), r"expected real values .* imaginary parts up to 1$"),
        (np.ones((3, 3)) * np.nan, "finite values, got nan or inf"),
        (np.ones((2, 3, 3)), r"two axes, .* got shape \(2, 3, 3\)"),
        (np.zeros((3, 3)), "divided by its sum, got a sum of 0"),
        (-np.ones((3, 3)), "divided by its sum, got a sum of -9"),
        (np.array([["a"]]), "an array of numbers, got <U1"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        (np.ones((3, 1025)), r"at most 1023 pixels each, got shape \(3, 1025\)"),
    ],
)
def test_arrays_that_are_no_kernel(array: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"kernel: .*{words}"):
        as_kernel(array)


def test_a_complex_array_of_real_numbers_is_a_kernel() -> None:
    array = np.ones((3, 3), complex) / 9
    assert torch.equal(as_kernel(array).psf, as_kernel(array.real).psf)


def test_negative_values_are_kept_and_noted() -> None:
    array = points((3, 3), (1, 1, 1.2), (0, 1, -0.1), (2, 1, -0.1))
    kernel = as_kernel(array)
    np.testing.assert_allclose(kernel.psf, array[:, 1:2], atol=1e-15)
    assert kernel.notes == ("The kernel has negative values, 20.0% of its sum; they were kept.",)


def test_transparent_pixels_of_a_picture_are_zero(tmp_path: Any) -> None:
    pixels = np.full((9, 9, 4), 255, np.uint8)
    pixels[..., 3] = 0
    pixels[4, 2:7, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "k.png")
    kernel = read_kernel(tmp_path / "k.png")
    torch.testing.assert_close(kernel.psf, torch.full((1, 5), 0.2, dtype=F64))
    assert kernel.notes == ()
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "k.png")
    with pytest.raises(PictureError, match="got a sum of 0"):
        read_kernel(tmp_path / "k.png")


def test_a_kernel_as_large_as_a_picture_of_even_sides() -> None:
    """Blurred and restored alike: the task takes it, and the operator agrees with the picture."""
    array = 1 + np.random.default_rng(1).random((16, 16))
    psf = as_kernel(array).psf
    assert psf.shape == (17, 17)
    x = zoo.randn(1, 16, 16).abs().clamp(max=1)
    y = degrade(x, task="deblur", kernel=torch.as_tensor(array)).pixels
    wanted = scipy.ndimage.convolve(x[0].numpy(), array / array.sum(), mode="mirror")
    np.testing.assert_allclose(y[0], wanted, atol=1e-5)
    task = Deblur(psf)
    problem = task.problem(y)
    assert problem.operator(torch.zeros_like(problem.y)).shape == problem.y.shape
    with pytest.raises(InvalidArgument, match=r"kernel: expected at most the picture's size"):
        Deblur(as_kernel(np.ones((18, 18))).psf).degrade(x)


def test_a_task_takes_no_kernel_without_a_middle() -> None:
    with pytest.raises(InvalidArgument, match=r"kernel: expected shape \(kh, kw\) with odd sides"):
        Deblur(torch.ones(4, 4) / 16)


def test_centering() -> None:
    psf = torch.arange(1.0, 13).reshape(3, 4)
    kept = center_psf(psf, (0, 3))
    assert kept.shape == (5, 7)
    assert kept[2, 3] == psf[0, 3]
    assert kept.sum() == psf.sum()
    x = zoo.randn(1, 1, 9, 9)
    made = make_blur(center_psf(psf.double()), Boundary.CIRCULAR)(x)[0, 0]
    wanted = scipy.ndimage.convolve(x[0, 0].numpy(), psf.double().numpy(), mode="wrap")
    np.testing.assert_allclose(made, wanted, atol=1e-12)
    with pytest.raises(InvalidArgument, match=r"center: expected a row and a column within"):
        center_psf(psf, (3, 0))
    with pytest.raises(InvalidArgument, match=r"psf: expected shape \(kh, kw\), got \(3,\)"):
        center_psf(torch.ones(3))

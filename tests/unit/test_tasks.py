"""The picture tasks: each operator measures what its simulation makes."""

from __future__ import annotations

import pytest
import torch

from reddiff import InvalidArgument
from reddiff.operators import gaussian_psf
from reddiff.tasks import (
    TASKS,
    Colorize,
    Deblur,
    Denoise,
    Inpaint,
    SuperResolve,
    make_task,
    smooth_size,
)


def picture(h: int = 40, w: int = 48) -> torch.Tensor:
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "task",
    [
        Denoise(),
        Inpaint((picture()[:1] > 0.5).float()),
        SuperResolve(4),
        Colorize(),
    ],
    ids=lambda t: t.name,
)
def test_operator_measures_what_degrade_makes(task):
    x = picture()
    y = task.measurement(task.degrade(x))
    operator = task.operator(task.degrade(x))
    assert operator.x_shape(tuple(y.shape)) == tuple(x.shape)
    torch.testing.assert_close(operator(x[None])[0], y)
    torch.testing.assert_close(task.picture(x, y), x)


def test_deblur_measures_the_inside_of_a_canvas():
    x, task = picture(64, 72), Deblur(gaussian_psf(1.5))
    y = task.degrade(x)
    canvas, operator = task.measurement(y), task.operator(y)
    assert canvas.shape[-2] > 64
    assert canvas.shape[-1] > 72
    modelled = operator(task.measurement(x)[None])
    inside = (..., slice(8, 56), slice(8, 64))
    torch.testing.assert_close(modelled[0][inside], y[inside], atol=1e-5, rtol=0)
    assert int(operator.measured(modelled).sum()) == y.numel()
    assert task.picture(modelled[0], y).shape == x.shape


def test_deblur_keeps_brightness():
    y = Deblur(gaussian_psf(2.0)).degrade(torch.full((3, 40, 40), 0.3))
    torch.testing.assert_close(y, torch.full_like(y, 0.3))


def test_motion_is_convolution_not_correlation():
    kernel = torch.zeros(3, 3, dtype=torch.float64)
    kernel[1, 2] = 1  # the PSF of a shift to the right
    x = picture()
    y = Deblur(kernel).degrade(x)
    torch.testing.assert_close(y[..., 2:-2], x[..., 1:-3])
    task = Deblur(kernel)
    modelled = task.operator(x)(task.measurement(x)[None])[0]
    torch.testing.assert_close(modelled[..., :40, 2:46], x[..., 1:45])


def test_sr_extends_sizes_that_the_factor_does_not_divide():
    assert SuperResolve(4).degrade(picture(41, 47)).shape == (3, 11, 12)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"name": "sharpen"}, ["task", *TASKS, "sharpen"]),
        ({"name": "inpaint"}, ["mask"]),
        ({"name": "sr"}, ["scale"]),
        ({"name": "deblur"}, ["kernel"]),
        ({"name": "denoise", "scale": 2}, ["scale", "denoise"]),
        ({"name": "sr", "scale": 1}, ["scale", "2 or more"]),
    ],
)
def test_bad_arguments_are_named(arguments, names):
    with pytest.raises(InvalidArgument) as caught:
        make_task(**arguments)
    assert all(name in str(caught.value) for name in names)


def test_mask_of_another_size_names_both():
    with pytest.raises(InvalidArgument, match=r"mask.*\(40, 48\).*\(10, 12\)"):
        Inpaint(torch.ones(1, 10, 12)).degrade(picture())


def test_kernel_larger_than_the_picture():
    with pytest.raises(InvalidArgument, match="kernel"):
        Deblur(gaussian_psf(4.0)).degrade(picture(20, 20))


def test_smooth_sizes():
    sizes = [smooth_size(n) for n in (1, 7, 11, 257, 3037)]
    assert sizes == [1, 8, 12, 270, 3072]

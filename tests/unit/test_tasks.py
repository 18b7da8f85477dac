"""Picture tasks: the operator of a task measures what its simulation produces."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from reddiff import Clipped, InvalidArgument, Keys, Rounded
from reddiff.images.tasks import (
    TASKS,
    Colorize,
    Compressed,
    Deblur,
    Denoise,
    Inpaint,
    Sampling,
    SuperResolve,
    make_task,
)
from reddiff.operators import JPEG, Decimate, LinearOperator, Orientation, Resize, gaussian_psf
from reddiff.operators.blur.general import smooth_size


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
    y = task.degrade(x)
    problem = task.problem(y)
    assert problem.x_shape == tuple(x.shape)
    torch.testing.assert_close(problem.operator(2 * x[None] - 1), problem.y)
    torch.testing.assert_close(task.image(x, y), x)


def test_deblur_measures_the_inside_of_a_canvas():
    x, task = picture(64, 72), Deblur(gaussian_psf(1.5))
    y = task.degrade(x)
    problem = task.problem(y)
    assert problem.y.shape[-2] > 64
    assert problem.y.shape[-1] > 72
    modelled = problem.operator(task.problem(x).y)
    inside = (..., slice(8, 56), slice(8, 64))
    torch.testing.assert_close(modelled[0][inside], 2 * y[inside] - 1, atol=2e-5, rtol=0)
    assert int(problem.measured.sum()) == y.numel()
    assert task.image(modelled[0], y).shape == x.shape


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
    problem = task.problem(x)
    modelled = problem.operator(problem.y)[0]
    torch.testing.assert_close(modelled[..., :40, 2:46], 2 * x[..., 1:45] - 1)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_sr_of_pictures_that_were_not_filtered(factor):
    """Every f-th pixel, from the first (as NumPy and OpenCV), or from the middle (as Pillow)."""
    x = (picture(60, 60) * 255).round() / 255
    array = (255 * x).byte().movedim(0, -1).numpy()
    first = make_task("sr:nearest", scale=factor).degrade(x)
    np.testing.assert_array_equal(
        (255 * first).round().byte().movedim(0, -1), array[::factor, ::factor]
    )
    size = (60 // factor, 60 // factor)
    middle = make_task("sr:nearest-center", scale=factor).degrade(x)
    wanted = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.NEAREST))
    np.testing.assert_array_equal((255 * middle).round().byte().movedim(0, -1), wanted)
    torch.testing.assert_close(middle, interpolate(x[None], size, mode="nearest-exact")[0])


@pytest.mark.parametrize("filter_", [Sampling.FIRST, Sampling.MIDDLE])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_kept_pixels_count_as_those_of_a_smooth_picture(filter_, factor):
    """Centered where they were kept: exact on a ramp, where another phase is off by a pixel."""
    task = SuperResolve(factor, filter_)
    rows = torch.arange(48, dtype=torch.float64)
    ramp = (rows[:, None] + 2 * rows).expand(3, 48, 48) / 144
    y = task.degrade(ramp)
    modelled = task.problem(y).operator(ramp[None])[0]
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(modelled[inside], y[inside])
    with pytest.raises(InvalidArgument, match="shift: expected less than 2 pixels, got 2"):
        Resize(2, shift=2.0)


def test_decimation_is_checked():
    for arguments, words in (
        ((0,), "factor: expected an integer of at least 1, got 0"),
        ((2, -1), "offset: expected an integer of at least 0, got -1"),
        ((2, 2), "offset: expected less than the factor 2, got 2"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            Decimate(*arguments)
    with pytest.raises(InvalidArgument, match="x: expected sides that 2 divides, got 4 x 5"):
        Decimate(2)(torch.ones(1, 1, 4, 5))
    y = picture(6, 8)[None]
    assert torch.equal(Decimate(3, 1)(Decimate(3, 1).initial_estimate(y)), y)


WORDS = [
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1_0",
    "\u0663",
    "9" * 5000,
    "0x10",
    "",
]
SCALES = [0, 1, -3, 2.0, float("nan"), True, 10**12, 10**5000, "4"]


@pytest.mark.parametrize("kind", ["quantize:{}", "jpeg:{}", "hdr:{}"])
@pytest.mark.parametrize(
    "word", ["nan", "inf", "-inf", "1e400", "1_0", "٣", "9" * 5000, "0x10", ""]
)
def test_words_that_are_no_numbers(kind, word):
    name = kind.format(word)
    if name == "hdr:":  # has a default
        return
    with pytest.raises(InvalidArgument, match=r"^task: expected ") as caught:
        make_task(name)
    text = str(caught.value)
    assert len(text) < 120
    assert "\n" not in text


@pytest.mark.parametrize("scale", SCALES, ids=range(len(SCALES)))
def test_scales_that_are_none(scale, untyped):
    with pytest.raises(InvalidArgument, match="scale: expected an integer from 2 to ") as caught:
        SuperResolve(scale)
    assert len(str(caught.value)) < 120


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
        ({"name": "sr", "scale": 1}, ["scale", "from 2 to 64"]),
        ({"name": "sr:cubic", "scale": 2}, ["sr", "bicubic", "cubic"]),
        ({"name": "denoise:3"}, ["denoise alone", "denoise:3"]),
        ({"name": "demosaic:RGB"}, ["RGGB", "RGB"]),
        ({"name": "hdr:x"}, ["hdr:CONTRAST", "x"]),
        ({"name": "hdr:1"}, ["above 1"]),
        ({"name": "quantize"}, ["quantize:LEVELS", "got quantize:"]),
        ({"name": "quantize:1"}, ["2 to 256", "1"]),
        ({"name": "quantize:2.5"}, ["whole", "2.5"]),
        ({"name": "jpeg"}, ["jpeg:QUALITY", ".jpg"]),
        ({"name": "jpeg:101"}, ["quality", "101"]),
    ],
)
def test_bad_arguments_are_named(arguments, names):
    with pytest.raises(InvalidArgument) as caught:
        make_task(**arguments)
    assert all(name in str(caught.value) for name in names)


def test_older_names_are_accepted():
    assert make_task("quantise:8") == make_task("quantize:8")


def test_mask_of_another_size_names_both():
    with pytest.raises(InvalidArgument, match=r"mask.*\(40, 48\).*\(10, 12\)"):
        Inpaint(torch.ones(1, 10, 12)).degrade(picture())


def test_kernel_larger_than_the_picture():
    with pytest.raises(InvalidArgument, match="kernel"):
        Deblur(gaussian_psf(4.0)).degrade(picture(20, 20))


def test_smooth_sizes():
    sizes = [smooth_size(n) for n in (1, 7, 11, 257, 3037)]
    assert sizes == [1, 8, 12, 270, 3072]


@pytest.mark.parametrize(
    "text",
    ["demosaic", "demosaic:GBRG"],
)
def test_tasks_with_words_measure_what_degrade_makes(text):
    task, x = make_task(text), picture()
    y = task.degrade(x)
    problem = task.problem(y)
    modelled = problem.operator(2 * task.image(x, y)[None] - 1)
    torch.testing.assert_close(torch.where(problem.measured, modelled, 0), problem.y)
    assert torch.equal(problem.measured[0], task.reading(y).measured)
    assert not torch.equal(y, x)


@pytest.mark.parametrize("filter_", ["mean", "bicubic", "lanczos"])
def test_sr_knows_the_filters(filter_):
    x = picture()
    y = make_task(f"sr:{filter_}", scale=4).degrade(x)
    pillow = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
    if filter_ == "mean":
        wanted = x.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4))
    else:
        planes = [Image.fromarray(c.numpy()).resize((12, 10), pillow[filter_]) for c in x]
        wanted = torch.stack([torch.from_numpy(np.array(p)) for p in planes])
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=0)


def test_a_raw_picture_in_gray_is_demosaicked_to_color():
    task, x = make_task("demosaic"), picture()
    raw = task.degrade(x).sum(0, keepdim=True)
    assert torch.equal(task.problem(raw).y, task.problem(task.degrade(x)).y)
    sample = task.noise_sample(raw)
    planes = sample.pixels
    assert planes.shape == (4, 20, 24)
    assert sample.measured.all()
    assert torch.equal(planes[0], x[0, ::2, ::2])
    assert torch.equal(planes[3], x[2, 1::2, 1::2])


TONE = ["hdr", "hdr:3", "quantize:2", "quantize:8", "quantize:40", "jpeg:20", "jpeg:80"]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("text", TONE)
def test_what_sensors_and_coders_make_is_likely_under_their_noise(text, gray):
    """The truth explains y, and better than its negative does."""
    task, x = make_task(text), interpolate(picture(5, 6)[None], scale_factor=8, mode="bicubic")
    x = x[0, : 1 if gray else 3].clamp(0, 1)
    y = task.degrade(x)
    problem = task.problem(y)
    ratios = []
    for v in (x, 1 - x):
        z = 2 * v[None] - 1
        down, right = (n - m for n, m in zip(problem.x_shape[1:], z.shape[2:], strict=True))
        z = pad(z, (0, right, 0, down), mode="replicate") if down or right else z
        ratios.append(float(problem.residual_ratio(z)))
    assert ratios[0] < 1.5  # what it cuts from bright colors is no noise
    assert ratios[1] > 2 * ratios[0]
    assert task.image(z[0], y).shape == x.shape


@pytest.mark.parametrize("text", ["hdr", "quantize:8", "jpeg:20"])
def test_sensors_and_coders_have_their_noise_before(text):
    task, x = make_task(text), picture()
    plain, noisy = (task.degrade(x, level, Keys(0, (0,)).at(0)) for level in (0.0, 0.1))
    torch.testing.assert_close(plain, task.degrade(x))
    assert not torch.equal(noisy, plain)
    if text == "quantize:8":
        torch.testing.assert_close(7 * noisy, (7 * noisy).round())
    if text == "hdr":
        n = Keys(0, (0,)).at(0).randn_like(x[None])[0]
        torch.testing.assert_close(noisy, (2 * x - 0.5 + 0.1 * n).clamp(0, 1))
        noise = task.problem(noisy, 0.1).noise
        assert isinstance(noise, Clipped)
        assert noise.sigma == pytest.approx(0.2)
        assert task.problem(noisy).noise.sigma > 0
        sample = task.noise_sample(noisy)
        assert sample.fallback == 0.01
        assert not sample.measured[(noisy == 0) | (noisy == 1)].any()


def test_rounding_is_the_noise_of_a_quantizer():
    y = picture()

    def noise(name, level=0.0):
        return make_task(name).problem(y, level).noise

    few, many = noise("quantize:4"), noise("quantize:40", 0.1)
    assert (type(few), few.step) == (Rounded, pytest.approx(2 / 3))
    assert many.sigma == pytest.approx(math.hypot(0.2, 2 / 39 / math.sqrt(12)))
    assert noise("jpeg:10", 0.1).sigma > noise("jpeg:10").sigma == 0.15
    coarse, fine = (make_task(name).reading(y).unit for name in ("jpeg:10", "jpeg:50"))
    assert coarse > fine > 0
    for name in ("quantize:4", "jpeg:10"):
        assert make_task(name).noise_sample(y) is None
    assert torch.equal(make_task("denoise").noise_sample(y).pixels, y)


@pytest.mark.parametrize("orientation", Orientation)
def test_a_turned_jpeg_is_the_same_problem_as_the_stored_one(orientation):
    x = picture(37, 51)
    plain = Compressed(JPEG(20))
    turned = Compressed(JPEG(20, orientation=orientation))
    y = plain.degrade(x)
    upright = orientation.upright(y)
    torch.testing.assert_close(turned.degrade(orientation.upright(x)), upright)
    problem = turned.problem(upright)
    assert torch.equal(problem.y, plain.problem(y).y)
    assert problem.x_shape == (3, 48, 64)
    canvas = pad(y, (0, 13, 0, 11))
    assert torch.equal(turned.image(canvas, upright), upright)


@pytest.mark.parametrize("text", ["jpeg:20", "jpeg:90"])
def test_a_jpeg_of_any_size_is_extended_and_cut(text):
    task, x = make_task(text), picture(21, 37)
    y = task.degrade(x)
    assert task.problem(y).x_shape == (3, 32, 48)
    assert task.image(torch.zeros(3, 32, 48), y).shape == (3, 21, 37)


OWN = """
import torch
from reddiff.operators import BlockMean

half = BlockMean(2)
number = 3

def darker(x):
    return 0.5 * x

def squared(x):
    return x.clamp(min=0) ** 2

def normalized(x):
    return x / x.norm()
"""


@pytest.mark.parametrize("name", ["half", "darker", "squared"])
def test_an_operator_of_the_users_own_is_a_task(name, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    task, x = make_task(f"{tmp_path}/mine.py:{name}"), picture()
    y = task.degrade(x)
    problem = task.problem(y)
    torch.testing.assert_close(problem.operator(2 * x[None] - 1), problem.y, atol=1e-5, rtol=0)
    assert isinstance(problem.operator, LinearOperator) == (name != "squared")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.py:none", ["darker", "none"]),
        ("mine.py:normalized", ["independently"]),
        ("mine.py:number", ["function"]),
        ("broken.py:x", ["broken.py", "NameError"]),
        ("missing.py:x", ["missing.py"]),
    ],
)
def test_what_is_wrong_with_an_own_operator_is_said(name, words, tmp_path, untyped):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("x = y\n")
    with pytest.raises(InvalidArgument) as caught:
        make_task(f"{tmp_path}/{name}")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_own_operator_takes_no_parameter_of_other_tasks(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    with pytest.raises(InvalidArgument, match="scale"):
        make_task(f"{tmp_path}/mine.py:half", scale=2)

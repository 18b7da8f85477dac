"""Tomography against closed-form integrals and scikit-image."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_refused
from reddiff import Gaussian, InvalidArgument, Keys, Problem, solve
from reddiff.lanes import dot, norm
from reddiff.operators import Radon, hann
from reddiff.operators import radon as module
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

SIZES = [64, 65]
ANGLES = torch.arange(50, dtype=zoo.F64) * 3.6
MIDDLE, WIDTH = (0.2, -0.1), 0.15  # of a Gaussian, in half sides: right, up


def gaussian(n):
    place = (np.arange(n) - n // 2) / (n / 2)
    right, up = np.meshgrid(place, -place)
    squared = (right - MIDDLE[0]) ** 2 + (up - MIDDLE[1]) ** 2
    return np.exp(-squared / (2 * WIDTH**2)) * (right**2 + up**2 < 0.9)


def gaussian_integrals(n):
    """Along all lines, in pixels."""
    turn = np.deg2rad(ANGLES.numpy())[:, None]
    offset = (np.arange(n) - n // 2) / (n / 2)
    offset = offset - MIDDLE[0] * np.cos(turn) - MIDDLE[1] * np.sin(turn)
    height = WIDTH * math.sqrt(2 * math.pi) * n / 2
    return height * np.exp(-(offset**2) / (2 * WIDTH**2))


def image(array):
    return torch.as_tensor(array)[None, None]


def plane(tensor):
    return tensor[0, 0].numpy()


def farthest(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("n", SIZES)
def test_integrals_of_a_gaussian(n, measure):
    got, exact = plane(Radon(n, ANGLES)(image(gaussian(n)))), gaussian_integrals(n)
    theirs = skimage.transform.radon(gaussian(n), ANGLES.numpy(), circle=True).T
    errors = farthest(got, exact), farthest(theirs, exact), farthest(got, theirs)
    measure("Radon, n = {}: {:.2%} from exact, skimage {:.2%}, apart {:.2%}".format(n, *errors))
    assert errors[0] < min(0.005, errors[1])
    assert errors[2] < 0.004


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_upright_views_are_column_and_row_sums(n, angle):
    x = zoo.randn(2, 3, n, n)
    place = torch.arange(n) - n // 2
    x = x * (place[:, None] ** 2 + place**2 <= (n // 2) ** 2)
    wanted = x.sum(-2) if angle == 0 else x.sum(-1).flip(-1)
    got = Radon(n, [angle])(x)[:, :, 0]
    if angle == 90 and n % 2 == 0:  # detector r sees row n - r, and row n is not there
        got, wanted = got[..., 1:], wanted[..., :-1]
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("n", SIZES)
def test_a_disk_keeps_its_mass_in_every_view(n):
    fine = (np.arange(8 * n) + 0.5) / 8 - 0.5 - n // 2
    disk = (fine[:, None] ** 2 + fine**2 < (0.3 * n) ** 2).reshape(n, 8, n, 8).mean((1, 3))
    y = plane(Radon(n, ANGLES)(image(disk)))
    np.testing.assert_allclose(y.sum(1), disk.sum(), rtol=2e-3)
    chord = 2 * np.sqrt(np.clip((0.3 * n) ** 2 - (np.arange(n) - n // 2) ** 2, 0, None))
    assert np.sqrt(((y - chord) ** 2).mean() / (chord**2).mean()) < 0.01


def test_what_is_outside_the_circle_is_not_seen():
    operator = Radon(16, ANGLES)
    x = torch.ones(1, 1, 16, 16, dtype=zoo.F64)
    outside = operator.adjoint(operator(x)) == 0
    assert outside[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].all()
    place = torch.arange(16) - 8
    assert torch.equal(outside[0, 0], place[:, None] ** 2 + place**2 > 64)
    assert torch.equal(operator(torch.where(outside, 9.0, x)), operator(x))


@given(
    n=st.integers(1, 12),
    angles=st.lists(st.floats(0, 180, exclude_max=True), min_size=1, max_size=5),
    c=st.integers(1, 3),
    low=st.booleans(),
)
def test_the_adjoint_is_the_transpose(n, angles, c, low):
    x, y = zoo.randn(2, c, n, n), zoo.randn(2, c, len(angles), n, seed=1)
    dtype, tol = (torch.float32, 1e-6) if low else (torch.float64, 1e-13)
    x, y = x.to(dtype), y.to(dtype)
    operator = Radon(n, angles)
    a, back = operator(x), operator.adjoint(y)
    assert a.dtype == back.dtype == dtype
    assert operator.x_shape(tuple(a.shape[1:])) == (c, n, n)
    gap = dot(a.double(), y.double()) - dot(x.double(), back.double())
    assert (gap.abs() <= tol * norm(x) * norm(y) * math.sqrt(n * len(angles))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_adjoint_is_the_transpose_to_rounding_of_a_large_one(dtype):
    x, y = zoo.randn(1, 1, 127, 127).to(dtype), zoo.randn(1, 1, 50, 127, seed=1).to(dtype)
    operator = Radon(127, ANGLES)
    one, other = (
        dot(operator(x).double(), y.double()),
        dot(x.double(), operator.adjoint(y).double()),
    )
    assert abs(float(one - other)) < torch.finfo(dtype).eps * float(norm(operator(x)) * norm(y))


def test_angles_are_taken_some_at_a_time_alike_for_any_batch(monkeypatch):
    x = zoo.randn(3, 2, 9, 9)
    whole = Radon(9, ANGLES)
    a, back = whole(x), whole.adjoint(whole(x))
    monkeypatch.setattr(module, "ENTRIES_CPU", 7 * 2 * 81)
    torch.testing.assert_close(whole(x), a)
    torch.testing.assert_close(whole.adjoint(a), back)
    assert torch.equal(whole.adjoint(a[1:2]), whole.adjoint(a)[1:2])
    assert torch.equal(whole(x[1:2]), whole(x)[1:2])


def test_angles_per_lane_and_the_unit_of_length():
    x, angles = zoo.randn(2, 1, 9, 9), torch.tensor([[0.0, 30.0, 100.0], [45.0, 135.0, 170.0]])
    operator = Radon(9, angles, per_lane=True)
    for lane in (0, 1):
        alone = Radon(9, angles[lane], spacing=0.5)
        y = operator(x)[lane : lane + 1]
        torch.testing.assert_close(alone(x[lane : lane + 1]), 0.5 * y)
        torch.testing.assert_close(
            alone.initial_estimate(0.5 * y), operator.initial_estimate(operator(x))[lane : lane + 1]
        )
        back = operator.adjoint(operator(x))[lane : lane + 1]
        torch.testing.assert_close(alone.adjoint(y), 0.5 * back)


def test_positions_stay_precise_in_single_precision():
    x = zoo.randn(1, 1, 127, 127)
    operator = Radon(127, ANGLES)
    assert farthest(plane(operator(x.float())), plane(operator(x))) < 1e-6


# ---------------------------------------------------------------------- filtered back projection


@pytest.mark.parametrize("n", SIZES)
def test_filtered_back_projection_is_that_of_scikit_image(n):
    operator = Radon(n, ANGLES)
    y = operator(image(gaussian(n)))
    place = np.arange(n) - n // 2
    inside = place[:, None] ** 2 + place**2 < (n // 2 - 1) ** 2  # else lines without detectors
    for name, got in (
        ("ramp", operator.filtered_back_projection(y)),
        ("hann", operator.initial_estimate(y)),
    ):
        wanted = skimage.transform.iradon(plane(y).T, ANGLES.numpy(), filter_name=name, circle=True)
        tol = 1e-12 if name == "ramp" else 1e-3  # their Hann window is 1 / width off center
        assert np.abs((plane(got) - wanted) * inside).max() < tol
    assert torch.equal(operator.initial_estimate(y), operator.filtered_back_projection(y, hann))


@pytest.mark.parametrize("n", SIZES)
def test_filtered_back_projection_inverts(n):
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    x = image(gaussian(n))
    for angles in (ANGLES, ANGLES[order]):
        operator = Radon(n, angles, spacing=0.01)
        got = operator.filtered_back_projection(operator(x))
        assert float(norm(got - x) / norm(x)) < 0.02


def test_uneven_angles_are_weighted_by_their_gaps():
    uneven = torch.cat([torch.arange(30) * 2.0, 60 + torch.arange(30) * 4.0])
    x = image(gaussian(65))
    operator = Radon(65, uneven)
    got = operator.filtered_back_projection(operator(x))
    assert float(norm(got - x) / norm(x)) < 0.03


def test_of_a_limited_range_the_guess_keeps_its_size():
    x = image(gaussian(65))
    operator = Radon(65, 60 + torch.arange(60.0))
    got = operator.initial_estimate(operator(x))
    assert float(got.max()) < 1.5 * float(x.max())
    assert float(dot(got, x)) > 0.3 * float(dot(x, x))
    weights = torch.rad2deg(operator._gaps()[0])
    assert weights.max() < 1.6  # the gap of 121 degrees is not that of its neighbors
    torch.testing.assert_close(weights[1:-1], torch.ones(58, dtype=zoo.F64))


def test_a_run_improves_on_the_guess(measure):
    n, angles = 16, torch.arange(12) * 15.0
    prior = GaussianRandomField(-2.2)
    like = torch.empty(2, 1, n, n, dtype=zoo.F64)
    x = prior.sample(like, Keys(1, (0, 1)).at(5))
    pixels, sides = Radon(n, angles), Radon(n, angles, spacing=1 / n)
    runs = [
        solve(Problem.simulate(x, operator, Gaussian(sigma)), prior, NoiseAwareREDDiff.default(20))
        for operator, sigma in ((pixels, 0.2), (sides, 0.2 / n))
    ]
    inside = pixels._inside(x)
    before, after = (
        norm(inside * (v - x)) for v in (pixels.initial_estimate(pixels(x)), runs[0].x)
    )
    measure(f"Radon, n = 16, 12 views: error {float((after / norm(inside * x)).max()):.2f}")
    assert (after < 0.8 * before).all()
    torch.testing.assert_close(runs[0].x, runs[1].x, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------------------- geometry


def spot(n, center):
    """A Gaussian, 3.5 rows below and 4.5 columns left of the axis; its line integrals."""
    place = np.arange(n) - center
    x = np.exp(-((place[:, None] - 3.5) ** 2 + (place + 4.5) ** 2) / 32)
    turn = np.deg2rad(np.arange(-180.0, 540.0, 7.5))

    def integrals(offset):
        middle = -4.5 * np.cos(turn) - 3.5 * np.sin(turn)
        return math.sqrt(32 * math.pi) * np.exp(-((offset - middle[:, None]) ** 2) / 32)

    return image(x), torch.arange(-180.0, 540.0, 7.5), integrals


@pytest.mark.parametrize("n", [48, 49])
@pytest.mark.parametrize(
    ("settings", "center", "axis"),
    [
        ({}, lambda n: n // 2, lambda n: n // 2),
        ({"detectors": 80}, lambda n: n // 2, lambda n: 40),
        ({"center": "middle"}, lambda n: (n - 1) / 2, lambda n: (n - 1) / 2),
        ({"center": "middle", "detectors": 71}, lambda n: (n - 1) / 2, lambda n: 35),
        ({"center": "middle", "axis": 30.3}, lambda n: (n - 1) / 2, lambda n: 30.3),
        ({"center": 26.2}, lambda n: 26.2, lambda n: 26.2),
    ],
)
def test_line_integrals_about_any_axis(n, settings, center, axis, measure):
    """In closed form, over two turns and opposite views."""
    if settings.get("center") == "middle":
        settings = {**settings, "center": (n - 1) / 2}
    x, angles, integrals = spot(n, center(n))
    operator = Radon(n, angles, **settings)
    got = plane(operator(x))
    exact = integrals(np.arange(operator.detectors) - axis(n))
    measure(f"Radon about another axis, n = {n}: {farthest(got, exact):.2%} from exact")
    assert got.shape == (96, settings.get("detectors", n))
    assert farthest(got, exact) < 0.02
    seen = operator._inside(x)
    near = float(norm(seen * (operator.filtered_back_projection(operator(x)) - x)) / norm(x))
    measure(f"and filtered back projection {near:.2%} from x")
    assert near < 0.1


def test_wide_detectors_see_what_is_outside_the_circle():
    n = 32
    x = torch.zeros(1, 1, n, n, dtype=zoo.F64)
    x[..., 2, 3] = 1
    wide = Radon(n, ANGLES, detectors=48, center=(n - 1) / 2, circle=False)
    torch.testing.assert_close(
        wide(x).sum(-1), torch.ones(1, 1, 50, dtype=zoo.F64), rtol=0.5, atol=0
    )
    assert not Radon(n, ANGLES, detectors=48, center=(n - 1) / 2)(x).any()


def test_geometry_of_scikit_image_is_the_default():
    for n in (16, 17):
        x = zoo.randn(1, 1, n, n)
        default = Radon(n, ANGLES)(x)
        torch.testing.assert_close(Radon(n, ANGLES, axis=n // 2)(x), default)
        wide = Radon(n, ANGLES, detectors=n + 4)(x)
        torch.testing.assert_close(wide[..., 2:-2], default)


@given(
    n=st.integers(1, 10),
    d=st.integers(1, 14),
    center=st.floats(0, 1),
    axis=st.floats(-3, 15),
    angles=st.lists(st.floats(-720, 720), min_size=1, max_size=4),
    circle=st.booleans(),
)
def test_the_adjoint_is_the_transpose_for_any_geometry(n, d, center, axis, angles, circle):
    operator = Radon(n, angles, detectors=d, center=center * (n - 1), axis=axis, circle=circle)
    x, y = zoo.randn(2, 1, n, n), zoo.randn(2, 1, len(angles), d, seed=1)
    a, back = operator(x), operator.adjoint(y)
    gap = dot(a, y) - dot(x, back)
    assert (gap.abs() <= 1e-12 * norm(x) * norm(y) * math.sqrt(n * len(angles))).all()
    assert torch.isfinite(operator.initial_estimate(a)).all()


@pytest.mark.parametrize(
    "angles",
    [
        torch.linspace(0, 180, 61),
        torch.arange(0, 360, 6.0),
        torch.arange(-90, 90, 3.0),
        torch.linspace(0, 360, 121),
    ],
    ids=["both-ends", "full-turn", "negative", "full-turn-both-ends"],
)
def test_the_guess_weighs_opposite_views_as_one(angles):
    x = image(gaussian(65))
    operator = Radon(65, angles)
    got = operator.filtered_back_projection(operator(x))
    assert float(norm(got - x) / norm(x)) < 0.03
    assert float(operator._gaps().sum()) == pytest.approx(math.pi, rel=1e-6)


BAD = {
    "size": (partial(Radon, 0, [0.0]), "size", "at least 1", "0"),
    "spacing": (partial(Radon, 4, [0.0], spacing=0.0), "spacing", "positive", "0.0"),
    "spacing nan": (partial(Radon, 4, [0.0], spacing=math.nan), "spacing", "finite", "nan"),
    "nan": (partial(Radon, 4, [math.nan]), "angles", "finite numbers of degrees", "[nan]"),
    "inf": (partial(Radon, 4, [0.0, math.inf]), "angles", "finite", "[inf]"),
    "detectors": (partial(Radon, 4, [0.0], detectors=0), "detectors", "at least 1", "0"),
    "center": (partial(Radon, 4, [0.0], center=3.5), "center", "from 0 to 3", "3.5"),
    "center nan": (partial(Radon, 4, [0.0], center=math.nan), "center", "from 0 to 3", "nan"),
    "axis": (partial(Radon, 4, [0.0], axis=math.inf), "axis", "a finite number", "inf"),
    "y wide": (partial(Radon(4, [0.0], detectors=6).x_shape, (1, 1, 4)), "y", "1, 6)", "1, 4)"),
    "none": (partial(Radon, 4, []), "angles", "(k,)", "(0,)"),
    "rank": (partial(Radon, 4, torch.zeros(2, 3)), "angles", "(k,)", "(2, 3)"),
    "lanes": (partial(Radon, 4, [0.0], per_lane=True), "angles", "(b, k)", "(1,)"),
    "x": (partial(Radon(4, [0.0]), torch.ones(1, 1, 5, 5)), "x", "4 x 4", "5 x 5"),
    "y": (partial(Radon(4, [0.0]).x_shape, (1, 2, 4)), "y", "1, 4), (angles", "(b, c, 2, 4)"),
    "y rank": (partial(Radon(4, [0.0]).x_shape, (1, 4)), "y", "c, 1, 4", "(b, 1, 4)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    assert_refused(*BAD[name])


def test_images_that_are_not_square_and_sizes_that_are_not_integers(untyped):
    with pytest.raises(InvalidArgument, match="4 x 4, got 4 x 5"):
        Radon(4, [0.0])(torch.ones(1, 1, 4, 5))
    with pytest.raises(InvalidArgument, match="size: expected an integer"):
        Radon(4.0, [0.0])

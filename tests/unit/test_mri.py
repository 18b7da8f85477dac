"""MRI against NumPy; masks, maps and errors."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.compare import assert_refused
from reddiff import Gaussian, Keys, Problem, solve
from reddiff.lanes import dot, norm
from reddiff.operators import (
    MultiCoilMRI,
    SingleCoilMRI,
    birdcage_maps,
    cartesian_mask,
    equispaced_mask,
    radial_mask,
)
from reddiff.priors import GaussianRandomField
from reddiff.solvers import NoiseAwareREDDiff

pytestmark = pytest.mark.usefixtures("untyped")

SIZES = [(6, 5), (7, 8), (1, 3)]


def numpy_fourier(z):
    shifted = np.fft.fft2(np.fft.ifftshift(z, axes=(-2, -1)), norm="ortho")
    return np.fft.fftshift(shifted, axes=(-2, -1))


def as_complex(x):
    return x.numpy()[..., 0, :, :] + 1j * x.numpy()[..., 1, :, :]


@pytest.mark.parametrize("size", SIZES)
def test_single_coil_is_the_masked_transform(size):
    x, mask = zoo.randn(2, 2, *size), zoo.coin(1, *size, p=0.5)[0]
    wanted = mask.numpy() * numpy_fourier(as_complex(x))
    np.testing.assert_allclose(as_complex(SingleCoilMRI(mask)(x)), wanted, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_coils_are_masked_transforms_of_what_each_sees(size):
    x, maps = zoo.randn(2, 2, *size), zoo.randn(3, 2, *size, seed=1)
    mask = zoo.coin(1, *size, p=0.5)[0]
    wanted = mask.numpy() * numpy_fourier(as_complex(maps) * as_complex(x)[:, None])
    operator = MultiCoilMRI(mask, maps)
    np.testing.assert_allclose(as_complex(operator(x)), wanted, atol=1e-13)
    same = MultiCoilMRI(mask, torch.complex(maps[:, 0], maps[:, 1]))
    assert torch.equal(same(x), operator(x))


def test_one_even_coil_is_the_single_coil():
    mask, x = zoo.coin(1, 6, 5, p=0.5)[0], zoo.randn(2, 2, 6, 5)
    maps = torch.stack([torch.ones(1, 6, 5), torch.zeros(1, 6, 5)], 1).double()
    torch.testing.assert_close(MultiCoilMRI(mask, maps)(x)[:, 0], SingleCoilMRI(mask)(x))


def test_a_constant_image_is_the_middle_frequency():
    y = SingleCoilMRI(torch.ones(6, 5))(torch.ones(1, 2, 6, 5, dtype=zoo.F64))
    wanted = torch.zeros_like(y)
    wanted[..., 3, 2] = math.sqrt(30)
    torch.testing.assert_close(y, wanted)


def test_the_guess_is_x_where_all_is_sampled():
    x, maps = zoo.randn(2, 2, 6, 5), 0.3 + zoo.randn(2, 3, 2, 6, 5, seed=1).abs()
    operator = MultiCoilMRI(torch.ones(6, 5), maps, per_lane=True)
    torch.testing.assert_close(operator.initial_estimate(operator(x)), x)
    single = SingleCoilMRI(torch.ones(6, 5))
    torch.testing.assert_close(single.initial_estimate(single(x)), x)


def test_the_guess_is_finite_where_no_coil_sees():
    maps = torch.zeros(2, 2, 4, 4)
    maps[:, 0, :2] = 1
    y = torch.full((1, 2, 2, 4, 4), 1e30)
    guess = MultiCoilMRI(torch.ones(4, 4), maps).initial_estimate(y)
    assert torch.isfinite(guess).all()
    assert not guess[:, :, 2:].any()


def test_mask_and_maps_per_lane_or_shared():
    masks, maps = zoo.coin(2, 6, 5, p=0.5), zoo.randn(2, 3, 2, 6, 5, seed=1)
    x = zoo.randn(2, 2, 6, 5, seed=2)
    both = MultiCoilMRI(masks, maps, per_lane=True)
    one, other = (MultiCoilMRI(masks[0], maps, per_lane=True) for _ in range(2))
    assert (both.batched, one.batched) == (("mask", "maps"), ("maps",))
    for lane in (0, 1):
        alone = MultiCoilMRI(masks[lane], maps[lane])(x[lane : lane + 1])
        torch.testing.assert_close(both(x)[lane : lane + 1], alone)
        alone = MultiCoilMRI(masks[0], maps[lane])(x[lane : lane + 1])
        torch.testing.assert_close(other(x)[lane : lane + 1], alone)
        alone = MultiCoilMRI(masks[lane], maps[0])(x[lane : lane + 1])
        shared = MultiCoilMRI(masks, maps[0], per_lane=True)(x)
        torch.testing.assert_close(shared[lane : lane + 1], alone)


@given(h=st.integers(1, 9), w=st.integers(1, 9), coils=st.integers(1, 4), seed=st.integers(0, 99))
def test_shapes(h, w, coils, seed):
    mask, maps = zoo.coin(1, h, w, p=0.5, seed=seed)[0], birdcage_maps(coils, (h, w))
    x = zoo.randn(2, 2, h, w, seed=seed)
    for operator in (SingleCoilMRI(mask), MultiCoilMRI(mask, maps)):
        a = operator(x)
        y = zoo.randn(*a.shape, seed=seed + 1)
        gap = dot(a, y) - dot(x, operator.adjoint(y))
        assert (gap.abs() <= 1e-12 * norm(a) * norm(y) + 1e-14).all()
        assert operator.x_shape(tuple(a.shape[1:])) == (2, h, w)
        assert (norm(a) <= norm(x) * (1 + 1e-12)).all()


def test_a_run_is_near_the_posterior_mean():
    size = (16, 12)
    prior = GaussianRandomField(-2.2, channels=2)
    x = 0.5 * prior.sample(torch.empty(2, 2, *size, dtype=zoo.F64), Keys(0, (0, 1)).at(0))
    mask = cartesian_mask(size, 2, center=0.2)
    operator = MultiCoilMRI(mask, birdcage_maps(4, size))
    problem = Problem.simulate(x, operator, Gaussian(0.02))
    mean = prior.posterior(problem).mean
    got = solve(problem, prior, NoiseAwareREDDiff.default(realism=0.0)).x
    assert (norm(got - mean) < 0.016 * norm(mean)).all()
    assert norm(got - x).mean() < norm(operator.initial_estimate(problem.y) - x).mean()


# -------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("make", [cartesian_mask, equispaced_mask])
@pytest.mark.parametrize(("width", "acceleration"), [(64, 4), (65, 4), (320, 8.5), (9, 1), (7, 7)])
def test_line_masks_keep_so_many_columns_and_the_middle(make, width, acceleration):
    mask = make((5, width), acceleration, center=0.05)
    assert mask.shape == (5, width)
    assert torch.equal(mask, mask[:1].expand(5, -1))
    assert int(mask[0].sum()) == round(width / acceleration)
    middle = round(0.05 * width)
    start = width // 2 - middle // 2
    assert mask[0, start : start + middle].all()
    assert middle == 0 or start <= width // 2 < start + middle


def test_random_lines_follow_the_seed():
    masks = [cartesian_mask((4, 100), 4, seed=s) for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    mean = sum(cartesian_mask((1, 64), 4, seed=s)[0].double() for s in range(300)) / 300
    outside = torch.cat([mean[:28], mean[36:]])
    assert outside.min() > 0.1  # (16 - 5) / 59 = 0.186 expected, of a standard deviation of 0.022
    assert outside.max() < 0.28


def test_even_lines_are_even():
    mask = equispaced_mask((1, 64), 4, center=0)
    assert mask[0].nonzero().flatten().diff().unique().tolist() == [4]
    shifted = equispaced_mask((1, 64), 4, center=0, offset=0.0)
    assert shifted[0].nonzero().flatten()[0] == 0


@pytest.mark.parametrize("golden", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (33, 20), (1, 4)])
def test_spokes_pass_through_frequency_0(golden, size):
    one, many = (radial_mask(size, n, golden=golden) for n in (1, 12))
    assert one[size[0] // 2].all()
    assert int(one.sum()) == size[1]
    assert many.shape == size
    assert many[size[0] // 2, size[1] // 2]
    assert many[one].all()
    assert (many.sum() > 4 * one.sum()) or size[0] == 1


def test_equal_spokes_have_the_symmetry_of_the_square():
    mask = radial_mask((33, 33), 4, golden=False)
    assert torch.equal(mask, mask.mT)
    assert torch.equal(mask, mask.flip(0))
    assert int(mask.sum()) == 33 + 33 + 2 * 33 - 3


@pytest.mark.parametrize("size", [(12, 12), (7, 10), (1, 1)])
def test_maps_have_unit_power_and_face_their_coils(size):
    maps = birdcage_maps(8, size)
    torch.testing.assert_close((maps**2).sum((0, 1)), torch.ones(size, dtype=zoo.F64))
    if min(size) > 1:
        assert (maps[0, :, size[0] // 2] ** 2).sum(0).argmax() == size[1] - 1  # at the right
        assert (maps[2, :, :, size[1] // 2] ** 2).sum(0).argmax() == 0  # at the top
        step = norm((maps[..., 1:] - maps[..., :-1]).flatten(0, 1))
        assert step.max() < 2  # smooth
    middle = maps[:, :, size[0] // 2, size[1] // 2]
    torch.testing.assert_close(middle, middle[:1].expand(8, 2))


# ------------------------------------------------------------------------------- what is refused

MASK, MAPS = torch.ones(4, 5), torch.ones(2, 2, 4, 5)
BAD = {
    "rank": (partial(SingleCoilMRI, MASK[None]), "mask", "(h, w)", "(1, 4, 5)"),
    "no lanes": (partial(SingleCoilMRI, MASK, per_lane=True), "mask", "(b, h, w)", "(4, 5)"),
    "values": (partial(SingleCoilMRI, 2 * MASK), "mask", "0 or 1", "others"),
    "nan": (partial(SingleCoilMRI, torch.nan * MASK), "mask", "0 or 1", "others"),
    "nothing": (partial(SingleCoilMRI, 0 * MASK), "mask", "at least one", "none"),
    "lane of nothing": (
        partial(SingleCoilMRI, torch.stack([MASK, 0 * MASK]), per_lane=True),
        "mask",
        "at least one",
        "lanes [1]",
    ),
    "coils nothing": (partial(MultiCoilMRI, 0 * MASK, MAPS), "mask", "at least one", "none"),
    "maps rank": (partial(MultiCoilMRI, MASK, MASK), "maps", "(coils, 2, h, w)", "(4, 5)"),
    "maps int": (partial(MultiCoilMRI, MASK, MAPS.long()), "maps", "real", "torch.int64"),
    "maps of 3": (partial(MultiCoilMRI, MASK, MAPS[:, :1]), "maps", "2, h, w", "(2, 1, 4, 5)"),
    "maps size": (partial(MultiCoilMRI, MASK, MAPS.mT), "maps", "(4, 5)", "(5, 4)"),
    "maps nan": (partial(MultiCoilMRI, MASK, torch.nan * MAPS), "maps", "finite", "nan"),
    "maps zero": (partial(MultiCoilMRI, MASK, 0 * MAPS), "maps", "not zero", "all zero"),
    "coils rank": (partial(MultiCoilMRI, MASK[None], MAPS), "mask", "(h, w)", "(1, 4, 5)"),
    "coils shared": (
        partial(MultiCoilMRI, MASK, MAPS, per_lane=True),
        "per_lane",
        "lane",
        "(4, 5)",
    ),
    "lanes": (
        partial(MultiCoilMRI, MASK.expand(3, 4, 5), MAPS.expand(2, 2, 2, 4, 5), per_lane=True),
        "maps",
        "3 lanes",
        "2",
    ),
    "x": (
        partial(SingleCoilMRI(MASK), torch.ones(1, 2, 5, 4)),
        "x",
        "(b, *(2, 4, 5))",
        "(b, *(2, 5, 4))",
    ),
    "x coils": (partial(MultiCoilMRI(MASK, MAPS), torch.ones(1, 2, 5, 4)), "x", "4, 5", "5, 4"),
    "y rank": (partial(SingleCoilMRI(MASK).x_shape, (4, 5)), "y", "(b, 2, h, w)", "(b, 4, 5)"),
    "y": (partial(SingleCoilMRI(MASK).x_shape, (1, 4, 5)), "y", "2, 4, 5", "1, 4, 5"),
    "y coils": (
        partial(MultiCoilMRI(MASK, MAPS).x_shape, (3, 2, 4, 5)),
        "y",
        "2, 2, 4, 5",
        "3, 2, 4, 5",
    ),
    "y complex": (
        partial(Problem, torch.ones(1, 4, 5) * 1j, SingleCoilMRI(MASK), Gaussian(0.1)),
        "y",
        "two channels, torch.view_as_real",
        "torch.complex64",
    ),
    "acceleration": (partial(cartesian_mask, (4, 8), 0.5), "acceleration", "1 to 8", "0.5"),
    "too fast": (partial(equispaced_mask, (4, 8), 9), "acceleration", "1 to 8", "9"),
    "center": (partial(cartesian_mask, (4, 8), 4, center=0.5), "center", "0.25", "0.5"),
    "center nan": (partial(cartesian_mask, (4, 8), 4, center=math.nan), "center", "0.25", "nan"),
    "offset": (partial(equispaced_mask, (4, 8), 4, offset=1.0), "offset", "in [0, 1)", "1.0"),
    "size": (partial(radial_mask, (0, 8), 4), "size", "at least 1", "(0, 8)"),
    "spokes": (partial(radial_mask, (4, 8), 0), "spokes", "at least 1", "0"),
    "coils": (partial(birdcage_maps, 0, (4, 4)), "coils", "at least 1", "0"),
    "radius": (partial(birdcage_maps, 2, (4, 4), radius=1.0), "radius", "1.414", "1.0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    assert_refused(*BAD[name])

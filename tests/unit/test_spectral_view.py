from __future__ import annotations

import pytest
import torch

from reddiff import Gaussian, Laplace, Problem, UnknownGaussian, Unsupported
from reddiff.operators import Identity, Mask
from reddiff.operators.spectral import SpectralOperator
from reddiff.operators.tone import Clip
from reddiff.spectral_view import SpectralView


class Scaled(SpectralOperator):
    """A diagonal operator of these singular values."""

    def __init__(self, s: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("s", s)

    def x_shape(self, y_shape):
        return y_shape

    def spectrum(self, z):
        return self.s.expand_as(z)

    def v(self, z):
        return z

    vt = u = ut = v


@pytest.mark.parametrize(
    ("dtype", "seen"), [(torch.float64, [1, 1, 0]), (torch.float32, [1, 0, 0])]
)
def test_only_what_exceeds_rounding_is_seen(dtype, seen):
    y = torch.tensor([[2.0, 3e-9, 5.0]], dtype=dtype)
    s = torch.tensor([1.0, 1e-9, 0.0], dtype=dtype)
    view = SpectralView.of(Problem(y, Scaled(s), Gaussian(0.1)))
    assert view.seen.tolist() == [[bool(v) for v in seen]]
    torch.testing.assert_close(view.x[0, 0], y[0, 0])
    assert float(view.x[0, 2]) == 0
    if seen[1]:
        assert float(view.x[0, 1]) == pytest.approx(3)
        assert float(view.sigma_x[0, 1]) == pytest.approx(1e8)


def test_reach_and_fresh_noise():
    y = torch.ones(2, 2, dtype=torch.float64)
    sigma = torch.tensor([0.1, 0.4], dtype=torch.float64)
    problem = Problem(y, Scaled(torch.tensor([1.0, 0.5]).double()), Gaussian(sigma))
    view = SpectralView.of(problem)
    level = torch.tensor([0.2, 0.5], dtype=torch.float64)
    assert view.reach(level).tolist() == [[True, True], [True, False]]
    fresh = view.fresh(level, 1.0)
    expected = [[0.03**0.5, 0.0], [0.09**0.5, 0.5]]
    torch.testing.assert_close(fresh, torch.tensor(expected).double(), atol=1e-7, rtol=0)


def test_other_problems_have_no_view():
    y = torch.ones(1, 1, 4, 4)
    for noise in (Laplace(0.1), UnknownGaussian()):
        problem = Problem(y, Identity(), noise)
        assert SpectralView.of(problem) is None
        with pytest.raises(Unsupported, match="expected a SpectralOperator and Gaussian noise"):
            SpectralView.required(problem)
        with pytest.raises(Unsupported, match="expected Gaussian"):
            _ = problem.sigma_y
    assert SpectralView.of(Problem(y, Identity(), UnknownGaussian()), torch.ones(1)) is not None
    assert SpectralView.of(Problem(y, Mask(y[0]), Gaussian(0.1))).seen.all()
    curved = Problem(y, Clip(), Gaussian(0.1))
    assert SpectralView.of(curved) is None
    assert not curved.linear_gaussian
    with pytest.raises(Unsupported, match="expected a LinearOperator"):
        _ = curved.linear

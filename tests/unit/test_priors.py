"""The base class of priors, and adapters of networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reddiff import InvalidArgument
from reddiff.priors import EDMPrior, EpsPrior, FlowPrior, Prior, VPrior, X0Prior
from reddiff.schedules import vp

ABAR = vp(1000).alpha[:-1].flip(0) ** 2
LEVELS = ((1 - ABAR) / ABAR).sqrt()
X = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
S = LEVELS[[10, 400, 990]].view(3, 1, 1, 1)


class Recording(nn.Module):
    """A network that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        self.x, self.time = x, time
        return self.gain * x


class Shrinking(Prior):
    """Linear, and different at every level."""

    def __init__(self, *args) -> None:
        super().__init__((2, None, None), *args)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen = x, sigma
        return x / (1 + sigma**2)


PER_LANE = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)


@pytest.mark.parametrize(
    "sigma", [0.7, PER_LANE, PER_LANE.view(3, 1, 1, 1)], ids=["1", "b", "b111"]
)
@pytest.mark.parametrize("alpha", [0.5, torch.tensor([0.9, 0.5, 0.1])], ids=["1", "b"])
def test_a_denoiser_sees_x_over_alpha_and_sigma_over_alpha(sigma, alpha):
    prior = Shrinking()
    prior(X, sigma, alpha)
    a, s = (torch.as_tensor(v).double().reshape(-1, 1, 1, 1) for v in (alpha, sigma))
    x, level = prior.seen
    torch.testing.assert_close(x, X / a)
    torch.testing.assert_close(level, (s / a).expand(3, 1, 1, 1))


def test_x_is_not_copied_where_alpha_is_one():
    prior = Shrinking()
    assert torch.equal(prior(X, 0.7), prior(X, 0.7, torch.ones(3)))
    prior(X, 0.7)
    assert prior.seen[0].data_ptr() == X.data_ptr()


def test_a_pullback_that_is_called_once_keeps_nothing():
    """The same numbers, and what the network saved is gone after the call."""
    keeping, freeing = (Shrinking().vjp(X, PER_LANE, 0.5, once=once) for once in (False, True))
    assert torch.equal(keeping[0], freeing[0])
    assert torch.equal(keeping[1](X), freeing[1](X))
    keeping[1](X)
    with pytest.raises(RuntimeError, match="a second time"):
        freeing[1](X)


def test_vjp_is_that_of_autograd_and_can_be_called_again():
    x_0, pullback = Shrinking().vjp(X, PER_LANE, 0.5)
    v = X.flip(0)
    expected = v / 0.5 / (1 + (PER_LANE.view(-1, 1, 1, 1) / 0.5) ** 2)
    torch.testing.assert_close(x_0, Shrinking()(X, PER_LANE, 0.5))
    torch.testing.assert_close(pullback(v), expected)
    torch.testing.assert_close(pullback(2 * v), 2 * expected)
    assert not x_0.requires_grad
    assert not X.requires_grad


@pytest.mark.parametrize(
    ("shape", "fits"), [((2, 5, 6), True), ((3, 5, 6), False), ((2, 5), False), ((2, 1, 1), True)]
)
def test_accepts_any_size_where_the_shape_says_none(shape, fits):
    assert Shrinking().accepts(shape) is fits


def test_dtype_is_that_of_the_parameters_if_there_are_any():
    assert Shrinking().dtype is None
    assert EpsPrior(Recording(), (2, None, None), ABAR).dtype == torch.float64
    assert EDMPrior(Recording().float(), (2, None, None)).dtype == torch.float32


@pytest.mark.parametrize("kind", [EpsPrior, VPrior, X0Prior])
def test_a_discrete_network_is_called_with_x_t_at_its_own_time(kind):
    net = Recording()
    prior = kind(net, (2, None, None), ABAR)
    x_0 = prior(X, S)
    alpha = (1 + S**2).rsqrt()
    x_t, sigma_t = alpha * X, alpha * S
    torch.testing.assert_close(net.x, x_t)
    torch.testing.assert_close(net.time, torch.tensor([10.0, 400, 990]).double(), rtol=0, atol=1e-6)
    out = 0.3 * x_t
    expected = {
        EpsPrior: (x_t - sigma_t * out) / alpha,
        VPrior: alpha * x_t - sigma_t * out,
        X0Prior: out,
    }
    torch.testing.assert_close(x_0, expected[kind])
    assert prior.sigma_min == pytest.approx(float(LEVELS[0]))
    assert prior.sigma_max == pytest.approx(float(LEVELS[-1]))


def test_times_between_the_trained_ones_are_interpolated_or_rounded():
    between = (LEVELS[[10, 400]] ** 0.7 * LEVELS[[11, 401]] ** 0.3).view(-1)
    prior = EpsPrior(Recording(), (2, None, None), ABAR)
    torch.testing.assert_close(prior.time(between), torch.tensor([10.3, 400.3]).double())
    outside = torch.tensor([1e-6, 1e6], dtype=torch.float64)
    assert prior.time(outside).tolist() == [0, 999]
    rounding = EpsPrior(Recording(), (2, None, None), ABAR, integer_time=True)
    assert rounding.time(between).tolist() == [10, 400]
    assert rounding.time(between).dtype == torch.int64


def test_a_flow_is_called_on_its_straight_path():
    net = Recording()
    s = PER_LANE.view(3, 1, 1, 1)
    x_0 = FlowPrior(net, (2, None, None))(X, s)
    t = s / (1 + s)
    torch.testing.assert_close(net.x, (1 - t) * X)
    torch.testing.assert_close(net.time, t.flatten())
    torch.testing.assert_close(x_0, net.x - t * 0.3 * net.x)


def test_edm_preconditioning_is_that_of_table_1():
    net, data = Recording(), 0.5
    s = PER_LANE.view(3, 1, 1, 1)
    x_0 = EDMPrior(net, (2, None, None), sigma_data=data)(X, s)
    total = (s**2 + data**2).sqrt()
    torch.testing.assert_close(net.x, X / total)
    torch.testing.assert_close(net.time, PER_LANE.log() / 4)
    expected = data**2 / total**2 * X + s * data / total * 0.3 * net.x
    torch.testing.assert_close(x_0, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shrinking(-1.0, 2.0), r"sigma_min, sigma_max: .* got -1\.0, 2\.0"),
        (lambda: Shrinking(2.0, 1.0), r"sigma_min, sigma_max: .* got 2\.0, 1\.0"),
        (lambda: Shrinking(math.nan, 1.0), r"sigma_min, sigma_max: .* got nan, 1\.0"),
        (lambda: FlowPrior(Recording(), (2,), 0.5, 1.0), r"t_min, t_max: .* got 0\.5, 1\.0"),
        (lambda: EDMPrior(Recording(), (2,), sigma_data=0.0), r"sigma_data: .* got 0\.0"),
        (
            lambda: EpsPrior(Recording(), (2,), ABAR.flip(0)),
            r"abar: .* that fall",
        ),
        (lambda: EpsPrior(Recording(), (2,), 1 + ABAR), r"abar: .* between 0 and 1"),
    ],
)
def test_ranges(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()

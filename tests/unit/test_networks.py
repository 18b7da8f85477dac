"""Networks with the outputs, sizes and parameter tables of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from reddiff import Gaussian, InvalidArgument, Problem, solve
from reddiff.operators import Identity
from reddiff.priors import EDMPrior, EpsPrior, FlowPrior, VPrior, X0Prior, networks
from reddiff.solvers import REDDiff

F64 = torch.float64
ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=F64), 0)
SHAPE = (3, None, None)


class Net(nn.Module):
    """Any map of x and t, of so many times its channels."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.times = times
        self.weight = nn.Parameter(torch.full((1,), 0.3, dtype=F64))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out = self.weight * x + 1e-3 * t.view(-1, 1, 1, 1)
        return torch.cat([out, *[7 + out] * (self.times - 1)], 1)


class Output:
    """As UNet2DOutput."""

    def __init__(self, sample: Tensor) -> None:
        self.sample = sample


class Even(nn.Module):
    """Down and up by 8: other sizes do not fit."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(x, 8)
        return x - nn.functional.interpolate(small, scale_factor=8)


NET = Net()
ALIKE: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a function": lambda x, t: NET(x, t),
    "diffusers' output": lambda x, t: Output(NET(x, t)),
    "a tuple": lambda x, t: (NET(x, t), None),
    "a learned variance": Net(2),
}
PRIORS: dict[str, Callable[..., Any]] = {
    "eps": lambda net, **more: EpsPrior(net, SHAPE, ABAR, **more),
    "v": lambda net, **more: VPrior(net, SHAPE, ABAR, **more),
    "x0": lambda net, **more: X0Prior(net, SHAPE, ABAR, **more),
    "flow": lambda net, **more: FlowPrior(net, SHAPE, **more),
    "edm": lambda net, **more: EDMPrior(net, SHAPE, **more),
}


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("name", ALIKE)
def test_outputs_of_other_libraries(kind: str, name: str) -> None:
    x, sigma = zoo.randn(2, 3, 4, 5), torch.tensor([0.3, 2.0], dtype=F64)
    wanted = PRIORS[kind](NET)(x, sigma)
    got, pull = PRIORS[kind](ALIKE[name]).vjp(x, sigma)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(pull(x), PRIORS[kind](NET).vjp(x, sigma)[1](x))


@pytest.mark.parametrize("kind", PRIORS)
def test_sides_are_extended_and_cut(kind: str) -> None:
    x, sigma = zoo.randn(1, 3, 30, 9), torch.tensor([0.5], dtype=F64)
    wide = nn.functional.pad(x, (0, 7, 0, 2), mode="replicate")
    wanted = PRIORS[kind](Even())(wide, sigma)[..., :30, :9]
    torch.testing.assert_close(PRIORS[kind](Even(), multiple=8)(x, sigma), wanted)
    words = r"net: expected a network that takes sides of 30 x 9 \(multiple=8 pads them\), got"
    with pytest.raises(InvalidArgument, match=words):
        PRIORS[kind](Even())(x, sigma)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda x, t: x[:, :1], r"of the shape of x .* got \(2, 1, 4, 5\) for x of \(2, 3, 4, 5\)"),
        (Net(3), r"a learned variance\), got \(2, 9, 4, 5\)"),
        (lambda x, t: x[..., :3], r"got \(2, 3, 4, 3\)"),
        (lambda x, t: x.mean(), r"got \(\) for x"),
        (lambda x, t: {"sample": x}, "a network that returns a tensor, got dict"),
    ],
)
@pytest.mark.parametrize("kind", PRIORS)
def test_outputs_that_do_not_fit(kind: str, net: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"net: expected .*{words}") as caught:
        PRIORS[kind](net)(zoo.randn(2, 3, 4, 5), torch.tensor([0.3, 2.0], dtype=F64))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "abar", [ABAR, ABAR.float(), ABAR.numpy(), ABAR.float().numpy(), ABAR.tolist()]
)
def test_tables_of_other_kinds(abar: Any) -> None:
    prior, wanted = EpsPrior(NET, SHAPE, abar), EpsPrior(NET, SHAPE, ABAR)
    assert prior.sigma_max == pytest.approx(wanted.sigma_max, rel=1e-3)
    s = torch.tensor([0.02, 0.5, 100.0], dtype=F64)
    torch.testing.assert_close(prior.time(s), wanted.time(s), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", [EpsPrior, VPrior, X0Prior])
def test_a_terminal_signal_of_zero_is_left_out(kind: Any) -> None:
    zero = torch.cat([ABAR, ABAR.new_zeros(1)])
    prior, wanted = kind(NET, SHAPE, zero.float().numpy()), kind(NET, SHAPE, ABAR)
    assert prior.sigma_max == pytest.approx(wanted.sigma_max, rel=1e-4)
    x, sigma = zoo.randn(1, 3, 4, 4), torch.tensor([1.0], dtype=F64)
    torch.testing.assert_close(prior(x, sigma), wanted(x, sigma), rtol=1e-3, atol=1e-3)
    problem = Problem.simulate(x, Identity(), Gaussian(0.1))
    assert torch.isfinite(solve(problem, prior, REDDiff.paper(3)).x).all()


@pytest.mark.parametrize(
    ("abar", "words"),
    [
        (ABAR.flip(0), "that fall from step to step, got .* at step 1 of 1000 after"),
        (torch.cat([ABAR.new_ones(1), ABAR]), "between 0 and 1, got 1 at step 0 of 1001"),
        (ABAR * float("nan"), "between 0 and 1, got nan at step 0"),
        (ABAR.new_zeros(5), "between 0 and 1, got 0 at step 0 of 4"),
        (torch.zeros(2, 3), r"a vector of alpha\^2, two values or more, got shape \(2, 3\)"),
        ([0.5], r"two values or more, got shape \(1,\)"),
        ("linear", "a vector, as a tensor, an array or a list, got str"),
        (None, "a vector"),
    ],
)
def test_tables_that_are_none(abar: Any, words: str, untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=f"abar: expected .*{words}") as caught:
        EpsPrior(NET, SHAPE, abar)
    assert len(str(caught.value)) < 160


def test_what_is_no_network(untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=r"net: expected a module or a function of \(x, t\)"):
        EDMPrior("net.pt", SHAPE)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="multiple: expected an integer of at least 1, got 0"):
        FlowPrior(NET, SHAPE, multiple=0)


def test_a_function_takes_any_dtype_and_keeps_no_parameters() -> None:
    prior = EpsPrior(lambda x, t: 0.1 * x, SHAPE, ABAR)
    assert prior.dtype is None
    assert EpsPrior(NET, SHAPE, ABAR).dtype == F64
    assert list(prior.state_dict()) == []
    assert list(EDMPrior(NET, SHAPE).state_dict()) == ["net.weight"]


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_used_where_the_processor_has_it(native, monkeypatch):
    """Emulated, it is several times slower than float32."""
    monkeypatch.setattr(networks, "_cpu_has_bfloat16", lambda: native)
    seen = []

    def net(x, t):
        seen.append(torch.is_autocast_enabled("cpu"))
        return torch.zeros_like(x)

    prior = EDMPrior(net, (1, 4, 4), compute=torch.bfloat16)
    prior(torch.zeros(1, 1, 4, 4), 1.0)
    assert seen == [native]

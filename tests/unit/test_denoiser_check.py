"""What `solve` refuses of a prior before a run, and what it lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import reddiff
import zoo
from reddiff import Gaussian, InvalidArgument, Problem, solve
from reddiff.operators import Identity
from reddiff.priors import GaussianRandomField, Prior, photo_prior
from reddiff.run.denoiser_check import require_denoiser
from reddiff.schedules import vp
from reddiff.solvers import DPS, PiGDM, REDDiff

SHAPE = (3, None, None)
ABAR = vp(1000).alpha[:-1].flip(0) ** 2
X = 0.3 * zoo.randn(1, 3, 16, 16).float()
PROBLEM = Problem.simulate(X, Identity(), Gaussian(0.1))


class Trained(nn.Module):
    """An exact network for a Gaussian random field, over the steps of DDPM."""

    def __init__(self, predict: str, *, no_grad: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.prior, self.predict = GaussianRandomField(-7.0, channels=3), predict
        self.no_grad, self.calls = no_grad, 0
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        alpha, sigma = zoo.priors.chain(t.double())
        alpha, sigma = (v.to(x_t).view(-1, 1, 1, 1) for v in (alpha, sigma))
        x_0 = self.prior(x_t, sigma, alpha)
        eps = (x_t - alpha * x_0) / sigma
        out = {"eps": eps, "x0": x_0, "v": alpha * eps - sigma * x_0, "score": -eps / sigma}
        return self.dropout(out[self.predict].detach() if self.no_grad else out[self.predict])


def wired(predict: str, as_if: str | None = None, **more: Any) -> Prior:
    net = Trained(predict, **more)
    return reddiff.prior(net, prediction=as_if or predict, schedule=ABAR, shape=SHAPE).eval()


@pytest.mark.parametrize("predict", ["eps", "x0", "v", "score"])
def test_what_is_right_passes_and_changes_nothing(predict: str) -> None:
    prior = wired(predict)
    solver = DPS.paper(3)
    checked = solve(PROBLEM, prior, solver)
    assert prior.get_submodule("net").calls == 3 + 2  # two evaluations, not counted as of the run
    assert checked.cost.evaluations == (3,)
    assert torch.equal(checked.x, solve(PROBLEM, prior, solver, check=False).x)
    assert prior.get_submodule("net").calls == 3 + 2 + 3


@pytest.mark.parametrize(
    ("predict", "as_if"), [("eps", "x0"), ("v", "x0"), ("score", "x0"), ("score", "eps")]
)
def test_another_prediction_is_refused(predict: str, as_if: str) -> None:
    words = r"prior: expected D\(x \+ s n, s\) close to x at its lowest level s = 0.01 .*rms"
    with pytest.raises(InvalidArgument, match=words):
        solve(PROBLEM, wired(predict, as_if), REDDiff.paper(2))
    assert solve(PROBLEM, wired(predict, as_if), REDDiff.paper(2), check=False).x.shape == X.shape


@pytest.mark.parametrize("predict", ["eps", "x0"])
def test_a_network_without_a_gradient_is_refused(predict: str) -> None:
    """x - s eps has a gradient even where eps has none: the vjp would be that of x alone."""
    prior = wired(predict, no_grad=True)
    assert torch.isfinite(solve(PROBLEM, prior, REDDiff.paper(2)).x).all()
    with pytest.raises(InvalidArgument, match="net: expected an output with a gradient, got none"):
        solve(PROBLEM, prior, PiGDM.paper(2))
    with pytest.raises(InvalidArgument, match="net: expected an output with a gradient"):
        prior.vjp(X, 1.0)


class Own(Prior):
    """A denoiser of one's own, given as a function."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *ends: float) -> None:
        super().__init__(SHAPE, *ends)
        self.function = function

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.function(x, sigma)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, s: x * torch.where(s > 100, torch.nan, 1), "finite estimates .* level 1000"),
        (lambda x, s: x / (s - s), "finite estimates .* level 0.0001"),
        (
            lambda x, s: x[..., :3],
            r"estimates of shape \(1, 3, 16, 16\), as x, got \(1, 3, 16, 3\)",
        ),
        (lambda x, s: x @ torch.ones(3, 3), r"an estimate for x of shape \(3, 16, 16\) .*Error: "),
        (lambda x, s: torch.randn(x.shape), "close to x"),
        (lambda x, s: -x, "close to x"),
    ],
)
def test_denoisers_that_are_none(function: Any, words: str, untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=f"prior: expected .*{words}") as caught:
        solve(PROBLEM, Own(function), REDDiff.paper(2))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "prior",
    [
        Own(lambda x, s: torch.where(x > 0, 1.0, -1.0)),  # binary data: x itself is not among them
        Own(lambda x, s: x * 1e-4 / (1e-4 + s**2)),  # data of standard deviation 0.01
        Own(lambda x, s: x * 1e4 / (1e4 + s**2)),  # and of 100
        Own(lambda x, s: x / (1 + s**2), 0.5, 2.0),  # of middle levels alone
        Own(lambda x, s: x.mean((1, 2, 3), keepdim=True).expand_as(x)),  # constant pictures
    ],
)
def test_unusual_priors_pass(prior: Prior) -> None:
    require_denoiser(prior, (3, 16, 16), X, vjp=False)


def test_train_mode_is_refused() -> None:
    prior = wired("eps", dropout=0.1).train()
    with pytest.raises(InvalidArgument, match=r"expected prior.eval\(\).*Dropout net.dropout"):
        solve(PROBLEM, prior, REDDiff.paper(2))
    assert torch.isfinite(solve(PROBLEM, prior.eval(), REDDiff.paper(2)).x).all()


def test_only_a_small_part_of_a_large_picture_is_tried() -> None:
    sizes = []

    def net(x: Tensor, s: Tensor) -> Tensor:
        sizes.append(tuple(x.shape))
        return x / (1 + s.view(-1, 1, 1, 1) ** 2)

    prior = reddiff.prior(net, prediction="denoiser", shape=SHAPE)
    require_denoiser(prior, (3, 500, 300), X, vjp=True)
    require_denoiser(
        reddiff.prior(net, prediction="denoiser", shape=(3, 96, 96)), (3, 96, 96), X, vjp=False
    )
    assert sizes == [(1, 3, 64, 64)] * 2 + [(1, 3, 96, 96)] * 2


def test_the_priors_of_the_package_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for prior in (photo_prior(), GaussianRandomField(channels=3)):
        monkeypatch.setattr(type(prior), "forward", None)
        require_denoiser(prior, (3, 16, 16), X, vjp=True)

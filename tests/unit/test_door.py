"""`reddiff.prior`: priors from modules, functions, names and files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reddiff
import zoo
from reddiff import Gaussian, InvalidArgument, Problem, WeightsError, solve
from reddiff.interop.header import Header
from reddiff.interop.weights import save_weights
from reddiff.interop.wiring import Wiring
from reddiff.operators import Identity
from reddiff.priors import EDMPrior, EpsPrior, Prior, UNet, adapted
from reddiff.priors.curve import Curve
from reddiff.priors.paths import ContinuousVP, Path
from reddiff.priors.straight import Straight
from reddiff.schedules import vp
from reddiff.solvers import PiGDM

F64 = torch.float64
ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=F64), 0)
SHAPE = (3, None, None)
COV = 0.25


def exact(path: Path, predict: str) -> Any:
    """A network that is exact for white x of variance COV, on a path, with analytic rates."""

    def net(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma, alpha_rate, sigma_rate = (v.view(-1, 1, 1, 1) for v in POINTS[path](t))
        s = sigma / alpha
        x = x_t / alpha
        x_0 = x * COV / (COV + s**2)
        eps = (x - x_0) / s
        root = (1 + s**2).rsqrt()
        return {
            "eps": eps,
            "v": root * (eps - s * x_0),
            "x0": x_0,
            "score": -eps / sigma,
            "flow": alpha_rate * x_0 + sigma_rate * eps,
        }[predict]

    return net


def _vp(t: Tensor) -> tuple[Tensor, ...]:
    b, rate = 0.1 * t + 19.9 * t**2 / 2, 0.1 + 19.9 * t
    alpha, sigma = (-b / 2).exp(), (-torch.expm1(-b)).sqrt()
    return alpha, sigma, -rate * alpha / 2, rate * alpha**2 / (2 * sigma)


def _cosine(t: Tensor) -> tuple[Tensor, ...]:
    u = t * math.pi / 2
    return u.cos(), u.sin(), -u.sin() * math.pi / 2, u.cos() * math.pi / 2


def _reversed(t: Tensor) -> tuple[Tensor, ...]:
    one = torch.ones_like(t)
    return t, 1 - t, one, -one


VP, REVERSED = ContinuousVP(), Straight(data_at=1)
COSINE = Curve(lambda t: (t * math.pi / 2).cos(), lambda t: (t * math.pi / 2).sin(), 1e-3, 0.999)
POINTS = {VP: _vp, REVERSED: _reversed, COSINE: _cosine}


@pytest.mark.parametrize("predict", ["eps", "v", "x0", "score", "flow"])
@pytest.mark.parametrize("path", POINTS)
def test_every_prediction_on_every_path(path: Path, predict: str) -> None:
    prior = reddiff.prior(exact(path, predict), prediction=predict, schedule=path, shape=SHAPE)
    s = torch.tensor([0.03, 0.4, 1.7, 20.0], dtype=F64)
    x = zoo.randn(4, 3, 4, 5) * (1 + s.view(-1, 1, 1, 1))
    wanted = x * COV / (COV + s.view(-1, 1, 1, 1) ** 2)
    torch.testing.assert_close(prior(x, s), wanted, rtol=1e-9, atol=1e-9)


def test_words_of_other_libraries_mean_the_same() -> None:
    net = lambda x, t: 0.3 * x + 1e-3 * t.view(-1, 1, 1, 1)  # noqa: E731
    x, s = zoo.randn(2, 3, 4, 5), torch.tensor([0.3, 2.0], dtype=F64)
    wanted = EpsPrior(net, SHAPE, ABAR)(x, s)
    for prediction, schedule in (
        ("eps", ABAR),
        ("epsilon", ABAR.numpy()),
        ("eps", "linear"),
        ("eps", vp(1000)),
        ("epsilon", {"name": "linear", "steps": 1000}),
    ):
        prior = reddiff.prior(net, prediction=prediction, schedule=schedule, shape=SHAPE)
        torch.testing.assert_close(prior(x, s), wanted)
    assert prior.values == (-1, 1)
    edm = reddiff.prior(net, prediction="edm", sigma_data=1.0, shape=SHAPE)
    torch.testing.assert_close(edm(x, s), EDMPrior(net, SHAPE, sigma_data=1.0)(x, s))


@pytest.mark.parametrize(
    "units", [{"values": (0, 1)}, {"values": (0, 255)}, {"mean": (0.5, 0.4, 0.3), "std": [0.2] * 3}]
)
def test_pixels_of_other_ranges(units: Any) -> None:
    """The same denoiser, told x in its own pixels, has the same estimates and levels."""
    scale = units["values"][1] / 2 if "values" in units else 0.5 / 0.2
    pixels = (zoo.randn(2, 3, 4, 5) + 1) / 2
    mean = torch.tensor(units.get("mean", (0.5,) * 3)).view(-1, 1, 1)
    z = pixels * units["values"][1] if "values" in units else (pixels - mean) / 0.2
    known: list[Tensor] = []

    def net(z_t: Tensor, sigma: Tensor) -> Tensor:
        known.extend([z_t, sigma])
        return z

    prior = reddiff.prior(net, prediction="denoiser", shape=SHAPE, levels=(0.01, 3.0), **units)
    assert (prior.sigma_min, prior.sigma_max) == pytest.approx((0.01 / scale, 3 / scale))
    x_0 = prior(2 * pixels - 1, torch.tensor([0.1, 0.2], dtype=F64))
    torch.testing.assert_close(known[0], z)
    torch.testing.assert_close(known[1], scale * torch.tensor([0.1, 0.2], dtype=F64))
    torch.testing.assert_close(x_0, 2 * pixels - 1)
    assert prior.values == (-1, 1)


def test_a_prior_and_a_name_come_back() -> None:
    gaussian = zoo.gaussian()
    assert reddiff.prior(gaussian) is gaussian
    assert isinstance(reddiff.prior("photo"), Prior)
    with pytest.raises(InvalidArgument, match="prediction: expected nothing more about photo"):
        reddiff.prior("photo", prediction="eps")


def _saved(path: Any, **wiring: Any) -> UNet:
    net = UNet(1, channels=(8, 12), blocks=(1, 1), embedding=16)
    arguments = {"image_channels": 1, "channels": [8, 12], "blocks": [1, 1], "embedding": 16}
    header = Header("unet", arguments, Wiring(**wiring))
    save_weights(path, net.state_dict(), header)
    return net


def test_a_file_knows_its_network_and_its_wiring(tmp_path: Any) -> None:
    file = tmp_path / "mine.safetensors"
    net = _saved(file, prediction="edm", shape=[1, None, None], levels=[0.01, 50], sigma_data=0.4)
    prior = reddiff.prior(file)
    wanted = EDMPrior(net, (1, None, None), 0.01, 50, 0.4)
    x = zoo.randn(1, 1, 8, 8).float()
    torch.testing.assert_close(prior(x, 0.3), wanted(x, 0.3))
    assert prior.shape == (1, None, None)
    assert (prior.sigma_min, prior.sigma_max) == (0.01, 50)
    assert not any(p.requires_grad for p in prior.parameters())
    assert not prior.training
    assert reddiff.prior(str(file), levels=(0.1, 2)).sigma_max == 2  # what is said goes first


def test_a_file_of_another_network(tmp_path: Any) -> None:
    file = tmp_path / "mine.safetensors"
    tensors = UNet(1, channels=(8, 12), blocks=(1, 1), embedding=16).state_dict()
    arguments = {"image_channels": 1, "channels": [8, 16], "blocks": [1, 1], "embedding": 16}
    save_weights(file, tensors, Header("unet", arguments, Wiring(prediction="edm")))
    with pytest.raises(WeightsError, match=r"mine.safetensors: .* got \d+ of another shape: ") as e:
        reddiff.prior(file)
    assert len(str(e.value)) < 600
    save_weights(file, tensors, Header("unet", {"image_channels": 1, "width": 3}, Wiring()))
    with pytest.raises(WeightsError, match="unexpected keyword"):
        reddiff.prior(file)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "prediction: expected what the network predicts"),
        ({"prediction": "noisy"}, "prediction: expected one of eps, v, x0, .*, got noisy"),
        ({"prediction": "eps"}, "schedule: expected alpha.2 of each step, or one of linear"),
        ({"prediction": "eps", "schedule": "square"}, "schedule: expected one of linear"),
        ({"prediction": "eps", "schedule": {"name": "vp", "T": 3}}, "the numbers of 'vp', got T=3"),
        (
            {"prediction": "flow", "schedule": ABAR},
            "prediction: expected one other than the velocity for this path, got Chain",
        ),
        ({"prediction": "edm", "mean": [0.5] * 3}, "mean, std: expected both"),
        ({"prediction": "edm", "mean": [0.5] * 3, "std": (0.2, 0.3, 0.2)}, "std: expected one std"),
        ({"prediction": "edm", "values": (1, 0)}, "values: expected a low end below a high one"),
        ({"prediction": "x0", "schedule": "ve", "sigma_data": 1.0}, "sigma_data: expected none"),
        ({"prediction": "edm", "schedule": "linear"}, "schedule: expected that of EDM"),
        ({"prediction": "eps", "schedule": {"name": "linear", "steps": -3}}, "steps: expected an"),
        ({"prediction": "edm", "shape": 3}, "shape: expected a tuple of sides"),
        ({"prediction": "edm", "shape": (3, 0, None)}, r"got \(3, 0, None\)"),
        ({"prediction": "edm", "values": 1}, "values: expected two numbers, .* got 1"),
        ({"prediction": "edm", "levels": (1, 2, 3)}, "levels: expected two numbers"),
        (
            {"prediction": "eps", "schedule": "linear", "levels": (0.01, 1e4)},
            "levels: expected levels of the schedule, 0.010001 to 157.41, got 0.01 to 10000",
        ),
        ({"prediction": "edm", "levels": (3, 1)}, "expected 0 <= sigma_min < sigma_max"),
        ({"prediction": "edm", "mean": 0.5, "std": 0.5}, "mean: expected a tuple of numbers"),
        ({"prediction": "edm", "classes": 3, "embedding": (4,)}, "classes, embedding: expected"),
        ({"prediction": "edm", "classes": 3, "null": -1}, "null: expected a label"),
    ],
)
def test_what_does_not_fit(more: Any, words: str, untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=words):
        reddiff.prior(lambda x, t: x, **{"shape": SHAPE, **more})


def test_a_pickle_is_refused_with_the_command_that_converts_it() -> None:
    for name in ("model.pt", "a.CKPT", "x/pytorch_model.bin"):
        with pytest.raises(InvalidArgument, match=f"reddiff convert {name} model.safetensors"):
            reddiff.prior(name)


def test_betas_are_not_taken_for_alpha() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=F64)
    for wrong, factors in ((betas, "1 - betas"), (1 - betas, "alphas")):
        words = (
            rf"abar: expected alpha.2, the products of 1 - beta \(torch.cumprod\({factors}, 0\)\)"
        )
        for kind in (wrong, wrong.float(), wrong.numpy(), wrong.tolist()):
            with pytest.raises(InvalidArgument, match=words):
                reddiff.prior(lambda x, t: x, prediction="eps", schedule=kind, shape=SHAPE)
    with pytest.raises(InvalidArgument, match="abar: expected float32 or float64, because half"):
        EpsPrior(lambda x, t: x, SHAPE, ABAR.half())


@pytest.mark.parametrize("x", [torch.ones(1, 3, 8, 8, dtype=torch.int64), torch.ones(3, 8, 8) * 1j])
def test_numbers_that_are_none(x: Tensor, untyped: None) -> None:
    prior = EpsPrior(lambda x, t: x, SHAPE, ABAR)
    with pytest.raises(InvalidArgument, match="x_t: expected a floating-point dtype"):
        prior(x, 0.1)
    with pytest.raises(InvalidArgument, match=r"x_t: expected shape \('b', 3, None, None\), got"):
        prior(torch.ones(3, 8, 8), 0.1)


class Half(nn.Module):
    """Tells the dtype that it is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), 0.5, dtype=dtype))
        self.seen: set[torch.dtype] = set()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen |= {x.dtype}
        return self.gain * x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_given_it(dtype: torch.dtype) -> None:
    net = Half(dtype)
    prior = reddiff.prior(net, prediction="denoiser", shape=SHAPE)
    x = zoo.randn(1, 3, 4, 4)
    for like in (x, x.float()):
        assert prior(like, 0.1).dtype == like.dtype
    assert net.seen == {dtype}
    torch.testing.assert_close(prior(x, 0.1), 0.5 * x, rtol=2**-7, atol=0)
    assert prior.dtype is None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.parametrize("inside", [False, True])
def test_compiled_networks_and_modes_of_torch(inside: bool) -> None:
    problem = Problem.simulate(0.3 * zoo.randn(1, 3, 8, 8).float(), Identity(), Gaussian(0.1))
    torch.set_default_dtype(F64)
    try:
        with torch.inference_mode(inside):
            net = Half(torch.float32)
            compiled = torch.compile(net, backend="aot_eager")
            plain, fast = (
                reddiff.prior(n, prediction="eps", schedule="vp", shape=SHAPE, values=(0, 1))
                for n in (net, compiled)
            )
            wanted = solve(problem, plain, PiGDM.paper(3)).x
            x = solve(problem, fast, PiGDM.paper(3)).x
    finally:
        torch.set_default_dtype(torch.float32)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, wanted)


@pytest.mark.parametrize(
    ("known", "shape"),
    [
        ((3, None, None), (1, 9, 12)),
        ((1, None, None), (3, 9, 12)),
        ((3, 16, 16), (3, 16, 16)),
        ((3, 16, 16), (3, 9, 40)),
        ((3, 16, 16), (1, 40, 20)),
        ((1, 16, 16), (3, 9, 12)),
    ],
)
def test_a_prior_is_adapted_to_pictures(known: Any, shape: Any) -> None:
    """White pictures: every form of the prior has the same estimates."""
    sizes = set()

    def net(x: Tensor, sigma: Tensor) -> Tensor:
        sizes.add(tuple(x.shape[1:]))
        return x * COV / (COV + sigma.view(-1, 1, 1, 1) ** 2)

    # (g, g, g) under a color prior is as likely as g of a third of the variance, at one level
    prior = reddiff.prior(net, prediction="denoiser", shape=known)
    x, s = zoo.randn(2, *shape), torch.tensor([0.3, 2.0], dtype=F64)
    new = adapted(prior, shape)
    assert new.accepts(shape)
    var = COV / 3 if (known[0], shape[0]) == (3, 1) else COV
    wanted = x * var / (var + s.view(-1, 1, 1, 1) ** 2)
    torch.testing.assert_close(new(x, s), wanted, rtol=1e-6, atol=1e-6)
    assert new.evaluations == (shape[0] if known[0] == 1 else 1)
    assert known[1] is None or sizes == {known}
    assert (new is prior) == (known == shape)
    if new is not prior:
        problem = Problem.simulate(x, Identity(), Gaussian(0.1))
        with pytest.raises(InvalidArgument, match=r"\(reddiff.priors.adapted makes one\)"):
            solve(problem, prior)


def test_sources_that_are_none() -> None:
    for source in ("foto", 3, None, np.zeros(3)):
        with pytest.raises(InvalidArgument, match="prior: expected a Prior, one of photo, ffdnet"):
            reddiff.prior(source)

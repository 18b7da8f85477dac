"""`reddiff.probe`: every mistake in the wiring of three networks is named, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from tests.tiny import save_tiny
from torch import Tensor, nn

import commands
import reddiff
from reddiff import InvalidArgument
from reddiff.interop.vocabulary import path_of
from reddiff.priors import EDMPrior, GaussianMixture, GaussianRandomField, Prior, UNet
from reddiff.priors.paths import Path
from reddiff.priors.predictions import edm_coefficients
from reddiff.probing import Probe, effort, probe, remembered
from reddiff.probing.measuring import Trial
from reddiff.probing.variants import Variant
from reddiff.random import drawn

SIDE = 16
SHAPE = (3, SIDE, SIDE)
ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
slow = pytest.mark.slow


class Fields(Prior):
    """Three channels, each a Gaussian field of its own: exact."""

    def __init__(self) -> None:
        super().__init__(SHAPE)
        numbers = ((-2.6, 0.6, 0.3), (-2.0, 0.45, -0.1), (-1.5, 0.25, -0.4))
        fields = [GaussianRandomField(*n) for n in numbers]
        spectra = torch.stack([f.spectrum(SIDE, SIDE) for f in fields])
        self.register_buffer("spectra", spectra.float())
        self.register_buffer("means", torch.tensor([n[2] for n in numbers]).view(3, 1, 1))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        wiener = self.spectra / (self.spectra + sigma**2)
        return self.means + torch.fft.irfft2(wiener * torch.fft.rfft2(x - self.means))

    def sample(self, count: int, seed: int = 0) -> Tensor:
        white = drawn(torch.empty(count, *SHAPE), seed)
        return self.means + torch.fft.irfft2(self.spectra.sqrt() * torch.fft.rfft2(white))


class Templates(GaussianMixture):
    """Fifty pictures with a little white noise: not Gaussian at all, and exact."""

    def __init__(self) -> None:
        Prior.__init__(self, SHAPE)
        self.diagonal = True
        self.register_buffer("weights", torch.full((50,), 1 / 50))
        self.register_buffer("c", torch.full((50, SHAPE[0] * SIDE**2), 0.03))
        self.register_buffer("means", Fields().sample(50, 1).flatten(1))


def trained() -> Prior:
    """A small U-Net that has seen the fields for some seconds: not exact."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet(3, channels=(16, 24), blocks=(1, 1), embedding=16)
        optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
        fields = Fields()
        for step in range(300):
            optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 300)
            x, s = fields.sample(16, step + 10), (torch.randn(16) * 1.8 - 0.5).exp()
            s = s.view(-1, 1, 1, 1)
            noisy = x + s * torch.randn_like(x)
            c_skip, c_out, c_in, c_noise = edm_coefficients(s)
            out = net(c_in * noisy, c_noise.flatten())
            loss = (out - (x - c_skip * noisy) / c_out).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return EDMPrior(net, SHAPE).requires_grad_(False).eval()


@cache
def denoiser(name: str) -> tuple[Prior, Tensor]:
    """A denoiser, and images that it knows."""
    if name == "templates":
        x = Templates().means[:4].view(-1, *SHAPE)
        return Templates(), x + 0.03**0.5 * drawn(x, 5)
    return Fields() if name == "fields" else trained(), Fields().sample(4)


class Net(nn.Module):
    """A denoiser in the form of a network.

    Arguments:
        prior: The denoiser.
        prediction: What it predicts.
        schedule: Its schedule.
        low: Its black pixels; white ones are 1.
    """

    def __init__(self, prior: Prior, prediction: str, schedule: Any = None, low: int = -1) -> None:
        super().__init__()
        self.prior, self.prediction, self.low = prior, prediction, low
        self.path: Path = path_of(schedule, prediction)
        bottom = max(self.path.sigma_min, 1e-3)
        top = min(self.path.sigma_max, 1e3)
        s = torch.logspace(0, 1, 4000, base=top / bottom, dtype=torch.float64) * bottom
        t = self.path.time(s).double()
        order = t.argsort()
        self.register_buffer("t", t[order])
        self.register_buffer("log_s", s.log()[order])

    def level(self, t: Tensor) -> Tensor:
        i = torch.searchsorted(self.t, t.double()).clamp(1, len(self.t) - 1)
        share = (t.double() - self.t[i - 1]) / (self.t[i] - self.t[i - 1])
        return self.log_s[i - 1].lerp(self.log_s[i], share.clamp(0, 1)).exp().float()

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        s = self.level(t).view(-1, 1, 1, 1)
        alpha = self.path.alpha(s).float()
        x = x_t / alpha
        low = self.low == 0
        x_0 = (self.prior(2 * x - 1, 2 * s) + 1) / 2 if low else self.prior(x, s)
        if self.prediction == "flow":
            p, q = self.path.from_velocity(s)
            return (x_0 - p * x) / q
        if self.prediction == "edm":
            c_skip, c_out, _, _ = edm_coefficients(s)
            return (x_0 - c_skip * x) / c_out
        eps = (x - x_0) / s
        root = (1 + s**2).rsqrt()
        return {
            "eps": eps,
            "v": root * (eps - s * x_0),
            "x0": x_0,
            "denoiser": x_0,
            "score": -eps / (alpha * s),
        }[self.prediction]


class Changed(nn.Module):
    """A network with something done to it."""

    def __init__(self, net: nn.Module, how: Callable[..., Tensor]) -> None:
        super().__init__()
        self.net, self.how = net, how
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.how(self, x, t)


def variance(out: Tensor, t: Tensor) -> Tensor:
    """As the second half of a learned variance: some numbers between -1 and 1."""
    return (3 * out.cos() * drawn(out, 3)).tanh() * 0.3 + 0.1


# What the network does, and how.
CHANGES: dict[str, Callable[..., Tensor]] = {
    "bgr": lambda m, x, t: m.net(x.flip(1), t).flip(1),
    "dropout": lambda m, x, t: m.dropout(m.net(x, t)),
    "no grad": lambda m, x, t: m.net(x.detach(), t),
    "deaf": lambda m, x, t: m.net(x, torch.full_like(t, float(m.net.t[2000]))),
    "half": lambda m, x, t: m.net((x.half() * 2.0**14).float() * 2.0**-14, t).half(),
    "six": lambda m, x, t: (lambda o: torch.cat([o, variance(o, t)], 1))(m.net(x, t)),
    "last": lambda m, x, t: (lambda o: torch.cat([variance(o, t), o], 1))(m.net(x, t)),
    "variance": lambda m, x, t: variance(m.net(x, t), t),
}
LINEAR = {"prediction": "eps", "schedule": "linear"}
SHIFTED = torch.cumprod(1 - torch.linspace(4e-4, 0.06, 1000, dtype=torch.float64), 0)

V_COSINE = {"prediction": "v", "schedule": "cosine"}
MATCHING = {"name": "flow", "data_at": 1}
FLOW = {"prediction": "flow"}
TIMES = {"name": "flow", "times": 1000}
DENOISER = {"prediction": "denoiser"}
SPLIT = LINEAR | {"shape": (6, SIDE, SIDE)}
MISSPLIT = {"learned-sigma", "fails"}

# The network: prediction, schedule, lowest pixel, change; how it is declared; what is named.
MISTAKES: dict[str, tuple[tuple[Any, ...], dict[str, Any], set[str]]] = {
    "[0, 1] taken for [-1, 1]": (("eps", "linear", 0), LINEAR, {"values"}),
    "[-1, 1] taken for [0, 1]": (("v", "cosine"), V_COSINE | {"values": (0, 1)}, {"values"}),
    "v taken for eps": (("v", "linear"), LINEAR, {"prediction"}),
    "x0 taken for eps": (("x0", "linear"), LINEAR, {"prediction"}),
    "eps taken for v": (("eps", "linear"), LINEAR | {"prediction": "v"}, {"prediction"}),
    "eps taken for x0": (("eps", "linear"), LINEAR | {"prediction": "x0"}, {"prediction"}),
    "cosine taken for linear": (("eps", "cosine"), LINEAR, {"schedule"}),
    "linear taken for cosine": (("eps", "linear"), LINEAR | {"schedule": "cosine"}, {"schedule"}),
    "a shifted schedule": (("eps", "linear"), LINEAR | {"schedule": SHIFTED}, {"schedule"}),
    "data at the other end": (("flow", MATCHING), FLOW, {"schedule"}),
    "time up to 1000": (("flow", TIMES), FLOW, {"schedule"}),
    "preconditioning twice": (("denoiser",), {"prediction": "edm"}, {"preconditioning"}),
    "preconditioning missing": (("edm",), {"prediction": "denoiser"}, {"preconditioning"}),
    "BGR": (("eps", "linear", -1, "bgr"), LINEAR, {"channels"}),
    "learned sigma first": (("eps", "linear", -1, "last"), LINEAR, {"learned-sigma"}),
    "learned sigma alone": (("eps", "linear", -1, "variance"), LINEAR, {"learned-sigma"}),
    "learned sigma not split": (("eps", "linear", -1, "six"), SPLIT, MISSPLIT),
    "the level ignored": (("eps", "linear", -1, "deaf"), LINEAR, {"level"}),
    "no gradient": (("eps", "linear", -1, "no grad"), LINEAR, {"gradient"}),
    "training mode": (("eps", "linear", -1, "dropout"), LINEAR, {"train-mode"}),
    "half precision": (("denoiser", None, -1, "half"), DENOISER, {"half-precision"}),
    "levels that end early": (("eps", "linear"), LINEAR | {"levels": (0.01, 1.0)}, {"range"}),
    "a table that ends early": (("eps", "linear"), LINEAR | {"schedule": ABAR[:300]}, {"range"}),
}  # fmt: skip
RIGHT: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "eps": (("eps", "linear"), LINEAR),
    "v": (("v", "linear"), LINEAR | {"prediction": "v"}),
    "x0": (("x0", "linear"), LINEAR | {"prediction": "x0"}),
    "score": (("score", "vp"), {"prediction": "score", "schedule": "vp"}),
    "cosine": (("v", "cosine"), V_COSINE),
    "scaled-linear": (("eps", "scaled-linear"), LINEAR | {"schedule": "scaled-linear"}),
    "flow": (("flow",), FLOW),
    "flow matching": (("flow", MATCHING), FLOW | {"schedule": MATCHING}),
    "edm": (("edm",), {"prediction": "edm"}),
    "denoiser": (("denoiser",), DENOISER),
    "[0, 1]": (("eps", "linear", 0), LINEAR | {"values": (0, 1)}),
    "learned sigma": (("eps", "linear", -1, "six"), LINEAR),
}  # fmt: skip
NETWORKS = ["fields", *(pytest.param(n, marks=slow) for n in ("templates", "trained"))]


def probed(name: str, known: tuple[Any, ...], declared: dict[str, Any]) -> Probe:
    prior, images = denoiser(name)
    parts = dict(zip(("prediction", "schedule", "low", "change"), known, strict=False))
    change = parts.pop("change", None)
    net: nn.Module = Net(prior, **parts)
    if change is not None:
        net = Changed(net, CHANGES[change])
        net.train(change == "dropout")
    wired = reddiff.prior(net, **({"shape": SHAPE} | declared))
    if wired.shape[0] == 6:
        images = torch.cat([images, images], 1)
    return probe(wired, images)


@pytest.mark.usefixtures("untyped")  # the other tests of this file are typed
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_mistake_is_named(name: str, mistake: str) -> None:
    known, declared, named = MISTAKES[mistake]
    result = probed(name, known, declared)
    assert result.names() == named, str(result)
    assert not result


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_said_of_right_wirings(name: str, right: str) -> None:
    result = probed(name, *RIGHT[right])
    assert result, str(result)
    assert str(result).startswith("Nothing is wrong.")


class Counted(nn.Module):
    """A network that counts its evaluations, and may take pictures of one side alone."""

    def __init__(self, net: Callable[..., Tensor], side: int | None = None) -> None:
        super().__init__()
        self.net, self.side = net, side
        self.sides: list[int] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if self.side not in (None, x.shape[-1]):
            raise RuntimeError("another side")
        self.sides += [x.shape[-1]] * len(x)
        return self.net(x, t)


@pytest.mark.parametrize(("side", "seconds"), [(None, 0.1), (64, 0.15)])
def test_of_a_slow_network_there_are_fewer_or_smaller_evaluations(
    side: int | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation takes `seconds` for 64 x 64 pixels, and in proportion for others."""

    def taken(given: Variant, trial: Trial) -> float:
        given.prior(trial.noisy(0)[:1], 1.0)
        return seconds * trial.images[0, 0].numel() / 64**2

    monkeypatch.setattr(effort, "_seconds", taken)
    field = GaussianRandomField(-2.0, 0.5, 0.0)
    white = drawn(torch.empty(4, 1, 64, 64))
    images = torch.fft.irfft2(field.spectrum(64, 64).float().sqrt() * torch.fft.rfft2(white))
    net = Counted(Net(field, "v", "linear"), side)
    result = probe(reddiff.prior(net, **LINEAR, shape=(1, 64, 64)), images, seconds=15)
    assert result.names() == {"prediction"}, str(result)
    assert set(net.sides[1:]) == {side or 32}
    assert seconds * sum((n / 64) ** 2 for n in net.sides) < 15
    assert 'prediction="v", schedule="linear", shape=(1, 64, 64)' in result.wiring


def test_outputs_are_kept_by_rows_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(lambda x, t: 2 * x)
    net, x = remembered.Remembered(counted), torch.arange(6.0).view(3, 1, 1, 2)
    t = torch.zeros(3)
    with torch.no_grad():
        net(x[:2], t[:2])
        assert torch.equal(net(x, t), 2 * x)
        assert len(counted.sides) == 3
        monkeypatch.setattr(remembered, "MOST", 16)
        again = torch.cat([x[:1], x + 10])
        assert torch.equal(net(again, torch.zeros(4)), 2 * again)
        assert len(counted.sides) == 6
        with net.anew():
            net(x[:1], t[:1])
        assert len(counted.sides) == 7
    net(x, t)
    assert len(counted.sides) == 10


def test_a_search_without_time_says_so() -> None:
    prior, images = denoiser("fields")
    result = probe(
        reddiff.prior(Net(prior, "eps", "linear"), **LINEAR, shape=SHAPE), images, seconds=1e-3
    )
    assert [f.name for f in result.findings if not f.wrong] == ["time"]
    with pytest.raises(InvalidArgument, match="seconds: expected a positive number"):
        probe(prior, images, seconds=0)


def test_two_mistakes_at_once_are_both_named() -> None:
    result = probed("fields", ("v", "linear", -1, "bgr"), LINEAR)
    assert result.names() == {"prediction", "channels"}
    lines = str(result).splitlines()
    assert lines[0] == "2 mistakes found."
    assert result.wiring.splitlines()[-1] in lines[-1]
    code = 'reddiff.prior(flipped, prediction="v", schedule="linear", shape=(3, 16, 16))'
    assert result.wiring.splitlines()[-1] == code


def test_the_printed_wiring_is_right() -> None:
    prior, images = denoiser("fields")
    net = Changed(Net(prior, "eps", "cosine"), CHANGES["bgr"])
    result = probe(reddiff.prior(net, **LINEAR, shape=SHAPE), images)
    assert result.names() == {"schedule", "channels"}
    found: dict[str, Any] = {"net": net, "reddiff": reddiff}
    *first, last = result.wiring.splitlines()
    exec("\n".join([*first, f"found = {last}"]), found)
    assert probe(found["found"], images)


def test_a_blind_denoiser_is_none_of_the_mistakes() -> None:
    """It finds the level itself."""
    prior, images = denoiser("fields")
    levels = torch.logspace(-2.5, 1.5, 200)

    def blind(x: Tensor, sigma: Tensor) -> Tensor:
        rough = x - torch.nn.functional.avg_pool2d(x, 3, 1, 1)
        size = rough.flatten(1).square().mean(1).sqrt()
        s = levels[(size[:, None] - TABLE).abs().argmin(1)]
        return prior(x, s)

    table = [images + s * drawn(images) for s in levels.tolist()]
    roughs = [x - torch.nn.functional.avg_pool2d(x, 3, 1, 1) for x in table]
    TABLE = torch.stack([r.square().mean().sqrt() for r in roughs])
    result = probe(reddiff.prior(blind, prediction="denoiser", shape=SHAPE), images)
    assert result, str(result)
    assert [f.name for f in result.findings] == ["level"]


def test_what_is_no_network_is_probed_as_a_denoiser() -> None:
    prior, images = denoiser("fields")
    assert probe(prior, images)


def test_the_modes_of_a_network_stay_as_they_are() -> None:
    prior, images = denoiser("fields")
    net = Changed(Net(prior, "eps", "linear"), CHANGES["dropout"]).train()
    net.net.eval()
    before = [m.training for m in net.modules()]
    state = torch.get_rng_state()
    probe(reddiff.prior(net, **LINEAR, shape=SHAPE), images)
    assert [m.training for m in net.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (torch.zeros(2, 3, 16, 16, dtype=torch.int64), "floating-point"),
        (torch.full((2, 3, 16, 16), torch.nan), "finite"),
        (torch.zeros(0, 3, 16, 16), "one or more"),
        (torch.zeros(2, 2, 16, 16), "2 channels"),
        (torch.zeros(2, 5), "shape"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: Tensor, named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        probe(denoiser("fields")[0], images)


def test_photos_cannot_stand_in_for_five_channels() -> None:
    prior = reddiff.prior(lambda x, s: x, prediction="denoiser", shape=(5, 8, 8))
    with pytest.raises(InvalidArgument, match="photos in RGB"):
        probe(prior)


def test_the_command_says_what_is_wrong(tmp_path: Any) -> None:
    path = save_tiny(tmp_path / "tiny.safetensors", factor=30.0)
    text = commands.run("probe", path, code=1)
    assert "mistake" in text
    text = commands.run("probe", path, tmp_path / "none.png", code=4)
    assert "none.png" in text


@slow
def test_the_photo_networks_are_wired_right_and_a_swap_of_their_channels_is_seen() -> None:
    ffdnet = reddiff.prior("ffdnet")
    result = probe(ffdnet)
    assert result, str(result)
    assert [f.name for f in result.findings] == ["range"]

    def swapped(x: Tensor, sigma: Tensor) -> Tensor:
        return ffdnet(x.flip(1), sigma).flip(1)

    declared = {"prediction": "denoiser", "levels": (ffdnet.sigma_min, ffdnet.sigma_max)}
    result = probe(reddiff.prior(swapped, **declared, shape=(3, None, None)))
    assert "channels" in result.names(), str(result)

"""Every prior. To add one, write one entry in PRIORS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reddiff.operators.base import Shape
from reddiff.priors import (
    ChannelwisePrior,
    ClassifierGuidance,
    Conditions,
    EDMPrior,
    EpsPrior,
    FFDNetPrior,
    FlowPrior,
    GaussianMixture,
    GaussianPrior,
    GaussianRandomField,
    GrayPrior,
    LaplaceIncrements,
    NetworkPrior,
    NoisyClassifier,
    Prior,
    RandomWalk,
    TiledPrior,
    UNet,
    Units,
    VPrior,
    X0Prior,
)
from reddiff.priors.curve import Curve
from reddiff.priors.paths import ContinuousVP, Unscaled
from reddiff.priors.predictions import X0, Score, Velocity
from reddiff.schedules import vp
from zoo.tensors import CPU, F64, randn, spd


@dataclass(frozen=True)
class PriorCase:
    """A prior, the shape of one x, and levels in its range."""

    name: str
    x_shape: Shape
    build: Callable[[], Prior]
    levels: tuple[float, ...] = (0.03, 0.4, 1.7, 20.0)
    gaussian: bool = False  # it is the prior of `gaussian()`, in the form of a network

    def make(self, device: torch.device = CPU, dtype: torch.dtype = F64) -> Prior:
        """The prior."""
        return self.build().to(device=device, dtype=dtype)


def gaussian(n: int = 6) -> GaussianPrior:
    """The Gaussian prior of the problem that every solver solves."""
    return GaussianPrior(randn(n, seed=20), spd(n, seed=21))


def mixture() -> GaussianMixture:
    """Three overlapping components."""
    covs = torch.stack([spd(4, seed=s) for s in (31, 32, 33)])
    return GaussianMixture(torch.tensor([1.0, 2.0, 0.5], dtype=F64), randn(3, 4, seed=30), covs)


def component_logits(x: Tensor, s: Tensor) -> Tensor:
    """Those of the component of `mixture()` that x_0 + s n is from, by Bayes' rule."""
    columns = []
    for weight, mean, seed in zip((1.0, 2.0, 0.5), randn(3, 4, seed=30), (31, 32, 33), strict=True):
        cov = spd(4, seed=seed) + s.view(-1, 1, 1) ** 2 * torch.eye(4, dtype=F64)
        density = torch.distributions.MultivariateNormal(mean, cov)
        columns.append(density.log_prob(x) + math.log(weight))
    return torch.stack(columns, 1)


def component(label: int | Tensor, scale: float | Tensor = 1.0) -> ClassifierGuidance:
    """The mixture under the label of one of its components."""
    classifier = NoisyClassifier(component_logits, Unscaled(0.01, 100.0), 3, (4,))
    return ClassifierGuidance(mixture(), classifier, label, scale)


def diagonal_mixture() -> GaussianMixture:
    """Two components without correlations."""
    covs = torch.tensor([[0.1, 0.3, 0.2, 0.4], [0.5, 0.1, 0.1, 0.2]], dtype=F64).diag_embed()
    return GaussianMixture(torch.tensor([1.0, 2.0], dtype=F64), randn(2, 1, 2, 2, seed=34), covs)


class Network(nn.Module):
    """An exact denoiser in the form of a network, as if training had been perfect.

    Arguments:
        prior: Its denoiser is what the network has learned.
        levels: Network time `(b,)` to (alpha, sigma).
        target: (x_0, eps, alpha, sigma) to the output.
    """

    def __init__(
        self,
        prior: Prior,
        levels: Callable[[Tensor], tuple[Tensor, Tensor]],
        target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.prior, self.levels, self.target = prior, levels, target

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The output at x_t = alpha x_0 + sigma eps."""
        alpha, sigma = (v.reshape(-1, *[1] * (x_t.ndim - 1)).to(x_t) for v in self.levels(t))
        x_0 = self.prior(x_t, sigma, alpha)
        return self.target(x_0, (x_t - alpha * x_0) / sigma, alpha, sigma)


ABAR = vp(1000).alpha[:-1].flip(0) ** 2


def chain(t: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of the DDPM chain at a step t, between the steps even in log SNR."""
    abar = ABAR.to(t.device)
    log_s = ((1 - abar) / abar).log() / 2
    low = t.long().clamp(max=len(abar) - 2)
    s = torch.lerp(log_s[low], log_s[low + 1], (t - low).to(log_s)).exp()
    return (1 + s**2).rsqrt(), s * (1 + s**2).rsqrt()


def straight(t: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of the rectified flow."""
    return 1 - t, t


def continuous(t: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of the variance-preserving SDE with betas of 0.1 and 20."""
    b = 0.1 * t + 19.9 * t**2 / 2
    return (-b / 2).exp(), (-torch.expm1(-b)).sqrt()


def _cos(t: Tensor) -> Tensor:
    return (t * math.pi / 2).cos()


def _sin(t: Tensor) -> Tensor:
    return (t * math.pi / 2).sin()


def _arc_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The velocity on the quarter circle."""
    return (alpha * eps - sigma * x_0) * math.pi / 2


def _score_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return -eps / sigma


class Shifted(nn.Module):
    """An exact denoiser of z = k x + c, from one of x."""

    def __init__(self, prior: Prior, k: float, c: float) -> None:
        super().__init__()
        self.prior, self.k, self.c = prior, k, c

    def forward(self, z: Tensor, sigma: Tensor) -> Tensor:
        """D_z(z, s) = k D((z - c) / k, s / k) + c."""
        return self.k * self.prior((z - self.c) / self.k, sigma / self.k) + self.c


class ByClass(nn.Module):
    """A white prior around one of two means."""

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """The Wiener filter, and the mean."""
        mean, s = (v.to(x).view(-1, 1, 1, 1) for v in (label - 0.5, sigma))
        return mean + (x - mean) * 0.1 / (0.1 + s**2)


def _conditional() -> Prior:
    net = NetworkPrior(
        ByClass(), (1, None, None), X0(), Unscaled(0.002, 80.0), conditions=Conditions(2, null=1)
    )
    return net.given(label=0, guidance=1.5)


def _eps_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return eps


def _v_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return alpha * eps - sigma * x_0


def _x0_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return x_0


def _flow_network(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return eps - x_0


class EDMNetwork(nn.Module):
    """F of the EDM preconditioning, solved for from an exact denoiser."""

    def __init__(self, prior: Prior, sigma_data: float) -> None:
        super().__init__()
        self.prior, self.sigma_data = prior, sigma_data

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """(D(x / c_in) - c_skip x / c_in) / c_out."""
        s = (4 * c_noise).exp().reshape(-1, *[1] * (x.ndim - 1))
        total = (s**2 + self.sigma_data**2).sqrt()
        x = x * total
        skip = self.sigma_data**2 / total**2 * x
        return (self.prior(x, s) - skip) * total / (s * self.sigma_data)


def _unet() -> EDMPrior:
    net = UNet(3, channels=(8, 12), blocks=(1, 1), embedding=16).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.2 * randn(*p.shape, seed=i))
    return EDMPrior(net, (3, None, None)).requires_grad_(False)


def _semidefinite() -> GaussianPrior:
    root = randn(6, 4, seed=22)
    return GaussianPrior(randn(1, 2, 3, seed=23), root @ root.mT)


def _fixed() -> Prior:
    """For 8 x 8 pixels alone."""
    return NetworkPrior(
        lambda x, s: GaussianRandomField()(x, s), (1, 8, 8), X0(), Unscaled(0.002, 80.0)
    )


VP_LEVELS = tuple(float(vp(1000).levels[k]) for k in (999, 640, 333, 0))

PRIORS = [
    PriorCase("gaussian", (6,), gaussian, gaussian=True),
    PriorCase("gaussian-semidefinite", (1, 2, 3), _semidefinite),
    PriorCase("field-odd", (1, 7, 5), lambda: GaussianRandomField(-2.2, mean=0.2)),
    PriorCase("field-even", (3, 6, 8), lambda: GaussianRandomField(-1.0, channels=3)),
    PriorCase("mixture", (4,), mixture),
    PriorCase("mixture-diagonal", (1, 2, 2), diagonal_mixture),
    PriorCase(
        "walk", (1, 1, 5), lambda: RandomWalk(LaplaceIncrements(0.3), 5), (0.1, 0.4, 1.7, 20.0)
    ),
    PriorCase("classifier-guided", (4,), lambda: component(2)),
    PriorCase("ffdnet", (3, 7, 6), FFDNetPrior, (0.02, 0.2, 0.5)),
    PriorCase(
        "eps",
        (6,),
        lambda: EpsPrior(Network(gaussian(), chain, _eps_network), (6,), ABAR),
        gaussian=True,
    ),
    PriorCase(
        "eps-integer-time",
        (6,),
        lambda: EpsPrior(Network(gaussian(), chain, _eps_network), (6,), ABAR, integer_time=True),
        VP_LEVELS,
        gaussian=True,
    ),
    PriorCase(
        "v",
        (6,),
        lambda: VPrior(Network(gaussian(), chain, _v_network), (6,), ABAR),
        gaussian=True,
    ),
    PriorCase(
        "x0",
        (6,),
        lambda: X0Prior(Network(gaussian(), chain, _x0_network), (6,), ABAR),
        gaussian=True,
    ),
    PriorCase(
        "flow",
        (6,),
        lambda: FlowPrior(Network(gaussian(), straight, _flow_network), (6,)),
        gaussian=True,
    ),
    PriorCase("edm", (6,), lambda: EDMPrior(EDMNetwork(gaussian(), 0.5), (6,)), gaussian=True),
    PriorCase(
        "tiled",
        (2, 11, 15),
        lambda: TiledPrior(GaussianRandomField(channels=2), tile=8, overlap=3),
    ),
    PriorCase("gray", (1, 6, 8), lambda: GrayPrior(GaussianRandomField(channels=3))),
    PriorCase("edm-unet", (3, 8, 12), _unet),
    PriorCase(
        "score-vp",
        (6,),
        lambda: NetworkPrior(
            Network(gaussian(), continuous, _score_network), (6,), Score(), ContinuousVP()
        ),
        gaussian=True,
    ),
    PriorCase(
        "flow-arc",
        (6,),
        lambda: NetworkPrior(
            Network(gaussian(), lambda t: (_cos(t), _sin(t)), _arc_network),
            (6,),
            Velocity(),
            Curve(_cos, _sin, 1e-3, 0.9999),
        ),
        gaussian=True,
    ),
    PriorCase(
        "units",
        (6,),
        lambda: NetworkPrior(
            Shifted(gaussian(), 127.5, 127.5),
            (6,),
            X0(),
            Unscaled(0.01, 1e5),
            units=Units(127.5, 127.5),
        ),
        gaussian=True,
    ),
    PriorCase("conditional", (1, 3, 4), _conditional),
    PriorCase("channelwise", (3, 6, 8), lambda: ChannelwisePrior(GaussianRandomField())),
    PriorCase("tiled-fixed", (1, 5, 15), lambda: TiledPrior(_fixed())),
]


class Within(Prior):
    """Of x of one unit of variance, for levels of a range."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x / (1 + sigma^2)."""
        return x / (1 + sigma**2)


def within(low: float = 0.0, high: float = math.inf) -> Prior:
    """A prior of this range, for x of any shape."""
    return Within((None,), low, high)

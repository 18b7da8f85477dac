"""Every operator, prior and solver, registered once: the laws in `tests/laws` run on all of them.

To add one, write one entry in OPERATORS, PRIORS or SOLVERS. A case has a name and a `make`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adafactor, Adam, AdamW, NAdam, RMSprop

import own_cases
from reddiff import Gaussian, Keys, Problem
from reddiff.operators import (
    JPEG,
    Bayer,
    BayerPattern,
    BlockGaussian,
    BlockMean,
    Blur,
    Boundary,
    ChannelMix,
    CircularBlur,
    Clip,
    CodedDiffraction,
    Decimate,
    Diagonal,
    Gamma,
    Identity,
    JPEGCoefficients,
    Mask,
    Matrix,
    MultiCoilMRI,
    NonlinearBlur,
    Operator,
    PhaseRetrieval,
    Quantise,
    Radon,
    RandomFourier,
    Resize,
    Separable,
    SeparableBlur,
    SingleCoilMRI,
    Subsampling,
    SymmetricBlur,
    VaryingBlur,
    WalshHadamard,
    birdcage_maps,
    gaussian_psf,
    grayscale,
    lanczos,
    motion_psf,
    octanary_codes,
    side_by_side,
    stack,
    triangle,
    uniform_codes,
    uniform_psf,
)
from reddiff.operators.base import Shape
from reddiff.operators.separable import Factor, factor
from reddiff.optim import MakeOptimizer, cosine_lr, harmonic_lr
from reddiff.priors import (
    EDMPrior,
    EpsPrior,
    FFDNetPrior,
    FlowPrior,
    GaussianMixture,
    GaussianPrior,
    GaussianRandomField,
    GrayPrior,
    Prior,
    TiledPrior,
    UNet,
    VPrior,
    X0Prior,
)
from reddiff.schedules import Schedule, constant, flow, geometric, karras, vp
from reddiff.solvers import (
    DAPS,
    DDIM,
    DDNM,
    DDRM,
    DPS,
    MCG,
    MMPS,
    RED,
    RSD,
    SITCOM,
    TMPD,
    ULA,
    DDNMPlus,
    DiffPIR,
    Heun,
    NoiseAwareREDDiff,
    PiGDM,
    PnPADMM,
    PnPDM,
    PnPHQS,
    REDDiff,
    Solver,
    inits,
    orders,
)
from reddiff.solvers.steps.conditional import HMC, Langevin, PerturbAndSolve
from reddiff.solvers.weightings import WEIGHTINGS

F64 = torch.float64
CPU = torch.device("cpu")


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Fixed random numbers, float64 on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def coin(*shape: int, p: float, seed: int = 0) -> Tensor:
    """Zeros, and ones with probability p; at least one in each row."""
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    bits = (u < p).to(F64)
    bits.view(shape[0], -1)[:, 0] = 1
    return bits


def spd(n: int, seed: int = 0, floor: float = 0.1) -> Tensor:
    """A random covariance matrix."""
    root = 0.5 * randn(n, n, seed=seed)
    return root @ root.mT + floor * torch.eye(n, dtype=F64)


# ---------------------------------------------------------------------------------- operators


@dataclass(frozen=True)
class OperatorCase:
    """An operator, and the shape of one x that it takes."""

    name: str
    x_shape: Shape
    build: Callable[[int], Operator]
    smooth: bool = True  # its derivative is the limit of differences, and not straight-through

    def make(self, lanes: int, device: torch.device = CPU, dtype: torch.dtype = F64) -> Operator:
        """The operator for a number of lanes."""
        return self.build(lanes).to(device=device, dtype=dtype)


class Pair(Separable):
    """Two matrices; the first may be one per lane."""

    def __init__(self, down: Tensor, across: Tensor) -> None:
        super().__init__()
        self.register_buffer("down", down)
        self.register_buffer("across", across)
        self.batched = ("down",) if down.ndim == 3 else ()

    def x_shape(self, y_shape: Shape) -> Shape:
        """The sizes that the matrices take."""
        return y_shape[0], self.down.shape[-1], self.across.shape[-1]

    def factors(self, height: int, width: int, like: Tensor) -> tuple[Factor, Factor]:
        """Made anew at every use."""
        return factor(self.down.double()).to(like), factor(self.across.double()).to(like)


class SoftClip(Operator):
    """A nonlinear operator, for the laws that hold for any: x -> tanh(2 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """tanh(2 x)."""
        return torch.tanh(2 * x)

    def x_shape(self, y_shape: Shape) -> Shape:
        """The shape of y."""
        return y_shape


def _lopsided() -> Tensor:
    """A lopsided kernel 3 x 5 of both signs."""
    psf = torch.zeros(3, 5, dtype=F64)
    psf[0, 4], psf[1, 2], psf[2, 1] = 0.3, 0.8, -0.1
    return psf


def _psfs(lanes: int) -> Tensor:
    """A kernel per lane, of very different gains."""
    delta = torch.zeros(3, 3, dtype=F64)
    delta[1, 1] = 1
    gains = 30.0 ** -torch.arange(lanes, dtype=F64)
    return gains[:, None, None] * (delta + 0.1 * randn(lanes, 3, 3, seed=5))


def _psf(*shape: int) -> Tensor:
    """Kernels far from zeros of the transfer function, of both signs."""
    psf = 0.1 * randn(*shape, seed=5)
    psf[..., shape[-2] // 2, shape[-1] // 2] += 1
    return psf


def _lopsided_blur(edge: Boundary, lanes: int) -> Operator:
    return Blur(_psf(3, 5), edge)


def _even(lanes: int) -> Tensor:
    """A kernel per lane, symmetric under both flips."""
    psf = _psfs(lanes)
    return psf + psf.flip(-1) + psf.flip(-2) + psf.flip(-1, -2)


def _separable(edge: Boundary, lanes: int) -> Operator:
    return SeparableBlur(_psf(1, 3)[0], _psf(1, 5)[0], edge)


def _separable_per_lane(lanes: int) -> Operator:
    rows, columns = _psfs(lanes)[:, 1], _psf(lanes, 1, 5)[:, 0]
    return SeparableBlur(rows, columns, Boundary.ZERO, per_lane=True)


def _box_blur() -> Operator:
    """A blur with singular values of zero."""
    line = torch.ones(3, dtype=F64) / 3
    return SeparableBlur(line, line, Boundary.CIRCULAR)


def _psf_grid(*grid: int) -> Tensor:
    return _psf(*grid, 3, 3)


def _matrices(lanes: int, m: int, n: int) -> Tensor:
    """A matrix per lane, of very different scales."""
    return (10.0 ** -torch.arange(lanes, dtype=F64))[:, None, None] * randn(lanes, m, n, seed=6)


def _rank_two() -> Tensor:
    return randn(5, 2, seed=7) @ randn(2, 6, seed=8)


def _blur(radius: int = 2) -> CircularBlur:
    return CircularBlur(gaussian_psf(0.6, radius))


OPERATORS = [
    OperatorCase("mask-vector", (6,), lambda b: Mask(coin(1, 6, p=0.6)[0])),
    OperatorCase("mask-shared", (3, 7, 5), lambda b: Mask(coin(1, 7, 5, p=0.3)[0])),
    OperatorCase("mask-channels", (3, 7, 5), lambda b: Mask(coin(3, 7, 5, p=0.3))),
    OperatorCase("mask-per-lane", (2, 4, 9), lambda b: Mask(coin(b, 4, 9, p=0.4), per_lane=True)),
    OperatorCase(
        "mask-per-lane-full", (2, 5, 3), lambda b: Mask(coin(b, 2, 5, 3, p=0.4), per_lane=True)
    ),
    OperatorCase("mask-all", (1, 3, 4), lambda b: Mask(torch.ones(1, dtype=torch.bool))),
    OperatorCase("identity", (2, 3, 5), lambda b: Identity()),
    OperatorCase("blockmean-1", (2, 3, 5), lambda b: BlockMean(1)),
    OperatorCase("blockmean-2", (3, 6, 10), lambda b: BlockMean(2)),
    OperatorCase("blockmean-3", (1, 9, 6), lambda b: BlockMean(3)),
    OperatorCase("resize-1", (1, 3, 5), lambda b: Resize(1)),
    OperatorCase("resize-bicubic", (2, 6, 10), lambda b: Resize(2)),
    OperatorCase("resize-lanczos", (1, 9, 6), lambda b: Resize(3, lanczos)),
    OperatorCase("resize-triangle", (1, 8, 6), lambda b: Resize(2, triangle)),
    OperatorCase("resize-one-pixel", (1, 4, 4), lambda b: Resize(4)),
    OperatorCase("resize-shifted", (1, 6, 8), lambda b: Resize(2, shift=-0.5)),
    OperatorCase("decimate", (2, 6, 10), lambda b: Decimate(2)),
    OperatorCase("decimate-middle", (1, 9, 6), lambda b: Decimate(3, 1)),
    OperatorCase("separable-tall", (2, 5, 4), lambda b: Pair(randn(7, 5), randn(3, 4, seed=1))),
    OperatorCase("separable-rank-2", (1, 6, 5), lambda b: Pair(_rank_two(), 0.1 * _rank_two().mT)),
    OperatorCase("separable-per-lane", (2, 6, 4), lambda b: Pair(_matrices(b, 4, 6), randn(5, 4))),
    OperatorCase("bayer-rggb", (3, 5, 6), lambda b: Bayer()),
    OperatorCase("bayer-gbrg", (3, 4, 3), lambda b: Bayer(BayerPattern.GBRG)),
    OperatorCase("hadamard", (3, 6, 4), lambda b: WalshHadamard((3, 6, 4), 0.4)),
    OperatorCase("hadamard-odd", (1, 5, 7), lambda b: WalshHadamard((1, 5, 7), 0.6)),
    OperatorCase("hadamard-all", (2, 4, 4), lambda b: WalshHadamard((2, 4, 4), 1.0)),
    OperatorCase(
        "hadamard-per-lane", (1, 6, 4), lambda b: WalshHadamard((1, 6, 4), 0.3, tuple(range(b)))
    ),
    OperatorCase("fourier-even", (2, 6, 8), lambda b: RandomFourier((6, 8), 0.4)),
    OperatorCase("fourier-odd", (1, 7, 5), lambda b: RandomFourier((7, 5), 1.0)),
    OperatorCase(
        "fourier-per-lane", (2, 6, 5), lambda b: RandomFourier((6, 5), 0.3, tuple(range(b)))
    ),
    OperatorCase("blockgaussian", (2, 6, 9), lambda b: BlockGaussian(3, 0.4)),
    OperatorCase(
        "blockgaussian-per-lane", (1, 6, 4), lambda b: BlockGaussian(2, 0.5, tuple(range(b)))
    ),
    OperatorCase("blur-odd", (2, 7, 9), lambda b: _blur()),
    OperatorCase("blur-even", (1, 8, 6), lambda b: _blur()),
    OperatorCase("blur-lopsided", (1, 5, 8), lambda b: CircularBlur(_lopsided())),
    OperatorCase("blur-motion", (3, 9, 8), lambda b: CircularBlur(motion_psf(3.0, 30.0))),
    OperatorCase("blur-whole", (1, 5, 7), lambda b: CircularBlur(randn(5, 7, seed=9))),
    OperatorCase("blur-zeros", (1, 9, 6), lambda b: CircularBlur(torch.ones(3, 3, dtype=F64) / 9)),
    OperatorCase("blur-per-lane", (2, 6, 5), lambda b: CircularBlur(_psfs(b), per_lane=True)),
    *(
        OperatorCase(f"blur-{edge.name.lower()}", (1, 6, 5), partial(_lopsided_blur, edge))
        for edge in Boundary
    ),
    OperatorCase("blur-mirror-delta", (2, 1, 3), lambda b: Blur(_psf(1, 3), Boundary.MIRROR)),
    OperatorCase(
        "blur-replicate-per-lane",
        (2, 5, 8),
        lambda b: Blur(_psfs(b), Boundary.REPLICATE, per_lane=True),
    ),
    OperatorCase("blur-symmetric", (2, 7, 6), lambda b: SymmetricBlur(gaussian_psf(0.7, 2))),
    OperatorCase("blur-symmetric-box", (1, 9, 8), lambda b: SymmetricBlur(uniform_psf(3))),
    OperatorCase(
        "blur-symmetric-per-lane", (1, 5, 6), lambda b: SymmetricBlur(_even(b), per_lane=True)
    ),
    *(
        OperatorCase(f"blur-separable-{edge.name.lower()}", (2, 6, 7), partial(_separable, edge))
        for edge in Boundary
    ),
    OperatorCase("blur-separable-box", (1, 6, 9), lambda b: _box_blur()),
    OperatorCase("blur-separable-per-lane", (2, 5, 7), lambda b: _separable_per_lane(b)),
    OperatorCase("blur-varying", (2, 6, 7), lambda b: VaryingBlur(_psf_grid(2, 3))),
    OperatorCase(
        "blur-varying-per-lane",
        (1, 5, 6),
        lambda b: VaryingBlur(_psf_grid(b, 2, 1), Boundary.ZERO, per_lane=True),
    ),
    OperatorCase("channels", (3, 4, 5), lambda b: ChannelMix(randn(2, 3))),
    OperatorCase("grayscale", (3, 5, 2), lambda b: grayscale(F64)),
    OperatorCase("matrix-wide", (6,), lambda b: Matrix(randn(4, 6))),
    OperatorCase("matrix-tall", (6,), lambda b: Matrix(randn(9, 6))),
    OperatorCase("matrix-rank-2", (6,), lambda b: Matrix(_rank_two())),
    OperatorCase("matrix-shaped", (1, 3, 4), lambda b: Matrix(randn(5, 12), shape=(1, 3, 4))),
    OperatorCase("matrix-per-lane", (6,), lambda b: Matrix(_matrices(b, 4, 6), per_lane=True)),
    OperatorCase("sr-blur", (1, 6, 8), lambda b: BlockMean(2) @ _blur()),
    OperatorCase(
        "mask-sr", (2, 6, 8), lambda b: Mask(coin(b, 3, 4, p=0.5), per_lane=True) @ BlockMean(2)
    ),
    OperatorCase("sr-mask", (1, 6, 4), lambda b: BlockMean(2) @ Mask(coin(1, 6, 4, p=0.5)[0])),
    OperatorCase(
        "mask-blur-per-lane",
        (1, 6, 5),
        lambda b: Mask(coin(b, 6, 5, p=0.5), per_lane=True) @ CircularBlur(_psfs(b), per_lane=True),
    ),
    OperatorCase(
        "matrix-sr-blur",
        (1, 6, 4),
        lambda b: Matrix(randn(4, 6), shape=(1, 3, 2)) @ BlockMean(2) @ _blur(1),
    ),
    OperatorCase("diagonal", (2, 3, 4), lambda b: Diagonal(randn(2, 3, 4, seed=11))),
    OperatorCase(
        "diagonal-per-lane",
        (2, 3, 4),
        lambda b: Diagonal(randn(b, 2, 3, 4) * coin(b, 2, 3, 4, p=0.7), per_lane=True),
    ),
    OperatorCase(
        "stack",
        (2, 4, 6),
        lambda b: stack(
            [BlockMean(2), Mask(coin(b, 4, 6, p=0.5), per_lane=True)], [(2, 2, 3), (2, 4, 6)]
        ),
    ),
    OperatorCase(
        "stack-softclip", (1, 3, 4), lambda b: stack([SoftClip(), _blur(1)], 2 * [(1, 3, 4)])
    ),
    OperatorCase(
        "side-by-side",
        (1, 6, 5),
        lambda b: side_by_side(
            [Mask(coin(1, 6, 5, p=0.5, seed=i)[0]) @ _blur(1) for i in range(b)]
        ),
    ),
    OperatorCase(
        "side-by-side-softclip",
        (1, 6, 5),
        lambda b: side_by_side([SoftClip(), *[_blur(1)] * (b - 1)]),
    ),
    OperatorCase("mri-single", (2, 7, 6), lambda b: SingleCoilMRI(coin(1, 7, 6, p=0.5)[0])),
    OperatorCase(
        "mri-single-per-lane",
        (2, 6, 5),
        lambda b: SingleCoilMRI(coin(b, 6, 5, p=0.5), per_lane=True),
    ),
    OperatorCase(
        "mri-coils",
        (2, 5, 4),
        lambda b: MultiCoilMRI(coin(1, 5, 4, p=0.6)[0], birdcage_maps(3, (5, 4))),
    ),
    OperatorCase(
        "mri-coils-per-lane",
        (2, 4, 5),
        lambda b: MultiCoilMRI(coin(b, 4, 5, p=0.6), randn(b, 2, 2, 4, 5, seed=11), per_lane=True),
    ),
    OperatorCase(
        "mri-maps-per-lane",
        (2, 3, 4),
        lambda b: MultiCoilMRI(coin(1, 3, 4, p=0.7)[0], randn(b, 3, 2, 3, 4), per_lane=True),
    ),
    OperatorCase("radon-odd", (1, 5, 5), lambda b: Radon(5, [0.0, 45.0, 60.0, 90.0, 141.0])),
    OperatorCase("radon-even", (2, 4, 4), lambda b: Radon(4, torch.arange(6) * 30.0, spacing=0.3)),
    OperatorCase(
        "radon-geometry",
        (1, 4, 4),
        lambda b: Radon(
            4, [-60.0, 20.0, 200.0, 359.0], detectors=7, center=1.5, axis=2.8, circle=False
        ),
    ),
    OperatorCase(
        "radon-per-lane",
        (1, 5, 5),
        lambda b: Radon(5, 7.0 * torch.arange(b)[:, None] + 40.0 * torch.arange(4), per_lane=True),
    ),
    OperatorCase("phase", (2, 5, 6), lambda b: PhaseRetrieval()),
    OperatorCase("phase-1.5-complex", (2, 5, 4), lambda b: PhaseRetrieval(1.5, complex_x=True)),
    OperatorCase("coded", (2, 5, 6), lambda b: CodedDiffraction(uniform_codes(4, (5, 6)))),
    OperatorCase(
        "coded-per-lane-complex",
        (2, 4, 5),
        lambda b: CodedDiffraction(
            torch.stack([octanary_codes(6, (4, 5), seed=s) for s in range(b)]),
            per_lane=True,
            complex_x=True,
        ),
    ),
    OperatorCase("softclip", (1, 3, 4), lambda b: SoftClip()),
    OperatorCase("clip", (3, 5, 4), lambda b: Clip()),
    OperatorCase(
        "clip-per-lane", (1, 3, 5), lambda b: Clip(torch.linspace(2, 0.5, b), -0.5, per_lane=True)
    ),
    OperatorCase("gamma", (3, 4, 5), lambda b: Gamma(1 / 2.2)),
    OperatorCase(
        "gamma-per-lane",
        (1, 5, 3),
        lambda b: Gamma(torch.linspace(0.4, 2.4, b), -2.0, 1.5, toe=0.1, per_lane=True),
    ),
    OperatorCase("quantise", (1, 6, 5), lambda b: Quantise(8), smooth=False),
    OperatorCase(
        "quantise-per-lane",
        (2, 3, 4),
        lambda b: (
            Mask(coin(b, 3, 4, p=0.6), per_lane=True) @ Quantise(torch.arange(b) + 2, per_lane=True)
        ),
        smooth=False,
    ),
    OperatorCase("jpeg", (3, 9, 8), lambda b: JPEG(75), smooth=False),
    OperatorCase(
        "jpeg-per-lane",
        (3, 6, 13),
        lambda b: JPEG(20 * torch.arange(b) + 30, subsampling=Subsampling.S422, per_lane=True),
        smooth=False,
    ),
    OperatorCase("jpeg-coefficients-gray", (1, 16, 8), lambda b: JPEGCoefficients(JPEG(75), 1)),
    OperatorCase(
        "jpeg-coefficients-444",
        (3, 8, 16),
        lambda b: JPEGCoefficients(JPEG(50, subsampling=Subsampling.S444)),
    ),
    OperatorCase(
        "jpeg-coefficients-per-lane",
        (3, 8, 16),
        lambda b: JPEGCoefficients(
            JPEG(20 * torch.arange(b) + 30, subsampling=Subsampling.S422, per_lane=True)
        ),
    ),
    OperatorCase("nonlinear-blur", (3, 8, 7), lambda b: NonlinearBlur(3.0)),
    OperatorCase(
        "nonlinear-blur-per-lane",
        (1, 6, 5),
        lambda b: NonlinearBlur(2.0, seed=torch.arange(b), per_lane=True),
    ),
    OperatorCase(
        "mask-softclip-blur",
        (1, 4, 5),
        lambda b: Mask(coin(b, 4, 5, p=0.5), per_lane=True) @ (SoftClip() @ _blur(1)),
    ),
    *[OperatorCase(name, shape, build) for name, shape, build in own_cases.CASES],
]


# ------------------------------------------------------------------------------------- priors


@dataclass(frozen=True)
class PriorCase:
    """A prior, the shape of an x that it takes, and levels it is good for."""

    name: str
    x_shape: Shape
    build: Callable[[], Prior]
    levels: tuple[float, ...] = (0.03, 0.4, 1.7, 20.0)
    gaussian: bool = False  # it is the prior of `gaussian()`, behind some network

    def make(self, device: torch.device = CPU, dtype: torch.dtype = F64) -> Prior:
        """The prior."""
        return self.build().to(device=device, dtype=dtype)


def gaussian(n: int = 6) -> GaussianPrior:
    """The Gaussian that the solvers are tried on."""
    return GaussianPrior(randn(n, seed=20), spd(n, seed=21))


def mixture() -> GaussianMixture:
    """Three overlapping components."""
    covs = torch.stack([spd(4, seed=s) for s in (31, 32, 33)])
    return GaussianMixture(torch.tensor([1.0, 2.0, 0.5], dtype=F64), randn(3, 4, seed=30), covs)


def diagonal_mixture() -> GaussianMixture:
    """Two components without correlations."""
    covs = torch.tensor([[0.1, 0.3, 0.2, 0.4], [0.5, 0.1, 0.1, 0.2]], dtype=F64).diag_embed()
    return GaussianMixture(torch.tensor([1.0, 2.0], dtype=F64), randn(2, 1, 2, 2, seed=34), covs)


class Network(nn.Module):
    """An exact denoiser dressed as a network: what a perfect training run would give.

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


VP_LEVELS = tuple(float(vp(1000).levels[k]) for k in (999, 640, 333, 0))

PRIORS = [
    PriorCase("gaussian", (6,), gaussian, gaussian=True),
    PriorCase("gaussian-semidefinite", (1, 2, 3), _semidefinite),
    PriorCase("field-odd", (1, 7, 5), lambda: GaussianRandomField(-2.2, mean=0.2)),
    PriorCase("field-even", (3, 6, 8), lambda: GaussianRandomField(-1.0, channels=3)),
    PriorCase("mixture", (4,), mixture),
    PriorCase("mixture-diagonal", (1, 2, 2), diagonal_mixture),
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
]


# ------------------------------------------------------------------------------------ solvers


@dataclass(frozen=True)
class SolverCase:
    """A solver of so many steps."""

    name: str
    build: Callable[[int], Solver[Any]]
    evaluations: int = 1  # per step
    vjps: int = 0  # per step
    blind: bool = False  # it never looks at y

    def make(self, steps: int) -> Solver[Any]:
        """The solver."""
        return self.build(steps)


def _reddiff(**settings: Any) -> Callable[[int], REDDiff]:
    return lambda steps: REDDiff(vp(steps), **settings)


def _with(optimizer: MakeOptimizer, **settings: Any) -> Callable[[int], REDDiff]:
    return _reddiff(optimizer=optimizer, **settings)


SGD_OPTIMIZER = partial(SGD, lr=0.02, momentum=0.9)
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adam-amsgrad": partial(Adam, lr=0.1, amsgrad=True),
    "adamw": partial(AdamW, lr=0.1, weight_decay=0.01),
    "adamw-foreach": partial(AdamW, lr=0.1, foreach=True),
    "sgd": SGD_OPTIMIZER,
    "rmsprop": partial(RMSprop, lr=0.02, momentum=0.5, centered=True),
    "nadam": partial(NAdam, lr=0.1),
    "adafactor": partial(Adafactor, lr=0.1),
    "lbfgs": partial(LBFGS, lr=0.05, max_iter=1, history_size=3),
}


def _embed(x: Tensor) -> Tensor:
    """A fixed map to three features."""
    return torch.tanh(x.flatten(1) @ randn(x[0].numel(), 3, seed=44).to(x))


def _repulsive(steps: int) -> RSD:
    """RSD with everything on, and an optimiser that looks at the shape of its parameters."""
    return RSD(
        karras(steps, 0.02, 20.0),
        optimizer=partial(Adafactor, lr=0.1),
        order=orders.random,
        draws=2,
        sigma_q=0.1,
        learn_sigma_q=True,
        start=inits.noise,
        particles=2,
        gamma=3.0,
        features=_embed,
    )


PEERS = [
    SolverCase("ddim", lambda n: DDIM(vp(n)), blind=True),
    SolverCase("ddpm", lambda n: DDIM.ddpm(n), blind=True),
    SolverCase("heun", lambda n: Heun.edm(n), evaluations=2, blind=True),
    SolverCase("dps", lambda n: DPS.paper(n), vjps=1),
    SolverCase("ddrm", lambda n: DDRM.paper(n)),
    SolverCase("ddnm", lambda n: DDNM.paper(n)),
    SolverCase("ddnm-plus", lambda n: DDNMPlus.paper(n)),
    SolverCase("diffpir", lambda n: DiffPIR.paper(n)),
    SolverCase("red-fixed-point", lambda n: RED(constant(n, 0.4), 6.0)),
    SolverCase("red-accelerated", lambda n: RED(constant(n, 0.4), 6.0, accelerated=True)),
    SolverCase("pnp-hqs", lambda n: PnPHQS.paper(n)),
    SolverCase("pnp-admm", lambda n: PnPADMM(geometric(n, 0.2, 1.0))),
    SolverCase("rsd", lambda n: RSD(vp(n), particles=3), evaluations=3),
    SolverCase("rsd-features", _repulsive, evaluations=4),
    SolverCase("mcg", lambda n: MCG.paper(n), vjps=1),
    SolverCase("pigdm", lambda n: PiGDM.paper(n), vjps=1),
    SolverCase("mmps", lambda n: MMPS(karras(n), iterations=3), vjps=4),
    SolverCase("mmps-paper", lambda n: MMPS.paper(n), vjps=2),
    SolverCase("tmpd", lambda n: TMPD(karras(n)), vjps=2),
    SolverCase("tmpd-paper", lambda n: TMPD.paper(n), vjps=2),
    SolverCase("daps", lambda n: DAPS(karras(n, 0.1, 10.0), Langevin(8)), evaluations=5),
    SolverCase(
        "daps-exact", lambda n: DAPS(karras(n, 0.1, 10.0), PerturbAndSolve()), evaluations=5
    ),
    SolverCase("daps-paper", lambda n: DAPS.paper(n, tau=0.3), evaluations=5),
    SolverCase("pnpdm", lambda n: PnPDM.paper(n, average=2), evaluations=10),
    SolverCase(
        "pnpdm-annealed", lambda n: PnPDM.annealed(n, rho_min=0.1, average=2), evaluations=10
    ),
    SolverCase(
        "pnpdm-hmc",
        lambda n: PnPDM(geometric(n, 0.2, 2.0), HMC(steps=2, leapfrog=3), evaluations=3),
        evaluations=3,
    ),
    SolverCase("sitcom", lambda n: SITCOM.paper(n, inner=5), evaluations=6, vjps=5),
    SolverCase("ula", lambda n: ULA(geometric(n, 0.3, 2.0))),
]

SOLVERS = [
    SolverCase("default", _reddiff()),
    SolverCase("paper", lambda n: REDDiff.paper(n)),
    SolverCase("paper-sigma-q", lambda n: REDDiff.paper(n, lr=0.25, sigma_q=1e-4)),
    SolverCase("red", lambda n: REDDiff.red(n, 0.2, weight=1.0, optimizer=SGD_OPTIMIZER)),
    SolverCase(
        "sds",
        lambda n: REDDiff.sds(vp(n), optimizer=partial(Adam, lr=0.05), order=orders.random),
    ),
    SolverCase("nats", _reddiff(nats=True, weight=3.0)),
    SolverCase("draws", _reddiff(draws=3), evaluations=3),
    SolverCase("sigma-q", _reddiff(sigma_q=0.2)),
    SolverCase("sigma-q-learned", _reddiff(sigma_q=0.2, learn_sigma_q=True, weight=5.0)),
    SolverCase(
        "everything",
        lambda n: REDDiff(
            karras(n, 0.02, 20.0),
            optimizer=partial(NAdam, lr=0.05),
            lr_schedule=cosine_lr,
            weighting=WEIGHTINGS["sqrt"],
            order=orders.stratified,
            draws=2,
            sigma_q=0.1,
            learn_sigma_q=True,
            start=inits.noise,
            nats=True,
            means=True,
            lag=True,
        ),
        evaluations=2,
    ),
    *PEERS,
    SolverCase("noise-aware", lambda n: NoiseAwareREDDiff.default(n)),
    SolverCase("noise-aware-mean", lambda n: NoiseAwareREDDiff.default(n, realism=0.0)),
    SolverCase("flow", lambda n: REDDiff(flow(n), lr_schedule=harmonic_lr)),
    *[
        SolverCase(f"weighting-{name}", _reddiff(weighting=w))
        for name, w in WEIGHTINGS.items()
        if name != "linear"  # the default
    ],
    *[
        SolverCase(f"order-{name}", _reddiff(order=order))
        for name, order in orders.ORDERS.items()
        if name != "descending"  # the default
    ],
    *[SolverCase(f"optimizer-{name}", _with(make)) for name, make in OPTIMIZERS.items()],
    SolverCase(
        "optimizers-learned-lbfgs",
        _with(OPTIMIZERS["lbfgs"], sigma_q=0.2, learn_sigma_q=True, weight=5.0),
    ),
    SolverCase("start-adjoint", _reddiff(start=inits.adjoint)),
    SolverCase("start-zeros", _reddiff(start=inits.zeros)),
    SolverCase("start-noise", _reddiff(start=inits.noise)),
    SolverCase("start-given", _reddiff(start=inits.Given(randn(1, 6, seed=40)))),
]


# --------------------------------------------------------------------------------- assemblies


def solver_problem(lanes: int = 4, device: torch.device = CPU) -> tuple[Problem, Prior]:
    """The problem the solvers are tried on: a matrix and a noise level per lane."""
    prior = gaussian().to(device)
    operator = Matrix(randn(lanes, 5, 6, seed=41), per_lane=True).to(device)
    sigma = torch.linspace(0.1, 0.5, lanes, dtype=F64, device=device)
    x = prior.sample(torch.empty(lanes, 6, dtype=F64, device=device), Keys(1, ids(lanes)).at(0))
    return Problem.simulate(x, operator, Gaussian(sigma), ids=ids(lanes)), prior


def operator_problem(
    case: OperatorCase, lanes: int = 3, device: torch.device = CPU
) -> tuple[Problem, Prior]:
    """A problem with this operator, and a Gaussian prior that fits it."""
    prior: Prior
    if len(case.x_shape) == 3:
        prior = GaussianRandomField(channels=case.x_shape[0])
    else:
        prior = gaussian(case.x_shape[0])
    x = 0.5 * randn(lanes, *case.x_shape, seed=42).to(device)
    problem = Problem.simulate(x, case.make(lanes, device), Gaussian(0.1), ids=ids(lanes))
    return problem, prior.to(device)


def operator_solvers(case: OperatorCase, steps: int) -> list[Solver[Any]]:
    """What this operator is tried with: one solver that asks for its vjp, one for data steps."""
    return [SOLVERS[0].make(steps), NoiseAwareREDDiff.default(steps)]


def prior_problem(
    case: PriorCase, lanes: int = 3, device: torch.device = CPU
) -> tuple[Problem, Prior]:
    """A mask on what this prior draws."""
    x = 0.5 * randn(lanes, *case.x_shape, seed=43).to(device)
    operator = Mask(coin(lanes, *case.x_shape, p=0.6), per_lane=True).to(device)
    return Problem.simulate(x, operator, Gaussian(0.1), ids=ids(lanes)), case.make(device)


def prior_solver(case: PriorCase, steps: int = 6) -> Solver[Any]:
    """RED-diff over levels that the prior is good for."""
    s = torch.tensor([*sorted(case.levels, reverse=True), 0.0], dtype=F64)
    if "integer" not in case.name:  # any level will do: take as many as asked for
        s = torch.cat([torch.logspace(0, -1, steps, dtype=F64) * s[0], s[-1:]])
    return REDDiff(Schedule(torch.ones_like(s), s))


def ids(lanes: int) -> tuple[int, ...]:
    """Lane ids that are neither small nor in order."""
    return tuple((7919 * (i + 3)) % 1009 for i in range(lanes))


Case = TypeVar("Case", OperatorCase, PriorCase, SolverCase)


def every(
    name: str, cases: list[Case], where: Callable[[Case], bool] = lambda case: True
) -> pytest.MarkDecorator:
    """Parametrise a test over cases."""
    chosen = [case for case in cases if where(case)]
    return pytest.mark.parametrize(name, chosen, ids=[case.name for case in chosen])

"""Every operator. To add one, write one entry in OPERATORS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from PIL.Image import Resampling
from torch import Tensor

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
    Decoder,
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
from zoo import custom
from zoo.references import (
    Reference,
    as_complex,
    bayer,
    block_gaussian,
    block_mean,
    blur,
    convolve,
    flat_concatenation,
    gamma,
    hadamard,
    jpeg,
    jpeg_coefficients,
    moduli,
    mri,
    nonlinear_blur,
    pillow,
    plain,
    quantise,
    radon,
    random_fourier,
    same,
    shifted_bicubic,
    times,
    transposed,
    varying,
)
from zoo.tensors import CPU, F64, coin, randn


@dataclass(frozen=True)
class OperatorCase:
    """An operator, and the shape of one x that it takes."""

    name: str
    x_shape: Shape
    build: Callable[[int], Operator]
    reference: Reference | str = ""  # A(x) by other code, or why there is none
    near: float = 1e-10  # how far A(x) may be from it, over the largest entry
    smooth: bool = True  # its derivative is the limit of differences, and not straight-through

    def make(self, lanes: int, device: torch.device = CPU, dtype: torch.dtype = F64) -> Operator:
        """The operator for a number of lanes."""
        return self.build(lanes).to(device=device, dtype=dtype)

    @cached_property
    def kind(self) -> type[Operator]:
        """The class of the operator, which is built once for it."""
        return type(self.build(2))


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


def _doubled(z: Tensor) -> Tensor:
    """A decoder: tanh of every pixel twice in each direction."""
    return torch.tanh(z).repeat_interleave(2, -1).repeat_interleave(2, -2)


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
    OperatorCase(
        "mask-vector",
        (6,),
        lambda b: Mask(coin(1, 6, p=0.6)[0]),
        times(lambda b: coin(1, 6, p=0.6)[0]),
    ),
    OperatorCase(
        "mask-shared",
        (3, 7, 5),
        lambda b: Mask(coin(1, 7, 5, p=0.3)[0]),
        times(lambda b: coin(1, 7, 5, p=0.3)[0]),
    ),
    OperatorCase(
        "mask-channels",
        (3, 7, 5),
        lambda b: Mask(coin(3, 7, 5, p=0.3)),
        times(lambda b: coin(3, 7, 5, p=0.3)),
    ),
    OperatorCase(
        "mask-per-lane",
        (2, 4, 9),
        lambda b: Mask(coin(b, 4, 9, p=0.4), per_lane=True),
        times(lambda b: coin(b, 4, 9, p=0.4)[:, None]),
    ),
    OperatorCase(
        "mask-per-lane-full",
        (2, 5, 3),
        lambda b: Mask(coin(b, 2, 5, 3, p=0.4), per_lane=True),
        times(lambda b: coin(b, 2, 5, 3, p=0.4)),
    ),
    OperatorCase("mask-all", (1, 3, 4), lambda b: Mask(torch.ones(1, dtype=torch.bool)), same),
    OperatorCase("identity", (2, 3, 5), lambda b: Identity(), same),
    OperatorCase("blockmean-1", (2, 3, 5), lambda b: BlockMean(1), same),
    OperatorCase("blockmean-2", (3, 6, 10), lambda b: BlockMean(2), lambda x, _: block_mean(x, 2)),
    OperatorCase("blockmean-3", (1, 9, 6), lambda b: BlockMean(3), lambda x, _: block_mean(x, 3)),
    OperatorCase("resize-1", (1, 3, 5), lambda b: Resize(1), same),
    OperatorCase(
        "resize-bicubic", (2, 6, 10), lambda b: Resize(2), pillow(2, Resampling.BICUBIC), near=1e-6
    ),
    OperatorCase(
        "resize-lanczos",
        (1, 9, 6),
        lambda b: Resize(3, lanczos),
        pillow(3, Resampling.LANCZOS),
        near=1e-6,
    ),
    OperatorCase(
        "resize-triangle",
        (1, 8, 6),
        lambda b: Resize(2, triangle),
        pillow(2, Resampling.BILINEAR),
        near=1e-6,
    ),
    OperatorCase(
        "resize-one-pixel", (1, 4, 4), lambda b: Resize(4), pillow(4, Resampling.BICUBIC), near=1e-6
    ),
    OperatorCase(
        "resize-shifted",
        (1, 6, 8),
        lambda b: Resize(2, shift=-0.5),
        lambda x, _: shifted_bicubic(x, 2, -0.5),
    ),
    OperatorCase("decimate", (2, 6, 10), lambda b: Decimate(2), lambda x, _: x[..., ::2, ::2]),
    OperatorCase(
        "decimate-middle", (1, 9, 6), lambda b: Decimate(3, 1), lambda x, _: x[..., 1::3, 1::3]
    ),
    OperatorCase(
        "separable-tall",
        (2, 5, 4),
        lambda b: Pair(randn(7, 5), randn(3, 4, seed=1)),
        lambda x, _: plain(randn(7, 5)) @ x @ plain(randn(3, 4, seed=1)).T,
    ),
    OperatorCase(
        "separable-rank-2",
        (1, 6, 5),
        lambda b: Pair(_rank_two(), 0.1 * _rank_two().mT),
        lambda x, _: plain(_rank_two()) @ x @ plain(0.1 * _rank_two()),
    ),
    OperatorCase(
        "separable-per-lane",
        (2, 6, 4),
        lambda b: Pair(_matrices(b, 4, 6), randn(5, 4)),
        lambda x, _: plain(_matrices(len(x), 4, 6))[:, None] @ x @ plain(randn(5, 4)).T,
    ),
    OperatorCase("bayer-rggb", (3, 5, 6), lambda b: Bayer(), bayer(BayerPattern.RGGB)),
    OperatorCase(
        "bayer-gbrg", (3, 4, 3), lambda b: Bayer(BayerPattern.GBRG), bayer(BayerPattern.GBRG)
    ),
    OperatorCase("hadamard", (3, 6, 4), lambda b: WalshHadamard((3, 6, 4), 0.4), hadamard),
    OperatorCase("hadamard-odd", (1, 5, 7), lambda b: WalshHadamard((1, 5, 7), 0.6), hadamard),
    OperatorCase("hadamard-all", (2, 4, 4), lambda b: WalshHadamard((2, 4, 4), 1.0), hadamard),
    OperatorCase(
        "hadamard-per-lane",
        (1, 6, 4),
        lambda b: WalshHadamard((1, 6, 4), 0.3, tuple(range(b))),
        hadamard,
    ),
    OperatorCase("fourier-even", (2, 6, 8), lambda b: RandomFourier((6, 8), 0.4), random_fourier),
    OperatorCase("fourier-odd", (1, 7, 5), lambda b: RandomFourier((7, 5), 1.0), random_fourier),
    OperatorCase(
        "fourier-per-lane",
        (2, 6, 5),
        lambda b: RandomFourier((6, 5), 0.3, tuple(range(b))),
        random_fourier,
    ),
    OperatorCase("blockgaussian", (2, 6, 9), lambda b: BlockGaussian(3, 0.4), block_gaussian),
    OperatorCase(
        "blockgaussian-per-lane",
        (1, 6, 4),
        lambda b: BlockGaussian(2, 0.5, tuple(range(b))),
        block_gaussian,
    ),
    OperatorCase("blur-odd", (2, 7, 9), lambda b: _blur(), blur(lambda b: gaussian_psf(0.6, 2))),
    OperatorCase("blur-even", (1, 8, 6), lambda b: _blur(), blur(lambda b: gaussian_psf(0.6, 2))),
    OperatorCase(
        "blur-lopsided", (1, 5, 8), lambda b: CircularBlur(_lopsided()), blur(lambda b: _lopsided())
    ),
    OperatorCase(
        "blur-motion",
        (3, 9, 8),
        lambda b: CircularBlur(motion_psf(3.0, 30.0)),
        blur(lambda b: motion_psf(3.0, 30.0)),
    ),
    OperatorCase(
        "blur-whole",
        (1, 5, 7),
        lambda b: CircularBlur(randn(5, 7, seed=9)),
        blur(lambda b: randn(5, 7, seed=9)),
    ),
    OperatorCase(
        "blur-zeros",
        (1, 9, 6),
        lambda b: CircularBlur(torch.ones(3, 3, dtype=F64) / 9),
        blur(lambda b: torch.ones(3, 3, dtype=F64) / 9),
    ),
    OperatorCase(
        "blur-per-lane", (2, 6, 5), lambda b: CircularBlur(_psfs(b), per_lane=True), blur(_psfs)
    ),
    *(
        OperatorCase(
            f"blur-{edge.name.lower()}",
            (1, 6, 5),
            partial(_lopsided_blur, edge),
            blur(lambda b: _psf(3, 5), edge),
        )
        for edge in Boundary
    ),
    OperatorCase(
        "blur-mirror-delta",
        (2, 1, 3),
        lambda b: Blur(_psf(1, 3), Boundary.MIRROR),
        blur(lambda b: _psf(1, 3), Boundary.MIRROR),
    ),
    OperatorCase(
        "blur-replicate-per-lane",
        (2, 5, 8),
        lambda b: Blur(_psfs(b), Boundary.REPLICATE, per_lane=True),
        blur(_psfs, Boundary.REPLICATE),
    ),
    OperatorCase(
        "blur-symmetric",
        (2, 7, 6),
        lambda b: SymmetricBlur(gaussian_psf(0.7, 2)),
        blur(lambda b: gaussian_psf(0.7, 2), Boundary.REFLECT),
    ),
    OperatorCase(
        "blur-symmetric-box",
        (1, 9, 8),
        lambda b: SymmetricBlur(uniform_psf(3)),
        blur(lambda b: uniform_psf(3), Boundary.REFLECT),
    ),
    OperatorCase(
        "blur-symmetric-per-lane",
        (1, 5, 6),
        lambda b: SymmetricBlur(_even(b), per_lane=True),
        blur(_even, Boundary.REFLECT),
    ),
    *(
        OperatorCase(
            f"blur-separable-{edge.name.lower()}",
            (2, 6, 7),
            partial(_separable, edge),
            blur(lambda b: _psf(1, 3).mT @ _psf(1, 5), edge),
        )
        for edge in Boundary
    ),
    OperatorCase(
        "blur-separable-box",
        (1, 6, 9),
        lambda b: _box_blur(),
        blur(lambda b: torch.full((3, 3), 1 / 9, dtype=F64)),
    ),
    OperatorCase(
        "blur-separable-per-lane",
        (2, 5, 7),
        lambda b: _separable_per_lane(b),
        blur(lambda b: _psfs(b)[:, 1, :, None] * _psf(b, 1, 5), Boundary.ZERO),
    ),
    OperatorCase(
        "blur-varying",
        (2, 6, 7),
        lambda b: VaryingBlur(_psf_grid(2, 3)),
        varying(lambda b: _psf_grid(2, 3), Boundary.REFLECT),
    ),
    OperatorCase(
        "blur-varying-per-lane",
        (1, 5, 6),
        lambda b: VaryingBlur(_psf_grid(b, 2, 1), Boundary.ZERO, per_lane=True),
        varying(lambda b: _psf_grid(b, 2, 1), Boundary.ZERO),
    ),
    OperatorCase(
        "channels",
        (3, 4, 5),
        lambda b: ChannelMix(randn(2, 3)),
        lambda x, _: np.einsum("mc,bchw->bmhw", plain(randn(2, 3)), x),
    ),
    OperatorCase(
        "grayscale",
        (3, 5, 2),
        lambda b: grayscale(F64),
        lambda x, _: (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None],
    ),
    OperatorCase(
        "matrix-wide", (6,), lambda b: Matrix(randn(4, 6)), lambda x, _: x @ plain(randn(4, 6)).T
    ),
    OperatorCase(
        "matrix-tall", (6,), lambda b: Matrix(randn(9, 6)), lambda x, _: x @ plain(randn(9, 6)).T
    ),
    OperatorCase(
        "matrix-rank-2", (6,), lambda b: Matrix(_rank_two()), lambda x, _: x @ plain(_rank_two()).T
    ),
    OperatorCase(
        "matrix-shaped",
        (1, 3, 4),
        lambda b: Matrix(randn(5, 12), shape=(1, 3, 4)),
        lambda x, _: x.reshape(len(x), 12) @ plain(randn(5, 12)).T,
    ),
    OperatorCase(
        "matrix-per-lane",
        (6,),
        lambda b: Matrix(_matrices(b, 4, 6), per_lane=True),
        lambda x, _: np.einsum("bmn,bn->bm", plain(_matrices(len(x), 4, 6)), x),
    ),
    OperatorCase(
        "sr-blur",
        (1, 6, 8),
        lambda b: BlockMean(2) @ _blur(),
        lambda x, _: block_mean(convolve(x, gaussian_psf(0.6, 2)), 2),
    ),
    OperatorCase(
        "mask-sr",
        (2, 6, 8),
        lambda b: Mask(coin(b, 3, 4, p=0.5), per_lane=True) @ BlockMean(2),
        lambda x, _: plain(coin(len(x), 1, 3, 4, p=0.5)) * block_mean(x, 2),
    ),
    OperatorCase(
        "sr-mask",
        (1, 6, 4),
        lambda b: BlockMean(2) @ Mask(coin(1, 6, 4, p=0.5)[0]),
        lambda x, _: block_mean(plain(coin(1, 6, 4, p=0.5)) * x, 2),
    ),
    OperatorCase(
        "mask-blur-per-lane",
        (1, 6, 5),
        lambda b: Mask(coin(b, 6, 5, p=0.5), per_lane=True) @ CircularBlur(_psfs(b), per_lane=True),
        lambda x, _: plain(coin(len(x), 1, 6, 5, p=0.5)) * convolve(x, _psfs(len(x))),
    ),
    OperatorCase(
        "matrix-sr-blur",
        (1, 6, 4),
        lambda b: Matrix(randn(4, 6), shape=(1, 3, 2)) @ BlockMean(2) @ _blur(1),
        lambda x, _: (
            block_mean(convolve(x, gaussian_psf(0.6, 1)), 2).reshape(-1, 6) @ plain(randn(4, 6)).T
        ),
    ),
    OperatorCase(
        "diagonal",
        (2, 3, 4),
        lambda b: Diagonal(randn(2, 3, 4, seed=11)),
        times(lambda b: randn(2, 3, 4, seed=11)),
    ),
    OperatorCase(
        "diagonal-per-lane",
        (2, 3, 4),
        lambda b: Diagonal(randn(b, 2, 3, 4) * coin(b, 2, 3, 4, p=0.7), per_lane=True),
        times(lambda b: randn(b, 2, 3, 4) * coin(b, 2, 3, 4, p=0.7)),
    ),
    OperatorCase(
        "stack",
        (2, 4, 6),
        lambda b: stack(
            [BlockMean(2), Mask(coin(b, 4, 6, p=0.5), per_lane=True)], [(2, 2, 3), (2, 4, 6)]
        ),
        lambda x, _: flat_concatenation(block_mean(x, 2), plain(coin(len(x), 1, 4, 6, p=0.5)) * x),
    ),
    OperatorCase(
        "stack-softclip",
        (1, 3, 4),
        lambda b: stack([SoftClip(), _blur(1)], 2 * [(1, 3, 4)]),
        lambda x, _: flat_concatenation(np.tanh(2 * x), convolve(x, gaussian_psf(0.6, 1))),
    ),
    OperatorCase(
        "side-by-side",
        (1, 6, 5),
        lambda b: side_by_side(
            [Mask(coin(1, 6, 5, p=0.5, seed=i)[0]) @ _blur(1) for i in range(b)]
        ),
        lambda x, _: (
            np.stack([plain(coin(1, 6, 5, p=0.5, seed=i)) for i in range(len(x))])
            * convolve(x, gaussian_psf(0.6, 1))
        ),
    ),
    OperatorCase(
        "side-by-side-softclip",
        (1, 6, 5),
        lambda b: side_by_side([SoftClip(), *[_blur(1)] * (b - 1)]),
        lambda x, _: np.concatenate([np.tanh(2 * x[:1]), convolve(x[1:], gaussian_psf(0.6, 1))]),
    ),
    OperatorCase(
        "mri-single",
        (2, 7, 6),
        lambda b: SingleCoilMRI(coin(1, 7, 6, p=0.5)[0]),
        mri(lambda b: coin(1, 7, 6, p=0.5)[0]),
    ),
    OperatorCase(
        "mri-single-per-lane",
        (2, 6, 5),
        lambda b: SingleCoilMRI(coin(b, 6, 5, p=0.5), per_lane=True),
        mri(lambda b: coin(b, 6, 5, p=0.5)),
    ),
    OperatorCase(
        "mri-coils",
        (2, 5, 4),
        lambda b: MultiCoilMRI(coin(1, 5, 4, p=0.6)[0], birdcage_maps(3, (5, 4))),
        mri(lambda b: coin(1, 5, 4, p=0.6)[0], lambda b: birdcage_maps(3, (5, 4))),
    ),
    OperatorCase(
        "mri-coils-per-lane",
        (2, 4, 5),
        lambda b: MultiCoilMRI(coin(b, 4, 5, p=0.6), randn(b, 2, 2, 4, 5, seed=11), per_lane=True),
        mri(lambda b: coin(b, 4, 5, p=0.6), lambda b: randn(b, 2, 2, 4, 5, seed=11)),
    ),
    OperatorCase(
        "mri-maps-per-lane",
        (2, 3, 4),
        lambda b: MultiCoilMRI(coin(1, 3, 4, p=0.7)[0], randn(b, 3, 2, 3, 4), per_lane=True),
        mri(lambda b: coin(1, 3, 4, p=0.7)[0], lambda b: randn(b, 3, 2, 3, 4)),
    ),
    OperatorCase(
        "radon-odd",
        (1, 5, 5),
        lambda b: Radon(5, [0.0, 45.0, 60.0, 90.0, 141.0]),
        radon(lambda b: [0.0, 45.0, 60.0, 90.0, 141.0]),
    ),
    OperatorCase(
        "radon-even",
        (2, 4, 4),
        lambda b: Radon(4, torch.arange(6) * 30.0, spacing=0.3),
        radon(lambda b: np.arange(6) * 30.0, spacing=0.3),
    ),
    OperatorCase(
        "radon-geometry",
        (1, 4, 4),
        lambda b: Radon(
            4, [-60.0, 20.0, 200.0, 359.0], detectors=7, center=1.5, axis=2.8, circle=False
        ),
        radon(
            lambda b: [-60.0, 20.0, 200.0, 359.0], detectors=7, center=1.5, axis=2.8, circle=False
        ),
    ),
    OperatorCase(
        "radon-per-lane",
        (1, 5, 5),
        lambda b: Radon(5, 7.0 * torch.arange(b)[:, None] + 40.0 * torch.arange(4), per_lane=True),
        radon(lambda b: 7.0 * np.arange(b)[:, None] + 40.0 * np.arange(4)),
    ),
    OperatorCase("phase", (2, 5, 6), lambda b: PhaseRetrieval(), lambda x, _: moduli(x, 2.0)),
    OperatorCase(
        "phase-1.5-complex",
        (2, 5, 4),
        lambda b: PhaseRetrieval(1.5, complex_x=True),
        lambda x, _: moduli(as_complex(x[:, None]), 1.5),
    ),
    OperatorCase(
        "coded",
        (2, 5, 6),
        lambda b: CodedDiffraction(uniform_codes(4, (5, 6))),
        lambda x, _: moduli(as_complex(plain(uniform_codes(4, (5, 6)))) * x[:, :, None]),
    ),
    OperatorCase(
        "coded-per-lane-complex",
        (2, 4, 5),
        lambda b: CodedDiffraction(
            torch.stack([octanary_codes(6, (4, 5), seed=s) for s in range(b)]),
            per_lane=True,
            complex_x=True,
        ),
        lambda x, _: moduli(
            as_complex(np.stack([plain(octanary_codes(6, (4, 5), seed=s)) for s in range(len(x))]))[
                :, None
            ]
            * as_complex(x[:, None])[:, :, None]
        ),
    ),
    OperatorCase(
        "decoder",
        (2, 3, 4),
        lambda b: Decoder(_doubled, channels=2, factor=2, scale=0.5, shift=0.1),
        lambda z, _: np.tanh(z / 0.5 + 0.1).repeat(2, -1).repeat(2, -2),
    ),
    OperatorCase("softclip", (1, 3, 4), lambda b: SoftClip(), lambda x, _: np.tanh(2 * x)),
    OperatorCase("clip", (3, 5, 4), lambda b: Clip(), lambda x, _: np.clip(2 * x, -1, 1)),
    OperatorCase(
        "clip-per-lane",
        (1, 3, 5),
        lambda b: Clip(torch.linspace(2, 0.5, b), -0.5, per_lane=True),
        lambda x, _: np.clip(np.linspace(2, 0.5, len(x))[:, None, None, None] * x, -0.5, 1),
    ),
    OperatorCase(
        "gamma", (3, 4, 5), lambda b: Gamma(1 / 2.2), lambda x, _: gamma(x, 1 / 2.2, -1, 1, 0.01)
    ),
    OperatorCase(
        "gamma-per-lane",
        (1, 5, 3),
        lambda b: Gamma(torch.linspace(0.4, 2.4, b), -2.0, 1.5, toe=0.1, per_lane=True),
        lambda x, _: gamma(
            x, plain(torch.linspace(0.4, 2.4, len(x)))[:, None, None, None], -2, 1.5, 0.1
        ),
    ),
    OperatorCase(
        "quantise",
        (1, 6, 5),
        lambda b: Quantise(8),
        lambda x, _: quantise(x, [8] * len(x)),
        smooth=False,
    ),
    OperatorCase(
        "quantise-per-lane",
        (2, 3, 4),
        lambda b: (
            Mask(coin(b, 3, 4, p=0.6), per_lane=True) @ Quantise(torch.arange(b) + 2, per_lane=True)
        ),
        lambda x, _: plain(coin(len(x), 1, 3, 4, p=0.6)) * quantise(x, range(2, len(x) + 2)),
        smooth=False,
    ),
    OperatorCase(
        "jpeg", (3, 9, 8), lambda b: JPEG(75), jpeg(lambda lane: 75, "4:2:0"), smooth=False
    ),
    OperatorCase(
        "jpeg-per-lane",
        (3, 6, 13),
        lambda b: JPEG(20 * torch.arange(b) + 30, subsampling=Subsampling.S422, per_lane=True),
        jpeg(lambda lane: 20 * lane + 30, "4:2:2"),
        smooth=False,
    ),
    OperatorCase(
        "jpeg-coefficients-gray",
        (1, 16, 8),
        lambda b: JPEGCoefficients(JPEG(75), 1),
        jpeg_coefficients(lambda lane: 75),
    ),
    OperatorCase(
        "jpeg-coefficients-444",
        (3, 8, 16),
        lambda b: JPEGCoefficients(JPEG(50, subsampling=Subsampling.S444)),
        jpeg_coefficients(lambda lane: 50),
    ),
    OperatorCase(
        "jpeg-coefficients-per-lane",
        (3, 8, 16),
        lambda b: JPEGCoefficients(
            JPEG(20 * torch.arange(b) + 30, subsampling=Subsampling.S422, per_lane=True)
        ),
        jpeg_coefficients(lambda lane: 20 * lane + 30, columns=2),
    ),
    OperatorCase("nonlinear-blur", (3, 8, 7), lambda b: NonlinearBlur(3.0), nonlinear_blur(3.0)),
    OperatorCase(
        "nonlinear-blur-per-lane",
        (1, 6, 5),
        lambda b: NonlinearBlur(2.0, seed=torch.arange(b), per_lane=True),
        nonlinear_blur(2.0),
    ),
    OperatorCase(
        "mask-softclip-blur",
        (1, 4, 5),
        lambda b: Mask(coin(b, 4, 5, p=0.5), per_lane=True) @ (SoftClip() @ _blur(1)),
        lambda x, _: (
            plain(coin(len(x), 1, 4, 5, p=0.5)) * np.tanh(2 * convolve(x, gaussian_psf(0.6, 1)))
        ),
    ),
    OperatorCase(
        "sum-per-lane",
        (2, 6, 5),
        lambda b: CircularBlur(_psfs(b), per_lane=True) + Mask(coin(1, 6, 5, p=0.5)[0]),
        lambda x, _: convolve(x, _psfs(len(x))) + plain(coin(1, 6, 5, p=0.5)) * x,
    ),
    OperatorCase(
        "sum-nonlinear",
        (1, 3, 4),
        lambda b: 2 * SoftClip() - Identity() * 0.5,
        lambda x, _: 2 * np.tanh(2 * x) - 0.5 * x,
    ),
    OperatorCase(
        "scaled-per-lane",
        (1, 6, 5),
        lambda b: -1.5 * CircularBlur(_psfs(b), per_lane=True),
        lambda x, _: -1.5 * convolve(x, _psfs(len(x))),
    ),
    OperatorCase(
        "transposed",
        (1, 3, 4),
        lambda b: BlockMean(2).T,
        lambda x, _: x.repeat(2, -2).repeat(2, -1) / 4,
    ),
    OperatorCase(
        "transposed-per-lane",
        (1, 5, 4),
        lambda b: Blur(_psfs(b), Boundary.REPLICATE, per_lane=True).T,
        transposed(blur(_psfs, Boundary.REPLICATE)),
    ),
    OperatorCase(
        "product-masks",
        (2, 4, 5),
        lambda b: Mask(coin(b, 4, 5, p=0.7), per_lane=True) @ Mask(coin(2, 4, 5, p=0.7)),
        lambda x, _: plain(coin(len(x), 1, 4, 5, p=0.7) * coin(2, 4, 5, p=0.7)) * x,
    ),
    OperatorCase(
        "product-diagonal",
        (2, 3, 4),
        lambda b: (
            Mask(coin(b, 3, 4, p=0.7), per_lane=True) @ Diagonal(randn(b, 2, 3, 4), per_lane=True)
        ),
        lambda x, _: plain(coin(len(x), 1, 3, 4, p=0.7) * randn(len(x), 2, 3, 4)) * x,
    ),
    OperatorCase(
        "product-blurs",
        (1, 5, 6),  # narrower than the PSF of both, 5 x 7
        lambda b: CircularBlur(_psfs(b), per_lane=True) @ CircularBlur(_lopsided()),
        lambda x, _: convolve(convolve(x, _lopsided()), _psfs(len(x))),
    ),
    OperatorCase(
        "product-matrices",
        (1, 2, 3),
        lambda b: Matrix(_matrices(b, 4, 5), per_lane=True) @ Matrix(randn(5, 6), shape=(1, 2, 3)),
        lambda x, _: np.einsum(
            "bij,jk,bk->bi", _matrices(len(x), 4, 5), randn(5, 6), x.reshape(-1, 6)
        ),
    ),
    *[OperatorCase(*case) for case in custom.CASES],
]

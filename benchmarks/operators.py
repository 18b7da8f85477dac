"""Every operator of the catalogue under the default solver; prints tables in Markdown.

    python benchmarks/operators.py [table|cost] [--only WORD ...]

table: nothing is tuned or changed between rows. Three photos, 128 x 128, and `photo`: the PSNR of
the first guess and of the result, and the rms of y - A(x) over the noise. For linear operators
also the distance to the exact posterior mean where the prior is a Gaussian random field, 24 x 24:
the rms error of the mean (realism 0) over the posterior's standard deviation, the PSNR it costs,
and the residual over the noise of what was found and of the exact mean.
cost: one application of A, and of A^T, over one evaluation of `photo` at 1 x 3 x 256 x 256.

Noise is 0.05 in the units of x in [-1, 1] times the norm of A (line integrals are larger than
pixels). Complex images are a head (examples/data) under a Gaussian random field, as `photo` knows
colours only, at realism 0. Phase retrieval is the best of 4 runs by its data term.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reddiff import Gaussian, Keys, Problem, operator, solve
from reddiff.images.masks import make_mask
from reddiff.operators import (
    JPEG,
    Bayer,
    BlockGaussian,
    BlockMean,
    Blur,
    Boundary,
    ChannelMix,
    CircularBlur,
    Clip,
    CodedDiffraction,
    Diagonal,
    Gamma,
    Identity,
    LinearOperator,
    Mask,
    MultiCoilMRI,
    NonlinearBlur,
    Operator,
    PhaseRetrieval,
    Quantise,
    Radon,
    RandomFourier,
    Resize,
    SeparableBlur,
    SingleCoilMRI,
    SymmetricBlur,
    VaryingBlur,
    WalshHadamard,
    birdcage_maps,
    cartesian_mask,
    disk_psf,
    gaussian_psf,
    grayscale,
    lanczos,
    levin_psf,
    motion_psf,
    octanary_codes,
    radial_mask,
    shake_psf,
    stack,
)
from reddiff.priors import GaussianRandomField, Prior
from reddiff.priors.photo import photo_prior
from reddiff.random import DRAWING
from reddiff.solvers import NoiseAwareREDDiff

NOISE = 0.05
PHOTOS = ("astronaut", "chelsea", "coffee")
SIDE, SMALL, LARGE = 128, 24, 256
FIELDS, DRAWS = 4, 40
HEAD = Path(__file__).parents[1] / "examples" / "data" / "colin27.npz"

CYAN_YELLOW = torch.tensor([[0, 0.5, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)

Build = Callable[[int], Operator]  # from the side of x, in float64


@dataclass(frozen=True)
class Case:
    """An operator of a square x of any side."""

    name: str
    build: Build
    channels: int = 3
    runs: int = 1


def _any(operator: Callable[[], Operator]) -> Build:
    """For operators of any size."""
    return lambda _: operator()


def _mask(words: str) -> Build:
    return lambda n: Mask(make_mask(words, (n, n)).double()[0])


def _varying(n: int) -> Operator:
    """Sharp in one corner, blurred in the opposite one."""
    grid = [[gaussian_psf(sigma, 4) for sigma in row] for row in ((0.4, 0.8), (0.8, 1.6))]
    return VaryingBlur(torch.stack([torch.stack(row) for row in grid]))


def _two(n: int) -> Operator:
    """A grey picture, and a small one in colour."""
    return stack([grayscale(torch.float64), BlockMean(4)], [(1, n, n), (3, n // 4, n // 4)])


def _mri(n: int) -> Operator:
    return MultiCoilMRI(cartesian_mask((n, n), 4.0), birdcage_maps(4, (n, n)).double())


def _box(n: int) -> Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def _vignette(n: int) -> Tensor:
    return 1 - 0.4 * torch.linspace(-1, 1, n, dtype=torch.float64) ** 2


def _double(n: int) -> Operator:
    """An image and its ghost under a vignette, as a function nobody knows the spectrum of."""
    vignette, example = _vignette(n), torch.zeros(1, 3, n, n, dtype=torch.float64)
    return operator(
        lambda x: vignette.to(x) * (0.7 * x + 0.3 * x.roll(3, -1)), example=example, linear=True
    )


CASES = [
    Case("identity", _any(lambda: Identity())),
    Case("blur, half a pixel", _any(lambda: CircularBlur(gaussian_psf(0.5)))),
    Case("vignette", lambda n: Diagonal(_vignette(n).expand(3, n, n).clone())),
    Case("double image and vignette, a function", _double),
    Case("mask, 70 % missing", _mask("random:0.7")),
    Case("mask, brush 20-30 %", _mask("brush:20-30")),
    Case("mask, text", _mask("text:lorem")),
    Case("mask, box", lambda n: _mask(f"box:{n // 4}")(n)),
    Case("Bayer", _any(lambda: Bayer())),
    Case("block mean x4", _any(lambda: BlockMean(4))),
    Case("bicubic x4", _any(lambda: Resize(4))),
    Case("Lanczos x4", _any(lambda: Resize(4, lanczos))),
    Case("blur, Gaussian, circular", _any(lambda: CircularBlur(gaussian_psf(1.6, 5)))),
    Case("blur, Levin 5, zeros", _any(lambda: Blur(levin_psf(5), Boundary.ZERO))),
    Case("blur, Levin 5, replicate", _any(lambda: Blur(levin_psf(5), Boundary.REPLICATE))),
    Case("blur, shake, mirror", _any(lambda: Blur(shake_psf(15, 1), Boundary.MIRROR))),
    Case("blur, motion, circular", _any(lambda: CircularBlur(motion_psf(9.0, 30.0)))),
    Case("blur, box 7 x 7, reflect", _any(lambda: SeparableBlur(_box(7), _box(7)))),
    Case("blur, defocus, reflect", _any(lambda: SymmetricBlur(disk_psf(3.0)))),
    Case("blur, varying", _varying),
    Case("mask of a blur", lambda n: _mask("random:0.3")(n) @ CircularBlur(gaussian_psf(1.0, 4))),
    Case("grayscale", _any(lambda: grayscale(torch.float64))),
    Case("channel mix", _any(lambda: ChannelMix(CYAN_YELLOW))),
    Case("Walsh-Hadamard, 25 %", lambda n: WalshHadamard((3, n, n), 0.25)),
    Case("random Fourier, 25 %", lambda n: RandomFourier((n, n), 0.25)),
    Case("block Gaussian, 25 %", _any(lambda: BlockGaussian(8, 0.25))),
    Case("MRI, 1 coil, radial", lambda n: SingleCoilMRI(radial_mask((n, n), n // 4)), 2),
    Case("MRI, 4 coils, Cartesian x4", _mri, 2),
    Case("tomography, 60 angles", lambda n: Radon(n, torch.arange(0, 180, 3.0))),
    Case("tomography, 0 to 120 degrees", lambda n: Radon(n, torch.arange(0, 120, 3.0))),
    Case("grey, and small in colour", _two),
    Case("HDR, clipped", _any(lambda: Clip(2.0))),
    Case("gamma 2.2", _any(lambda: Gamma(2.2))),
    Case("8 levels", _any(lambda: Quantise(8))),
    Case("JPEG, quality 10", _any(lambda: JPEG(10))),
    Case("nonlinear blur", _any(lambda: NonlinearBlur(9.0))),
    Case("phase retrieval", _any(lambda: PhaseRetrieval(2.0)), runs=4),
    Case("coded diffraction, 4 codes", lambda n: CodedDiffraction(octanary_codes(4, (n, n)))),
]


def photos(side: int) -> Tensor:
    """(3, 3, side, side) in [-1, 1]."""
    made = []
    for name in PHOTOS:
        with files("reddiff").joinpath(f"assets/photos/{name}.png").open("rb") as file:
            picture = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
            made.append(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1))
    return torch.stack(made).float() / 127.5 - 1


def heads() -> Tensor:
    """(3, 2, 128, 128): real parts in [0, 1], imaginary parts 0."""
    slices = torch.from_numpy(np.load(HEAD)["slices"][[14, 28, 42]]).float()[:, None] / 223
    return torch.cat([slices, torch.zeros_like(slices)], 1)


def make(case: Case, side: int, like: Tensor) -> tuple[Operator, float]:
    """The operator for x like this, and the noise of y."""
    operator = case.build(side).to(like)
    return operator, NOISE * float(operator.norm(like[:1]))


def psnr(x: Tensor, truth: Tensor) -> float:
    """In dB, of peak 2, the mean over lanes."""
    mse = (x - truth).square().flatten(1).mean(1)
    return float((10 * (4 / mse).log10()).mean())


def known(x: Tensor, truth: Tensor, case: Case) -> Tensor:
    """x turned by 180 degrees or negated where y cannot tell and the truth is nearer."""
    if case.name != "phase retrieval":
        return x
    ways = torch.stack([x, -x, x.flip((-2, -1)), -x.flip((-2, -1))])
    error = (ways - truth).square().flatten(2).mean(2)
    return ways[error.argmin(0), torch.arange(len(x))]


def picture_row(case: Case, photo: Prior) -> list[str]:
    """PSNR of the guess and of the result, the residual, and seconds."""
    field = GaussianRandomField(-2.6, std=0.2, channels=2, dtype=torch.float32)
    x, prior, solver = photos(SIDE), photo, NoiseAwareREDDiff.for_prior(photo)
    if case.channels == 2:
        x, prior, solver = heads(), field, NoiseAwareREDDiff.default(50, realism=0.0)
    operator, sigma = make(case, SIDE, x)
    problem = Problem.simulate(x, operator, Gaussian(sigma))
    start = time.perf_counter()
    found = solve(problem, prior, solver, samples=case.runs)
    seconds = time.perf_counter() - start
    before, after = (psnr(known(v, x, case), x) for v in (problem.initial_estimate(), found.best))
    ratio = problem.residual_ratio(found.best)
    spread = f"{float(ratio.min()):.2f} to {float(ratio.max()):.2f}"
    return [f"{before:.2f}", f"{after:.2f}", spread, f"{seconds:.0f}"]


def exact_row(case: Case) -> list[str]:
    """The distance to the exact posterior mean, what it costs, and the residuals of both."""
    prior = GaussianRandomField(-2.2, std=0.5, channels=case.channels)
    like = torch.empty(FIELDS, case.channels, SMALL, SMALL, dtype=torch.float64)
    x = prior.sample(like, Keys(7, tuple(range(FIELDS))).at(DRAWING))
    operator, sigma = make(case, SMALL, x)
    if not isinstance(operator, LinearOperator):
        return ["", "", ""]
    problem = Problem.simulate(x, operator, Gaussian(sigma))
    posterior = prior.posterior(problem)
    mean = posterior.mean
    spread = (posterior.sample(DRAWS) - mean[:, None]).square().mean().sqrt()
    found = solve(problem, prior, NoiseAwareREDDiff.default(50, realism=0.0)).x
    distance = (found - mean).square().mean().sqrt() / spread
    ratio, exact = (float(problem.residual_ratio(v).mean()) for v in (found, mean))
    return [
        f"{float(distance):.3f}",
        f"{psnr(mean, x) - psnr(found, x):.2f}",
        f"{ratio:.2f} / {exact:.2f}",
    ]


def table(cases: list[Case]) -> None:
    """The first table."""
    print(
        "| operator | guess, dB | result, dB | residual | s | off the mean | dB lost | residuals |"
    )
    print("|---|---|---|---|---|---|---|---|")
    photo = photo_prior()
    for case in cases:
        cells = [*picture_row(case, photo), *exact_row(case)]
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


def seconds_of(function: Callable[[], object], repeats: int = 15) -> float:
    """The median time of a call, after two."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times[2:])


@torch.no_grad()
def cost(cases: list[Case]) -> None:
    """The second table."""
    photo, x = photo_prior(), photos(LARGE)[:1]
    bare = seconds_of(lambda: photo(x, 0.3), 7)
    print(f"One evaluation of photo: {1000 * bare:.0f} ms, {torch.get_num_threads()} threads.\n")
    print("| operator | A, ms | A, % of an evaluation | A^T, % |")
    print("|---|---|---|---|")
    for case in cases:
        v = x if case.channels == 3 else x[:, :2].contiguous()
        operator = case.build(LARGE).to(v)
        y = operator(v)
        cells = [seconds_of(partial(operator, v))]
        if isinstance(operator, LinearOperator):
            cells.append(seconds_of(partial(operator.adjoint, y)))
        shares = [f"{100 * seconds / bare:.1f}" for seconds in cells] + [""]
        print(f"| {case.name} | {1000 * cells[0]:.1f} | {shares[0]} | {shares[1]} |", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["table", "cost", "all"], default="all")
    parser.add_argument("--only", nargs="+", default=[""], help="Words in the names of operators.")
    arguments = parser.parse_args()
    cases = [c for c in CASES if any(word in c.name for word in arguments.only)]
    for name, run in (("table", table), ("cost", cost)):
        if arguments.part in (name, "all"):
            run(cases)
            print()


if __name__ == "__main__":
    main()

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
colors only, at realism 0. Phase retrieval is the best of 4 runs by its data term.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import PHOTOS, Results, Row, Table, drawn, parser, photo, run_tables, weak_operators
from torch import Tensor
from torch.nn.functional import avg_pool2d

from reddiff import Gaussian, Problem, solve
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
    Gamma,
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
from reddiff.solvers import NoiseAwareREDDiff

NOISE = 0.05
SIDE, SMALL, LARGE = 128, 24, 256
FIELDS, DRAWS = 4, 40
WEAK = 10  # the first cases, which nearly leave x as it is
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
    """A gray picture, and a small one in color."""
    return stack([grayscale(torch.float64), BlockMean(4)], [(1, n, n), (3, n // 4, n // 4)])


def _mri(n: int) -> Operator:
    return MultiCoilMRI(cartesian_mask((n, n), 4.0), birdcage_maps(4, (n, n)).double())


def _box(n: int) -> Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def _weak(name: str) -> Build:
    return lambda n: weak_operators((n, n), 3)[name]


CASES = [
    *[Case(name, _weak(name)) for name in weak_operators((8, 8), 3)],
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
    Case("gray, and small in color", _two),
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
    return 2 * torch.stack([photo(name, side) for name in PHOTOS]) - 1


def heads(side: int) -> Tensor:
    """(3, 2, side, side): real parts in [0, 1], imaginary parts 0."""
    slices = torch.from_numpy(np.load(HEAD)["slices"][[14, 28, 42]]).float()[:, None] / 223
    slices = avg_pool2d(slices, slices.shape[-1] // side)
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


def on_pictures(case: Case, prior: Prior, side: int, steps: int) -> Row:
    """PSNR of the initial estimate and of the result, the residual, and seconds."""
    x, solver = photos(side), NoiseAwareREDDiff.for_prior(prior, steps)
    if case.channels == 2:
        prior = GaussianRandomField(-2.6, std=0.2, channels=2, dtype=torch.float32)
        x, solver = heads(side), NoiseAwareREDDiff.default(steps, realism=0.0)
    operator, sigma = make(case, side, x)
    problem = Problem.simulate(x, operator, Gaussian(sigma))
    found = solve(problem, prior, solver, runs=case.runs)
    ratio = problem.residual_ratio(found.best)
    return {
        "before": psnr(known(problem.initial_estimate(), x, case), x),
        "after": psnr(known(found.best, x, case), x),
        "residual": [float(ratio.min()), float(ratio.max())],
    }


def against_exact(case: Case, side: int, draws: int) -> Row:
    """The distance to the exact posterior mean, the PSNR it costs, and the residuals of both."""
    prior = GaussianRandomField(-2.2, std=0.5, channels=case.channels)
    x = drawn(prior, FIELDS, (case.channels, side, side), seed=7)
    operator, sigma = make(case, side, x)
    if not isinstance(operator, LinearOperator):
        return {"distance": None}
    problem = Problem.simulate(x, operator, Gaussian(sigma))
    posterior = prior.posterior(problem)
    mean = posterior.mean
    spread = (posterior.sample(draws) - mean[:, None]).square().mean().sqrt()
    found = solve(problem, prior, NoiseAwareREDDiff.default(50, realism=0.0)).x
    return {
        "distance": float((found - mean).square().mean().sqrt() / spread),
        "lost": psnr(mean, x) - psnr(found, x),
        "residuals": [float(problem.residual_ratio(v).mean()) for v in (found, mean)],
    }


def quality(results: Results, arguments: argparse.Namespace) -> None:
    """The first table."""
    columns = ("guess, dB", "result, dB", "residual", "s")
    printed = Table("operator", *columns, "off the mean", "dB lost", "residuals")
    prior = photo_prior()
    side, steps = (32, 3) if arguments.quick else (SIDE, 50)
    small, draws = (16, 2) if arguments.quick else (SMALL, DRAWS)
    exact, pictures = {}, {}
    for case in chosen(arguments):
        picture = results.cell(
            partial(on_pictures, case, prior, side, steps),
            table="pictures",
            operator=case.name,
            side=side,
            steps=steps,
        )
        row = results.cell(
            partial(against_exact, case, small, draws),
            table="exact",
            operator=case.name,
            side=small,
        )
        low, high = picture["residual"]
        cells = [f"{picture['before']:.2f}", f"{picture['after']:.2f}", f"{low:.2f} to {high:.2f}"]
        cells.append(f"{picture['seconds']:.0f}")
        if row["distance"] is not None:
            found, mean = row["residuals"]
            cells += [f"{row['distance']:.3f}", f"{row['lost']:.2f}", f"{found:.2f} / {mean:.2f}"]
            exact[case.name] = row["distance"]
        pictures[case.name] = picture["after"]
        printed.row(case.name, *cells, *[""] * (7 - len(cells)))
    print()
    worst = max(exact, key=lambda name: exact[name])
    results.expect(f"largest distance to the exact mean ({worst})", exact[worst], most=0.5)
    pairs = [(n, f"{n}, a function") for n in pictures if f"{n}, a function" in pictures]
    apart = max((abs(pictures[a] - pictures[b]) for a, b in pairs), default=0.0)
    results.expect("a function of x in place of its class, dB", apart, most=1.0)


def seconds_of(function: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after two."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times[2:])


@torch.no_grad()
def cost_of(case: Case, x: Tensor, repeats: int) -> Row:
    """Seconds of one application of A and of its adjoint."""
    v = x if case.channels == 3 else x[:, :2].contiguous()
    operator = case.build(x.shape[-1]).to(v)
    y = operator(v)
    cells = {"forward": seconds_of(partial(operator, v), repeats)}
    if isinstance(operator, LinearOperator):
        cells["adjoint"] = seconds_of(partial(operator.adjoint, y), repeats)
    return cells


@torch.no_grad()
def cost(results: Results, arguments: argparse.Namespace) -> None:
    """The second table."""
    side, repeats = (64, 1) if arguments.quick else (LARGE, 15)
    prior, x = photo_prior(), photos(side)[:1]
    bare = seconds_of(lambda: prior(x, 0.3), repeats)
    print(f"One evaluation of photo: {1000 * bare:.0f} ms, {torch.get_num_threads()} threads.\n")
    printed = Table("operator", "A, ms", "A, % of an evaluation", "A^T, %")
    for case in chosen(arguments):
        key = {"operator": case.name, "side": side}
        row = results.cell(partial(cost_of, case, x, repeats), table="cost", **key)
        shares = [f"{100 * row[k] / bare:.1f}" if k in row else "" for k in ("forward", "adjoint")]
        printed.row(case.name, f"{1000 * row['forward']:.1f}", *shares)
    print()


def chosen(arguments: argparse.Namespace) -> list[Case]:
    """The cases whose names hold one of the words; with `--quick` a sixth of the strong ones."""
    cases = [*CASES[:WEAK], *CASES[WEAK::6]] if arguments.quick else CASES
    return [c for c in cases if any(word in c.name for word in arguments.only)]


TABLES = {"table": quality, "cost": cost}


def main() -> int:
    options = parser(__doc__, TABLES, threads=torch.get_num_threads())
    options.add_argument("--only", nargs="+", default=[""], help="words in the names of operators")
    return run_tables("operators", TABLES, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())

"""The solvers of `peers.py`: ours, and those of deepinv and azula with their own settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import bridges
import torch
from azula import guidance
from azula.linalg.covariance import IsotropicCovariance
from azula.sample import DDPMSampler, Sampler
from common import random_mask
from torch import Tensor

from deepinv import optim, sampling
from deepinv import physics as dp
from reddiff import Gaussian, Keys, Problem, from_deepinv, solve
from reddiff.operators import gaussian_psf
from reddiff.priors import Prior
from reddiff.random import Rng
from reddiff.schedules import Schedule, even, vp_within
from reddiff.solvers import DDRM, MMPS, DiffPIR, PiGDM
from reddiff.solvers.base import Solver
from reddiff.solvers.base_sampler import Diffused
from reddiff.solvers.catalogue import METHODS
from reddiff.solvers.steps.spread import PowerLaw
from reddiff.units import to_pixels

SIGMA, SEED = 0.05, 0  # sigma_y of pixels in [0, 1]


@dataclass(frozen=True, eq=False)
class Cell:
    """One task on all pictures: what deepinv takes, and what ours takes.

    Arguments:
        prior: Of x in [-1, 1].
        truth: `(b, 3, h, w)` in [0, 1].
        physics: deepinv's.
        y: The measurement in its units.
        problem: The same for x in [-1, 1].
    """

    prior: Prior
    truth: Tensor
    physics: Any
    y: Tensor
    problem: Problem

    @classmethod
    def of(cls, task: str, prior: Prior, truth: Tensor) -> Cell:
        physics = make_physics(task, truth)
        clean = physics.A(truth)
        y = clean + SIGMA * Keys(SEED, tuple(range(len(truth)))).at(0).randn_like(clean)
        if task == "mask":
            y = y * physics.mask
        return cls(prior, truth, physics, y, from_deepinv(y, physics))


def make_physics(task: str, truth: Tensor) -> Any:
    shape, noise = tuple(truth.shape[1:]), dp.GaussianNoise(SIGMA)
    if task == "mask":
        mask = random_mask(shape[-2:], missing=0.7, seed=SEED).mask.float()
        return dp.Inpainting(shape, mask.expand(shape).clone(), noise_model=noise)
    if task == "blur":
        return dp.BlurFFT(shape, gaussian_psf(1.6)[None, None].float(), noise_model=noise)
    box = torch.full((1, 1, 4, 4), 1 / 16)
    return dp.Downsampling(shape, box, 4, padding="circular", noise_model=noise)


# ----------------------------------------------------------------------------------------- methods


@dataclass(frozen=True)
class Run:
    """What a method found, for x in [0, 1], and what it cost for each picture."""

    x: Tensor
    evaluations: int
    vjps: int


Method = Callable[[Cell], Run]


def ours(make: Callable[[Cell], Solver[Any]]) -> Method:
    def run(cell: Cell) -> Run:
        found = solve(cell.problem, cell.prior, make(cell), seed=SEED, progress=False)
        return Run(to_pixels(found.x), found.cost.evaluations[0], found.cost.vjps[0])

    return run


def without_noise(make: Callable[[Cell], Solver[Any]]) -> Method:
    """Of ours, told that y has no noise."""

    def run(cell: Cell) -> Run:
        p = cell.problem
        return ours(make)(replace(cell, problem=Problem(p.y, p.operator, Gaussian(0.0))))

    return run


def named(name: str, steps: int) -> Method:
    """A method of the catalogue, with the settings that the command line has."""
    return ours(lambda cell: METHODS[name].make(cell.prior, cell.problem, steps))


def theirs(make: Callable[[Cell, Any], Any]) -> Method:
    """A reconstructor of deepinv, from a cell and the prior as a denoiser."""

    def run(cell: Cell) -> Run:
        denoiser = bridges.Denoiser(cell.prior)
        torch.manual_seed(SEED)
        with torch.no_grad():
            x = make(cell, denoiser)(cell.y.clone(), cell.physics)
        return Run(x.float(), denoiser.evaluations, denoiser.vjps)

    return run


def deepinv_diffusion(steps: int, kind: str) -> Method:
    """A posterior sampler by their SDE, from the highest level that the prior is good for."""

    def make(cell: Cell, denoiser: Any) -> Any:
        sde = sampling.VariancePreservingDiffusion(alpha=1.0)
        times = torch.linspace(1, 0, 10001, dtype=torch.float64)
        first = float(times[sde.sigma_t(times) <= cell.prior.sigma_max][0])
        times = torch.linspace(first, 0, steps + 1, dtype=torch.float64)
        solver = sampling.sde_solver.DDPMSolver(timesteps=times)
        if kind == "DPS":
            return sampling.DPS(denoiser, solver=solver)
        return sampling.PosteriorDiffusion(getattr(sampling, kind)(), denoiser, sde, solver)

    return theirs(make)


def deepinv_ddrm(steps: int) -> Method:
    """Their levels: evenly from 1 to 0, the last of which is no evaluation of ours."""

    def make(cell: Cell, denoiser: Any) -> Any:
        sigmas = [float(s) for s in torch.linspace(1, 0, steps + 1)]
        return sampling.DDRM(denoiser, sigmas=sigmas)

    return theirs(make)


def deepinv_diffpir(steps: int, **given: float) -> Method:
    return theirs(
        lambda _, denoiser: sampling.DiffPIR(
            denoiser, optim.L2(), sigma=SIGMA, max_iter=steps, **given
        )
    )


def deepinv_dpir(cell: Cell, denoiser: Any) -> Any:
    return optim.DPIR(SIGMA, denoiser)


def deepinv_admm(cell: Cell, denoiser: Any) -> Any:
    """Their ADMM at the levels of ours: it has no default for a denoiser's."""
    schedule = METHODS["pnp-admm"].make(cell.prior, cell.problem, 30).schedule
    s = (schedule.levels[:-1] / 2).tolist()
    return optim.ADMM(
        optim.L2(),
        optim.PnP(denoiser),
        stepsize=[v**2 / SIGMA**2 for v in s],
        g_param=s,
        max_iter=len(s),
    )


def azula(
    make: Callable[[Any, Tensor, Callable[[Tensor], Tensor], Cell], Any],
    schedule: Callable[[Prior], Schedule],
) -> Method:
    """A sampler of azula, or a denoiser for its DDPM sampler, on levels of ours."""

    def run(cell: Cell) -> Run:
        shape, levels = cell.problem.x_shape, schedule(cell.prior)

        def forward(x: Tensor) -> Tensor:
            return cell.physics.A(x.view(-1, *shape)).flatten(1)  # linear: the same in any units

        denoiser = bridges.AzulaDenoiser(cell.prior, bridges.Levels(levels), shape)
        made = make(denoiser, cell.problem.y.flatten(1), forward, cell)
        if not isinstance(made, Sampler):
            made = DDPMSampler(made, steps=len(levels), silent=True)
        torch.manual_seed(SEED)
        x = made(made.init(cell.truth.flatten(1).shape, dtype=torch.float32))
        return Run(to_pixels(x.view(-1, *shape)), denoiser.evaluations, denoiser.vjps)

    return run


def vp_levels(steps: int) -> Callable[[Prior], Schedule]:
    return lambda prior: vp_within(steps).within(prior.sigma_min, prior.sigma_max)


def azula_pgdm(steps: int) -> Method:
    """With A^+; the noise of y is ignored."""

    def make(denoiser: Any, y: Tensor, forward: Any, cell: Cell) -> Any:
        shape = tuple(cell.problem.y.shape[1:])

        def back(v: Tensor) -> Tensor:
            return cell.problem.linear.pinv(v.view(-1, *shape)).flatten(1)

        return guidance.PGDMSampler(denoiser, y, forward, back, steps=steps, silent=True)

    return azula(make, vp_levels(steps))


def azula_guided(name: str, steps: int) -> Method:
    """A guided denoiser of azula with its defaults, on the levels of our MMPS."""
    variance = (2 * SIGMA) ** 2

    def make(denoiser: Any, y: Tensor, forward: Any, cell: Cell) -> Any:
        kind = getattr(guidance, name)
        if name == "DiffPIRDenoiser":
            return kind(denoiser, y, forward, variance)
        noise = IsotropicCovariance(variance)
        if name == "MMPSDenoiser":
            return kind(denoiser, y, forward, noise)
        assumed = bridges.Fixed(PowerLaw().eigen(cell.truth), cell.problem.x_shape)
        return kind(denoiser, y, forward, noise, assumed)

    return azula(make, lambda prior: MMPS.paper(steps, prior).schedule)


@dataclass(frozen=True)
class QuietDDRM(DDRM):
    """DDRM with noise of half the variance, as deepinv draws it."""

    def init(self, problem: Problem, prior: Prior, rng: Rng) -> Diffused:
        return super().init(problem, prior, Quiet(rng))

    def step(
        self, state: Diffused, problem: Problem, prior: Prior, k: Tensor, rng: Rng
    ) -> Diffused:
        return super().step(state, problem, prior, k, Quiet(rng))


class Quiet(Rng):
    """Half the variance of another source."""

    def __init__(self, rng: Rng) -> None:
        super().__init__(())
        self.rng = rng

    def randn_like(self, like: Tensor) -> Tensor:
        return self.rng.randn_like(like) / 2**0.5


def quiet_ddrm(steps: int) -> Method:
    """Ours with the published levels and their noise."""

    def make(cell: Cell) -> Solver[Any]:
        made = DDRM.paper(steps, cell.prior)
        return QuietDDRM(made.schedule, made.eta, made.eta_b, start=made.start)

    return ours(make)


def from_our_start(make: Callable[[Cell, Any], Any], name: str) -> Method:
    """A splitting of deepinv from where that of ours starts, its dual variable at 0."""

    def started(cell: Cell, denoiser: Any) -> Any:
        start = METHODS[name].make(cell.prior, cell.problem, 8).start(cell.problem, Quiet(Rng(())))
        x = to_pixels(start)
        return lambda y, physics: make(cell, denoiser)(y, physics, init=(x, torch.zeros_like(x)))

    return theirs(started)


GUIDED = 20  # evaluations of methods that differentiate through the network, and of JFPS
LATE = 50  # evaluations of DiffPIR


def solvers() -> dict[tuple[str, str], Method]:
    """Every row of `defaults`: (method and evaluations, library).

    DPS, for one picture, and TMPD of azula are left out: their states are ours to rounding.
    """
    n, m = GUIDED, LATE
    return {
        ("default 50", "reddiff"): named("noise-aware", 50),
        ("DPIR 8", "reddiff"): named("pnp-hqs", 8),
        ("DPIR 8", "deepinv"): theirs(deepinv_dpir),
        ("ADMM 30", "reddiff"): named("pnp-admm", 30),
        ("ADMM 30", "deepinv"): theirs(deepinv_admm),
        ("DDRM 20", "reddiff"): named("ddrm", 20),
        ("DDRM 20", "deepinv"): deepinv_ddrm(20),
        (f"DiffPIR {m}", "reddiff"): named("diffpir", m),
        (f"DiffPIR {m}", "deepinv"): deepinv_diffpir(m),
        (f"DiffPIR {m}", "azula"): azula_guided("DiffPIRDenoiser", m),
        (f"JFPS {n}", "reddiff"): named("jfps", n),
        (f"JFPS {n}", "azula"): azula_guided("JFPSDenoiser", n),
        (f"MMPS {n}", "reddiff"): named("mmps", n),
        (f"MMPS {n}", "deepinv"): deepinv_diffusion(n, "MomentMatchingDataFidelity"),
        (f"MMPS {n}", "azula"): azula_guided("MMPSDenoiser", n),
        (f"TMPD {n}", "reddiff"): named("tmpd", n),
        (f"PiGDM {n}", "reddiff"): named("pigdm", n),
        (f"PiGDM {n}", "deepinv"): deepinv_diffusion(n, "PiGDMDataFidelity"),
        (f"PiGDM {n}", "azula"): azula_pgdm(n),
        (f"DPS {n}", "reddiff"): named("dps", n),
        (f"DPS {n}", "deepinv"): deepinv_diffusion(n, "DPS"),
    }


def causes() -> dict[tuple[str, str], Method]:
    """Every row of `causes`: (method and evaluations, what is changed)."""
    late = f"DiffPIR {LATE}"

    def changed(lam: float, zeta: float) -> Method:
        return ours(lambda cell: DiffPIR.paper(LATE, cell.prior, lam=lam, zeta=zeta))

    guided = f"PiGDM {GUIDED}"
    shown = ("DPIR 8", "ADMM 30", "DDRM 20", late, guided)
    same = {k: v for k, v in solvers().items() if k[0] in shown}
    return same | {
        ("DPIR 8", "deepinv from our start"): from_our_start(deepinv_dpir, "pnp-hqs"),
        ("ADMM 30", "deepinv from our start"): from_our_start(deepinv_admm, "pnp-admm"),
        (late, "reddiff, lambda 14, zeta 1"): changed(14.0, 1.0),
        (late, "reddiff, lambda 14, zeta 0.1"): changed(14.0, 0.1),
        (late, "deepinv, lambda 0.5, zeta 1"): deepinv_diffpir(LATE, lambda_=0.5, zeta=1.0),
        (guided, "reddiff, eta 0"): ours(
            lambda cell: replace(PiGDM.paper(GUIDED, cell.prior), eta=0.0)
        ),
        (guided, "reddiff, eta 0, sigma_y 0"): without_noise(
            lambda cell: replace(PiGDM.paper(GUIDED, cell.prior), eta=0.0)
        ),
        (guided, "reddiff, even levels"): ours(lambda _: PiGDM(even(GUIDED, 2 * SIGMA, 2.0))),
        ("DDRM 20", "reddiff, published levels"): ours(lambda c: DDRM.paper(20, c.prior)),
        ("DDRM 20", "reddiff, published levels, noise / sqrt 2"): quiet_ddrm(20),
        ("DDRM 100", "reddiff"): named("ddrm", 100),
        ("DDRM 100", "deepinv"): deepinv_ddrm(100),
    }

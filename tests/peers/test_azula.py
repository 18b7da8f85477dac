"""The guided samplers of azula beside ours, on one prior and y, with the same noise.

Where azula departs from the paper, ours departs with it in a subclass here, and agrees again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import azula.guidance as peer
import azula.sample
import pytest
import torch
from azula.linalg.covariance import IsotropicCovariance
from bridges import AzulaDenoiser, Fixed, Levels
from setting import FIELD, SHAPE, SIGMA, apart, measured, of_photo, operators, ours, started
from torch import Tensor

from reddiff import Gaussian, Problem, from_matrix
from reddiff.lanes import per_lane
from reddiff.priors import Prior, photo_prior
from reddiff.schedules import karras, vp
from reddiff.solvers import DPS, JFPS, MMPS, TMPD, DiffPIR, PiGDM
from reddiff.solvers.base_sampler import arrive, ddim
from reddiff.solvers.steps.proximal import proximal_map
from reddiff.solvers.steps.spread import PowerLaw

EXACT = 1e-10  # largest relative difference of a state of any step, in double precision
LIMIT = 2e-5  # of ours without noise, which takes sigma_y = 0.001 of the spread of A x
SOLVED = 1e-4  # where ours solves a system to that residual
LEVELS = vp(12)
FINE = karras(12, 0.02, 20.0)
Make = Callable[[Any, Tensor, Callable[[Tensor], Tensor]], Any]
each = pytest.mark.parametrize("name", ["mask", "blur", "sr"])


def flat(problem: Problem) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """y `(b, m)`, and A of flat x."""

    def forward(x: Tensor) -> Tensor:
        return problem.operator(x.view(-1, *problem.x_shape)).flatten(1)

    return problem.y.flatten(1), forward


def theirs(sampler: Any, start: Tensor, seed: int = 0) -> list[Tensor]:
    """Their states x_t / alpha_t after every step."""
    torch.manual_seed(seed)
    x, found = start, []
    for t, s in sampler.timesteps.unfold(0, 2, 1):
        x = sampler.step(x, t, s)
        found.append(x / sampler.denoiser.schedule(s)[0])
    return found


def settings(denoiser: Any) -> dict[str, Any]:
    """Of a sampler of theirs."""
    steps = len(denoiser.schedule.table) - 1
    return {"steps": steps, "silent": True, "dtype": torch.float64}


def both(make: Make, solver: Any, problem: Problem, prior: Prior = FIELD) -> float:
    """The largest difference of any state; `make` gives a sampler, or a denoiser for DDPM."""
    schedule = Levels(solver.schedule)
    denoiser = AzulaDenoiser(prior, schedule, problem.x_shape)
    y, forward = flat(problem)
    made = make(denoiser, y, forward)
    if not isinstance(made, azula.sample.Sampler):
        made = azula.sample.DDPMSampler(made, **settings(denoiser))
    start = started(solver.schedule, problem)
    alpha = schedule(torch.ones((), dtype=torch.float64))[0]
    got = theirs(made, alpha * start.flatten(1))
    wanted = ours(solver, problem, prior, start)
    return max(apart(a, b) for a, b in zip(got, wanted, strict=True))


# ---------------------------------------------------------------------------------------------- DPS


def dps(denoiser: Any, y: Tensor, forward: Any) -> Any:
    return peer.DPSSampler(denoiser, y, forward, zeta=0.7, **settings(denoiser))


@each
def test_dps(name: str) -> None:
    """For one picture the same, Algorithm 1 with DDPM, in VP variables."""
    problem = measured(operators()[name], b=1)
    assert both(dps, DPS(LEVELS, zeta=0.7), problem) < EXACT


def test_dps_takes_the_norm_over_the_batch() -> None:
    """Theirs divides every lane by the norm of all residuals: b pictures get less guidance."""

    @dataclass(frozen=True)
    class OverBatch(DPS):
        def step(self, state: Any, problem: Any, prior: Any, k: Any, rng: Any) -> Any:
            s, s_next = self.levels(k, state.x)
            x_0, pullback = self.denoise_vjp(prior, state.x, s)
            residual = problem.residual(x_0)
            _, pull = problem.operator.vjp(x_0)
            grad = -pullback(pull(residual / residual.norm()))
            zeta = per_lane(self.zeta * ((1 + s**2) * (1 + s_next**2)).sqrt(), grad)
            x = ddim(state.x, x_0, s, s_next, 1.0, rng)
            return arrive(x - zeta * grad, x_0, s_next)

    problem = measured(operators()["mask"], b=2)
    assert both(dps, DPS(LEVELS, zeta=0.7), problem) > 0.01
    assert both(dps, OverBatch(LEVELS, zeta=0.7), problem) < EXACT


# -------------------------------------------------------------------------------------------- PiGDM


def pgdm(problem: Problem, eta: float) -> Make:
    """Their sampler with A^+, from the dense A."""
    eye = torch.eye(16, dtype=torch.float64)
    inverse = torch.linalg.pinv(problem.operator(eye.view(16, *SHAPE)).flatten(1).T)

    def make(denoiser: Any, y: Tensor, forward: Any) -> Any:
        return peer.PGDMSampler(
            denoiser, y, forward, lambda v: v @ inverse.T, eta=eta, **settings(denoiser)
        )

    return make


@each
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_pgdm_without_noise(name: str, eta: float) -> None:
    """Algorithm 1 with sigma_y = 0."""
    problem = measured(operators()[name], sigma=0.0)
    assert both(pgdm(problem, eta), PiGDM(LEVELS, eta=eta), problem) < LIMIT


def test_pgdm_scales_the_variance_by_eta() -> None:
    """Their eta is the square of DDIM's (Equation 16 of Song et al. has eta^2)."""
    problem = measured(operators()["mask"], sigma=0.0)
    make = pgdm(problem, 0.25)
    assert both(make, PiGDM(LEVELS, eta=0.25), problem) > 0.1
    assert both(make, PiGDM(LEVELS, eta=0.5), problem) < LIMIT


def test_pgdm_ignores_noise() -> None:
    """Of a noisy y they solve the noiseless problem: Equation 8 with sigma_y / r_t = 0."""
    problem = measured(operators()["mask"])
    make = pgdm(problem, 1.0)
    silent = Problem(problem.y, problem.operator, Gaussian(0.0))
    assert both(make, PiGDM(LEVELS, eta=1.0), problem) > 0.1
    assert both(make, PiGDM(LEVELS, eta=1.0), silent) < LIMIT


# --------------------------------------------------------------------------------------------- MMPS


def mmps(denoiser: Any, y: Tensor, forward: Any, iterations: int = 1) -> Any:
    noise = IsotropicCovariance(SIGMA**2)
    return peer.MMPSDenoiser(denoiser, y, forward, noise, solver="cg", iterations=iterations)


@each
@pytest.mark.parametrize("iterations", [1, 3])
def test_mmps(name: str, iterations: int) -> None:
    """The same, with the same number of conjugate gradient steps."""
    solver = MMPS(FINE, iterations=iterations, eta=1.0)
    make = partial(mmps, iterations=iterations)
    assert both(make, solver, measured(operators()[name])) < EXACT


def test_mmps_by_default_takes_one_gmres_step() -> None:
    """It agrees where the system is solved by as many steps as y has entries, and not before."""

    def make(denoiser: Any, y: Tensor, forward: Any) -> Any:
        return peer.MMPSDenoiser(denoiser, y, forward, IsotropicCovariance(SIGMA**2), **given)

    problem = measured(operators()["sr"])
    given: dict[str, int] = {}
    assert both(make, MMPS(FINE, iterations=1, eta=1.0), problem) > 1e-3
    given = {"iterations": 4}
    assert both(make, MMPS(FINE, iterations=4, eta=1.0), problem) < EXACT


# --------------------------------------------------------------------------------------------- TMPD


def tmpd(denoiser: Any, y: Tensor, forward: Any) -> Any:
    return peer.TMPDenoiser(denoiser, y, forward, SIGMA**2)


@each
def test_tmpd(name: str) -> None:
    """The same as `paper`, whose row sums are none of them negative here."""
    problem = measured(operators()[name])
    assert both(tmpd, TMPD(FINE, shorten=False), problem) < EXACT


def test_tmpd_keeps_negative_row_sums() -> None:
    """For an A of both signs ours takes 0 in their place; theirs, as published, the sums."""

    @dataclass(frozen=True)
    class Signed(TMPD):
        def guided(self, problem: Any, prior: Any, x: Any, s: Any) -> Tensor:
            x_0, pullback = prior.vjp(x, s)
            near = problem.operator.linearise(x_0)
            sums = near.push(per_lane(s**2, x) * pullback(near.pull(torch.ones_like(problem.y))))
            w = (problem.y - near.a) / (SIGMA**2 + sums)
            return x_0 + per_lane(s**2, x) * pullback(near.pull(w))

    rows = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 4
    problem = measured(from_matrix(rows, x_shape=SHAPE))
    assert both(tmpd, TMPD(FINE, shorten=False), problem) > 0.1
    assert both(tmpd, Signed(FINE, shorten=False), problem) < 1e-8


# ------------------------------------------------------------------------------------------ DiffPIR


@dataclass(frozen=True)
class Ancestral(DiffPIR):
    """Their noise: that of DDPM, of which the share 1 - (s' / s)^2 is fresh, and not zeta."""

    def step(self, state: Any, problem: Any, prior: Any, k: Any, rng: Any) -> Any:
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        x_0 = proximal_map(problem, x_0, s / self.lam**0.5).x
        return arrive(ddim(state.x, x_0, s, s_next, 1.0, rng), x_0, s_next)


def diffpir(denoiser: Any, y: Tensor, forward: Any) -> Any:
    return peer.DiffPIRDenoiser(denoiser, y, forward, SIGMA**2, lmbda=2.0, iterations=16)


@each
def test_diffpir(name: str) -> None:
    """Equation 13 solved; 14 and 15 with the fresh noise of DDPM in the place of zeta."""
    problem = measured(operators()[name])
    assert both(diffpir, DiffPIR(FINE, lam=2.0, zeta=0.3), problem) > 0.05
    assert both(diffpir, Ancestral(FINE, lam=2.0), problem) < EXACT


def test_diffpir_by_default_takes_one_gmres_step() -> None:
    """One step does not solve Equation 13 of a blur."""

    def make(denoiser: Any, y: Tensor, forward: Any) -> Any:
        return peer.DiffPIRDenoiser(denoiser, y, forward, SIGMA**2, lmbda=2.0)

    problem = measured(operators()["blur"])
    assert both(make, Ancestral(FINE, lam=2.0), problem) > 1e-2


# --------------------------------------------------------------------------------------------- JFPS


@each
def test_jfps(name: str) -> None:
    """The same, with the same assumed covariance and conjugate gradients that converge."""
    like = torch.empty(1, *SHAPE, dtype=torch.float64)
    spread = PowerLaw()

    def make(denoiser: Any, y: Tensor, forward: Any) -> Any:
        assumed = Fixed(spread.eigen(like), SHAPE)
        noise = IsotropicCovariance(SIGMA**2)
        return peer.JFPSDenoiser(denoiser, y, forward, noise, assumed, iterations=16)

    assert both(make, JFPS(FINE, spread), measured(operators()[name])) < SOLVED


# ------------------------------------------------------------------------------- the photo network

FEW = vp(1000).restrict(0.002, 80.0).subsample(4)


@pytest.mark.parametrize(
    ("make", "solver"),
    [
        (dps, DPS(FEW, zeta=0.7)),
        (mmps, MMPS(FEW, iterations=1, eta=1.0)),
        (tmpd, TMPD(FEW, shorten=False)),
        (diffpir, Ancestral(FEW, lam=2.0)),
    ],
    ids=["dps", "mmps", "tmpd", "diffpir"],
)
def test_on_the_photo_network(make: Make, solver: Any) -> None:
    """In single precision, on a masked photo."""
    assert both(make, solver, of_photo(operators((32, 32))["mask"]), photo_prior()) < 1e-4

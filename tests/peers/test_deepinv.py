"""The solvers of deepinv beside ours, on one prior and y, with the same noise.

deepinv works on x in [0, 1] and calls denoisers in single precision, so that states agree to
about 1e-6. Where it departs from the paper, ours departs with it in a subclass here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from bridges import Denoiser, Global
from common import photo
from deepinv.optim.data_fidelity import L2
from deepinv.sampling import noisy_datafidelity
from setting import FIELD, SHAPE, apart, ours, started
from torch import Tensor

import deepinv as dinv
import reddiff
from deepinv import physics as dp
from reddiff import Problem, from_deepinv
from reddiff.lanes import per_lane
from reddiff.operators import gaussian_psf
from reddiff.priors import Prior, photo_prior
from reddiff.schedules import Schedule, constant, geometric
from reddiff.solvers import DDRM, DPS, MMPS, RED, DiffPIR, PiGDM, PnPADMM, PnPHQS
from reddiff.solvers.base_sampler import arrive, ddim
from reddiff.solvers.ddrm import restored
from reddiff.solvers.inits import Given
from reddiff.solvers.steps.proximal import proximal_map
from reddiff.spectral_view import SpectralView

SIGMA = 0.05  # of pixels in [0, 1]
CLOSE = 2e-5  # largest relative difference of states: single precision in the denoiser's input
F64 = torch.float64
each = pytest.mark.parametrize("name", ["mask", "blur"])


def physics_of(name: str) -> Any:
    noise = dp.GaussianNoise(SIGMA)
    if name == "mask":
        bits = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)) > 0.5
        return dp.Inpainting(SHAPE, bits.to(F64), noise_model=noise)
    psf = gaussian_psf(0.6, 1)[None, None].double()
    return dp.BlurFFT(SHAPE, psf, noise_model=noise)


def case(name: str) -> tuple[Any, Tensor, Problem]:
    """A physics, y of draws of the prior in [0, 1], and the problem for x in [-1, 1]."""
    physics = physics_of(name)
    x = FIELD.sample(torch.empty(2, *SHAPE, dtype=F64), reddiff.Keys(0, (0, 1)).at(0))
    noise = reddiff.Keys(1, (0, 1)).at(0).randn_like(x)
    y = physics.A((x + 1) / 2)
    y = y + SIGMA * noise * (physics.mask if name == "mask" else 1)
    return physics, y, from_deepinv(y, physics)


# ---------------------------------------------------------------------------------------------- SDE


def vp_sde(steps: int) -> tuple[Schedule, Tensor]:
    """Their continuous VP levels at equal times from 1 to 0, and the times."""
    times = torch.linspace(1, 0, steps + 1, dtype=F64)
    sde = dinv.sampling.VariancePreservingDiffusion(alpha=1.0)
    return Schedule(alpha=sde.scale_t(times), sigma=sde.scale_t(times) * sde.sigma_t(times)), times


def posterior_diffusion(fidelity: Any, times: Tensor) -> Any:
    sde = dinv.sampling.VariancePreservingDiffusion(alpha=1.0)
    solver = dinv.sampling.sde_solver.DDPMSolver(timesteps=times)
    return dinv.sampling.PosteriorDiffusion(fidelity, Denoiser(FIELD), sde, solver)


def trajectory(model: Any, y: Tensor, physics: Any, start: Tensor, schedule: Schedule) -> list[Any]:
    """Their states x_t / alpha_t after every step."""
    torch.manual_seed(0)
    _, found = model(y, physics, x_init=schedule.alpha[0] * start, get_trajectory=True)
    states = 2 * found[1:] - 1
    return [x / a for x, a in zip(states, schedule.alpha[1:], strict=True)]


def furthest(a: list[Tensor], b: list[Tensor]) -> float:
    return max(apart(x, y) for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class ScaledDPS(DPS):
    """Their DPS: the gradient enters the score, so that its step falls with the level.

    Their `score` adds `weight` times the gradient of the norm in pixels, and a DDPM step multiplies
    a score by s^2 - s'^2. The paper (Algorithm 1) subtracts zeta times the gradient itself.
    """

    def step(self, state: Any, problem: Any, prior: Any, k: Any, rng: Any) -> Any:
        s, s_next = self.levels(k, state.x)
        x_0, pullback = self.denoise_vjp(prior, state.x, s)
        cut = x_0.clamp(-3, 1)  # [-1, 1] as they cut it, of x in [0, 1]
        _, pull = problem.operator.vjp(cut)
        r = problem.residual(cut)
        back = pull(-r / per_lane(r.flatten(1).norm(dim=1), r)) * (x_0 == cut)
        grad = pullback(back)
        x = ddim(state.x, cut, s, s_next, 1.0, rng)
        return arrive(x - per_lane(self.zeta * (s**2 - s_next**2) / 2, x) * grad, x_0, s_next)


@each
def test_dps_scales_its_step_by_the_noise(name: str) -> None:
    physics, y, problem = case(name)
    schedule, times = vp_sde(20)
    model = dinv.sampling.DPS(
        Denoiser(FIELD), weight=0.5, solver=dinv.sampling.sde_solver.DDPMSolver(timesteps=times)
    )
    start = started(schedule, problem)
    got = trajectory(model, y, physics, start, schedule)
    wanted = ours(ScaledDPS(schedule, zeta=0.5), problem, FIELD, start)
    assert furthest(got, wanted) < CLOSE
    published = ours(DPS(schedule, zeta=0.5), problem, FIELD, start)
    assert apart(got[-1], published[-1]) > 0.05


@dataclass(frozen=True)
class TweediePiGDM(PiGDM):
    """Their PiGDM: r_t of pixels, and the guidance that DDPM makes of a score.

    r_t^2 = u^2 / (1 + u^2) with u = s / 2 is the paper's (below Equation 8) for x of variance 1 in
    pixels, which is 4 here. Equation 8 as a score is multiplied by s^2 - s'^2, not by r_t^2 as in
    Algorithm 1.
    """

    def step(self, state: Any, problem: Any, prior: Any, k: Any, rng: Any) -> Any:
        s, s_next = self.levels(k, state.x)
        x_0, pullback = self.denoise_vjp(prior, state.x, s)
        spread = s / (1 + s**2 / 4).sqrt()
        guidance = pullback(proximal_map(problem, x_0, spread, tol=1e-10).x - x_0)
        size = (s**2 - s_next**2) / spread**2
        x = ddim(state.x, x_0, s, s_next, 1.0, rng) + per_lane(size, x_0) * guidance
        return arrive(x, x_0, s_next)


@each
def test_pigdm_has_r_t_of_pixels_and_a_step_of_its_own(name: str) -> None:
    physics, y, problem = case(name)
    schedule, times = vp_sde(20)
    model = posterior_diffusion(noisy_datafidelity.PiGDMDataFidelity(cg_max_iter=20), times)
    start = started(schedule, problem)
    got = trajectory(model, y, physics, start, schedule)
    wanted = ours(TweediePiGDM(schedule), problem, FIELD, start)
    assert furthest(got, wanted) < CLOSE
    published = ours(PiGDM(schedule), problem, FIELD, start)
    assert apart(got[-1], published[-1]) > 0.05


@each
def test_moment_matching_is_mmps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same equation, and the same conjugate gradients: three by default.

    They add 1e-8 to what these divide by, which shows at low levels; here they add nothing.
    """
    solve = partial(noisy_datafidelity.conjugate_gradient, eps=0.0)
    monkeypatch.setattr(noisy_datafidelity, "conjugate_gradient", solve)
    physics, y, problem = case(name)
    schedule, times = vp_sde(20)
    model = posterior_diffusion(noisy_datafidelity.MomentMatchingDataFidelity(cg_tol=0.0), times)
    start = started(schedule, problem)
    got = trajectory(model, y, physics, start, schedule)
    wanted = ours(MMPS(schedule, iterations=3, eta=1.0), problem, FIELD, start)
    assert furthest(got, wanted) < CLOSE


# --------------------------------------------------------------------------------------------- DDRM


class Coordinates(Global):
    """Noise drawn in their spectral coordinates and halved in variance, as they do."""

    def __init__(self, physics: Any) -> None:
        super().__init__()
        self.physics = physics

    def randn_like(self, like: Tensor) -> Tensor:
        z = torch.randn_like(self.physics.V_adjoint(like))
        return self.physics.V(z / 2**0.5)


@dataclass(frozen=True)
class StrictDDRM(DDRM):
    """Their DDRM: a coordinate whose singular value is at most sigma_y counts as not measured."""

    def step(self, state: Any, problem: Any, prior: Any, k: Any, rng: Any) -> Any:
        s, s_next = self.levels(k, state.x)
        x_0 = self.denoise(prior, state.x, s)
        view = self.view(problem)
        x = restored(view, state.x, x_0, s, s_next, self.eta, self.eta_b, rng)
        return arrive(x, x_0, s_next)

    def view(self, problem: Any) -> SpectralView:
        view = SpectralView.required(problem)
        seen = view.seen & (view.s > view.sigma / 2)  # sigma_y of pixels
        return replace(view, seen=seen, s=torch.where(seen, view.s, 1))


def ddrm_levels(steps: int) -> tuple[Schedule, Tensor]:
    sigmas = torch.linspace(1, 0, steps + 1, dtype=F64)
    return Schedule(alpha=torch.ones_like(sigmas), sigma=2 * sigmas), sigmas


@each
def test_ddrm_halves_the_variance_of_its_noise(name: str) -> None:
    """Equations 7 and 8, but for the noise: std times z / sqrt 2, also where z is real.

    It also starts from black, which is x = -1 here, and tells the denoiser the level of the
    equations, which is then more than there is.
    """
    physics, y, problem = case(name)
    schedule, sigmas = ddrm_levels(20)
    model = dinv.sampling.DDRM(Denoiser(FIELD), sigmas=[float(s) for s in sigmas])
    torch.manual_seed(0)
    got = 2 * model(y.clone(), physics) - 1
    black = Given(-torch.ones(1, *SHAPE, dtype=F64))
    solver = StrictDDRM(schedule, start=black)
    torch.manual_seed(0)
    wanted = final(solver, problem, Coordinates(physics))
    assert apart(got, wanted) < 2e-4  # they add 1e-6 to what they divide by
    torch.manual_seed(0)
    published = final(DDRM(schedule, start=black), problem, Global())
    assert apart(got, published) > 0.1


def final(solver: Any, problem: Problem, rng: Global, prior: Prior = FIELD) -> Tensor:
    """The estimate at the end of a run."""
    state = solver.init(problem, prior, rng)
    with torch.no_grad():
        for k in range(solver.steps):
            state = solver.step(state, problem, prior, torch.full((len(problem),), k), rng)
    return solver.estimate(state)


# ------------------------------------------------------------------------------------------ DiffPIR


@each
def test_diffpir_doubles_lambda_and_ends_noisy(name: str) -> None:
    """Their data step is Equation 13 with 2 rho_t; the last evaluation is not used.

    With rho_t of sigma_y in pixels and levels on [-1, 1], as released, lambda is that of `paper`
    (a fourth of the published one) times two.
    """
    physics, y, problem = case(name)
    steps, lam, zeta = 20, 7.0, 0.1
    model = dinv.sampling.DiffPIR(
        Denoiser(FIELD), L2(), sigma=SIGMA, max_iter=steps, zeta=zeta, lambda_=lam
    )
    torch.manual_seed(0)
    got = 2 * model(y, physics) - 1
    levels = model.reduced_alpha_cumprod.flip(0)[model.seq.long()].double()
    schedule = Schedule(alpha=(1 + levels**2).rsqrt(), sigma=levels * (1 + levels**2).rsqrt())
    torch.manual_seed(0)
    x = 2 * physics.A_adjoint(y) - 1
    n = torch.randn_like(x)
    start = x + (levels[0] ** 2 - 4 * SIGMA**2).sqrt() * n
    alpha = schedule.alpha[-1]
    solver = DiffPIR(schedule, lam / 2, zeta, clip=1.0)
    rng = Global()
    state = reddiff.solvers.base_sampler.Diffused(start, start)
    for k in range(solver.steps):
        state = solver.step(state, problem, FIELD, torch.full((len(problem),), k), rng)
    assert apart(got, alpha * state.x) < CLOSE
    clean = FIELD(state.x, float(levels[-1]))
    assert apart(got, clean) > 3e-4


# ----------------------------------------------------------------------------------- plug-and-play


def run_optim(model: Any, y: Tensor, physics: Any) -> Tensor:
    with torch.no_grad():
        return 2 * model(y, physics) - 1


@each
def test_dpir_is_hqs(name: str) -> None:
    """The same from the same start: eight levels from 49 / 255 to sigma_y, lambda .23."""
    physics, y, problem = case(name)
    theirs = run_optim(dinv.optim.DPIR(SIGMA, Denoiser(FIELD)), y, physics)
    levels = geometric(8, 2 * SIGMA, 2 * 49 / 255)
    black = Given(2 * physics.A_adjoint(y) - 1)  # their A^T y: missing pixels are black
    assert apart(theirs, final(PnPHQS(levels, start=black), problem, Global())) < CLOSE
    if name == "mask":
        assert apart(theirs, final(PnPHQS(levels), problem, Global())) > 0.5


@each
def test_admm(name: str) -> None:
    """The same from the same start, with stepsize = s^2 / lambda sigma_y^2."""
    physics, y, problem = case(name)
    levels = geometric(12, 2 * SIGMA, 0.5)
    s = levels.levels[:-1] / 2
    model = dinv.optim.ADMM(
        L2(),
        dinv.optim.PnP(Denoiser(FIELD)),
        stepsize=[float(v) for v in s**2 / SIGMA**2],
        g_param=[float(v) for v in s],
        max_iter=12,
        custom_init=lambda y, physics: (physics.A_adjoint(y), torch.zeros_like(y)),
    )
    black = Given(2 * physics.A_adjoint(y) - 1)
    solver = PnPADMM(levels, start=black)
    assert apart(run_optim(model, y, physics), final(solver, problem, Global())) < CLOSE


@each
def test_red(name: str) -> None:
    """Proximal gradient on RED with lambda gamma = 1 is the fixed-point iteration."""
    physics, y, problem = case(name)
    weight = 40.0
    gamma = 1 / (weight * (2 * SIGMA) ** 2)
    model = dinv.optim.PGD(
        L2(),
        dinv.optim.prior.RED(Denoiser(FIELD)),
        lambda_reg=1 / gamma,
        stepsize=gamma,
        g_param=0.1,
        max_iter=15,
        g_first=True,
    )
    black = Given(2 * physics.A_adjoint(y) - 1)
    solver = RED(constant(15, 0.2), weight, start=black)
    assert apart(run_optim(model, y, physics), final(solver, problem, Global())) < CLOSE


# ------------------------------------------------------------------------------- the photo network


def test_on_the_photo_network() -> None:
    """DPIR, in single precision, on a masked photo."""
    x = photo("chelsea", 32)[None]
    bits = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(3)) > 0.5
    physics = dp.Inpainting(x.shape[1:], bits.float(), noise_model=dp.GaussianNoise(SIGMA))
    torch.manual_seed(1)
    y = physics(x)
    problem, prior = from_deepinv(y, physics), photo_prior()
    theirs = run_optim(dinv.optim.DPIR(SIGMA, Denoiser(prior)), y, physics)
    black = Given(2 * physics.A_adjoint(y) - 1)
    levels = geometric(8, 2 * SIGMA, 2 * 49 / 255)
    mine = final(PnPHQS(levels, start=black), problem, Global(), prior)
    assert apart(theirs, mine) < 1e-4

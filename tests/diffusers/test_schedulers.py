"""x_0 of a prior is what the scheduler itself computes of the network's output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import diffusers
import reddiff
from conftest import unet
from reddiff.interop.diffusers.schedulers import alphas_bar

TOL = 2e-5  # of x_0, over 1 + s: the schedulers compute their tables in float32
CHAINS: list[dict[str, Any]] = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"trained_betas": [0.001 * (k + 1) for k in range(50)], "num_train_timesteps": 50},
    {"rescale_betas_zero_snr": True},
]


def noisy(seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 16, 16, generator=rng, dtype=torch.float64)


def assert_estimates(got: Tensor, wanted: Tensor, s: float) -> None:
    assert float((got - wanted).abs().max()) < TOL * (1 + s)
    assert float(wanted.std()) > 1e-3


@pytest.mark.parametrize("config", CHAINS, ids=lambda c: "-".join(map(str, c))[:30])
def test_the_chain_is_that_of_the_scheduler(config: dict[str, Any]) -> None:
    table = diffusers.DDIMScheduler(**config).alphas_cumprod.double()
    torch.testing.assert_close(alphas_bar(config), table, rtol=2e-4, atol=1e-9)


def test_the_sigmoid_chain_is_that_of_ddpm() -> None:
    config = {"beta_schedule": "sigmoid"}
    table = diffusers.DDPMScheduler(**config).alphas_cumprod.double()
    torch.testing.assert_close(alphas_bar(config), table, rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("config", CHAINS, ids=lambda c: "-".join(map(str, c))[:30])
@pytest.mark.parametrize("kind", [diffusers.DDPMScheduler, diffusers.DDIMScheduler])
def test_chains(kind: Any, config: dict[str, Any], prediction: str) -> None:
    scheduler = kind(prediction_type=prediction, clip_sample=False, **config)
    net, steps = unet(), scheduler.config.num_train_timesteps
    prior = reddiff.prior(net, schedule=scheduler)
    scheduler.set_timesteps(steps)
    x_t, table = noisy(), alphas_bar(scheduler.config).tolist()
    for t in (0, 1, steps // 3, steps - 2):
        abar = table[t]
        alpha, sigma = abar**0.5, (1 - abar) ** 0.5
        wanted = scheduler.step(net(x_t, t).sample, t, x_t).pred_original_sample
        assert_estimates(prior(x_t, sigma, alpha), wanted, sigma / alpha)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("timestep_type", ["discrete", "continuous"])
def test_euler(prediction: str, timestep_type: str) -> None:
    options = {"prediction_type": prediction, "timestep_type": timestep_type}
    scheduler = diffusers.EulerDiscreteScheduler(**options)
    net = unet()
    prior = reddiff.prior(net, schedule=scheduler)
    scheduler.set_timesteps(10)
    x = 10 * noisy()
    for t, s in list(zip(scheduler.timesteps, scheduler.sigmas, strict=False))[:-1:3]:
        scheduler._step_index = None
        out = net(scheduler.scale_model_input(x, t), t).sample
        wanted = scheduler.step(out.float(), t, x).pred_original_sample.double()
        assert_estimates(prior(x, float(s)), wanted, float(s))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
@pytest.mark.parametrize(
    "kind", [diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler]
)
def test_edm(kind: Any, sigma_data: float, prediction: str) -> None:
    scheduler = kind(sigma_data=sigma_data, prediction_type=prediction)
    net, x = unet(), noisy()
    prior = reddiff.prior(net, schedule=scheduler)
    assert (prior.sigma_min, prior.sigma_max) == (0.002, 80.0)
    for s in (0.01, 0.5, 40.0):
        noise = scheduler.precondition_noise(torch.tensor(s))
        out = net(scheduler.precondition_inputs(x, s), noise).sample
        assert_estimates(prior(x, s), scheduler.precondition_outputs(x, out, s), s)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(shift: float) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    net, x_t = unet(), noisy()
    prior = reddiff.prior(net, schedule=scheduler)
    for t in (0.1, 0.5, 0.9):
        scheduler.set_timesteps(sigmas=[t])
        scheduler._step_index = None
        (at,), (t_shifted, end) = scheduler.timesteps, scheduler.sigmas.tolist()
        assert end == 0
        wanted = scheduler.step(net(x_t, at).sample, at, x_t).prev_sample
        got = prior(x_t, t_shifted, 1 - t_shifted)
        assert_estimates(got, wanted, t_shifted / (1 - t_shifted))


def test_consistency_models() -> None:
    scheduler = diffusers.CMStochasticIterativeScheduler(clip_denoised=False)
    net, x = unet(), noisy()
    prior = reddiff.prior(net, schedule=scheduler)
    for s in (0.1, 1.0, 40.0):
        skip, factor = scheduler.get_scalings_for_boundary_condition(s)
        time = scheduler.sigma_to_t(torch.tensor([s], dtype=torch.float64).numpy())[0]
        out = net(x / (s**2 + 0.25) ** 0.5, torch.tensor(time)).sample
        assert_estimates(prior(x, s), skip * x + factor * out, s)
    torch.testing.assert_close(prior(x, prior.sigma_min), x)


def test_scores_of_pixels_from_0_to_1() -> None:
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    net = unet(time_embedding_type="fourier")
    prior = reddiff.prior(net, schedule=scheduler)
    x, s = noisy(), 3.0  # of x in [-1, 1]
    pixels = (x + 1) / 2
    level = torch.full((2,), s / 2, dtype=torch.float64)
    wanted = pixels + (s / 2) ** 2 * net(pixels, level).sample
    assert_estimates(prior(x, s), 2 * wanted - 1, s)
    assert (prior.sigma_min, prior.sigma_max) == (0.02, 100.0)

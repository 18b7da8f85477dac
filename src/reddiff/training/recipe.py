"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run.

    Arguments:
        hours: The wall-clock budget in hours, including earlier parts of the run, or None.
        steps: The budget in steps, or None.
        batch: The batch size, as the number of scenes with the same number of pixels.
        lr: The peak learning rate.
        warmup: The number of steps in which the learning rate rises.
        cooldown: The final fraction of the budget, in which the learning rate falls to zero.
        muon: Whether to use Muon; otherwise Adam alone.
        ema: The decay of the moving average of the weights, per step.
        clip: The largest norm of the gradient, relative to its running mean.
        weigh: Whether to divide the loss by its mean at each level.
        sigma_mean: The mean of log sigma.
        sigma_std: The standard deviation of log sigma.
        sigma_wide: The fraction of levels drawn log-uniformly from 0.002 to 80.
        bf16: Whether to compute in bfloat16, with autocast.
        seed: Random seed.
        device: The device of the network.
    """

    hours: float | None = None
    steps: int | None = None
    batch: int = 32
    lr: float = 2e-3
    warmup: int = 100
    cooldown: float = 1.0
    muon: bool = True
    ema: float = 0.999
    clip: float = 2.0
    weigh: bool = True
    sigma_mean: float = -0.7
    sigma_std: float = 1.2
    sigma_wide: float = 0.2
    bf16: bool = False
    seed: int = 0
    device: str = "cpu"

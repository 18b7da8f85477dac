"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Arguments:
        hours: Wall-clock budget, earlier hours of the run included; None for none.
        steps: Budget in steps; None for none.
        batch: Scenes' worth of pixels a step.
        lr: Peak learning rate.
        warmup: Steps in which it rises.
        cooldown: The last part of the budget, in which it falls to zero.
        muon: Whether Muon is used, or Adam alone.
        ema: Decay of the moving average, per step.
        clip: Largest norm of the gradient, over its running mean.
        weigh: Divide the loss by its mean at each level.
        sigma_mean: Of log sigma.
        sigma_std: Of log sigma.
        sigma_wide: The part drawn log-uniform in 0.002..80.
        bf16: Compute in bfloat16, under autocast.
        seed: Of all random numbers.
        device: Where the network is.
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

"""The loss of an EDM denoiser, and how much it counts at each noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reddiff.priors.parametric import edm_coefficients
from reddiff.training.batches import SIGMA_MAX, SIGMA_MIN


def edm_losses(net: nn.Module, x: Tensor, noise: Tensor, sigma: Tensor, autocast: bool) -> Tensor:
    """EDM's loss of each image: with its weights, the squared error of the raw network."""
    level = sigma[:, None, None, None]
    c_skip, c_out, c_in, c_noise = edm_coefficients(level)
    noisy = x + level * noise
    target = (x - c_skip * noisy) / c_out
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        raw = net(c_in * noisy, c_noise.flatten())
    return (raw.float() - target).square().mean(dim=(1, 2, 3))


class LevelMeans:
    """A running mean of the loss as a function of the noise level.

    Dividing by it makes every level count alike: where even the best denoiser has a large loss,
    as at low noise, it would otherwise outweigh the levels at which there is more to learn. EDM2
    learns this function; here it is a histogram over ln(sigma) with exponential forgetting,
    smoothed by a Gaussian of one bin.

    References:
        | Analyzing and Improving the Training Dynamics of Diffusion Models (Karras et al., 2024),
        | Section 2.2 and Appendix B.4, https://arxiv.org/abs/2312.02696

    Arguments:
        bins: The number of bins from SIGMA_MIN to SIGMA_MAX.
        decay: What is left of an observation after one more batch.
        device: Where the losses are.
    """

    def __init__(self, bins: int = 32, decay: float = 0.998, device: str = "cpu") -> None:
        self.centers = torch.linspace(math.log(SIGMA_MIN), math.log(SIGMA_MAX), bins, device=device)
        self.decay = decay
        self.sums = torch.zeros(2, bins, device=device)  # of the losses, and how many

    def update(self, sigma: Tensor, losses: Tensor) -> Tensor:
        """Take note of these losses; the mean loss at their levels, these included."""
        kernel = self._kernel(sigma)
        self.sums.mul_(self.decay).add_(torch.stack([losses, torch.ones_like(losses)]) @ kernel)
        total, count = self.sums @ kernel.T
        return total / count

    def _kernel(self, sigma: Tensor) -> Tensor:
        """How near each level is to each bin, (b, bins)."""
        spacing = self.centers[1] - self.centers[0]
        away = (sigma.log()[:, None] - self.centers) / spacing
        return (-away.square() / 2).exp()

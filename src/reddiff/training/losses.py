"""The loss of an EDM denoiser, and its weight at each noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reddiff.priors.parametric import edm_coefficients
from reddiff.training.batches import SIGMA_MAX, SIGMA_MIN


def edm_losses(net: nn.Module, x: Tensor, noise: Tensor, sigma: Tensor, autocast: bool) -> Tensor:
    """The EDM loss of each image, which is the mean squared error of the raw network."""
    level = sigma[:, None, None, None]
    c_skip, c_out, c_in, c_noise = edm_coefficients(level)
    noisy = x + level * noise
    target = (x - c_skip * noisy) / c_out
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        raw = net(c_in * noisy, c_noise.flatten())
    return (raw.float() - target).square().mean(dim=(1, 2, 3))


class LevelMeans:
    """A running mean of the loss as a function of the noise level.

    Dividing the loss by it gives all levels the same weight. Otherwise levels at which even the
    best denoiser has a large loss, such as low levels, would dominate. EDM2 learns this function;
    here it is a histogram over ln(sigma), smoothed by a Gaussian with a width of one bin and by an
    exponential moving average over batches.

    References:
        | Analyzing and Improving the Training Dynamics of Diffusion Models (Karras et al., 2024),
        | Section 2.2 and Appendix B.4, https://arxiv.org/abs/2312.02696

    Arguments:
        bins: The number of bins from SIGMA_MIN to SIGMA_MAX.
        decay: The decay of the moving average per batch.
        device: The device of the losses.
    """

    def __init__(self, bins: int = 32, decay: float = 0.998, device: str = "cpu") -> None:
        self.centers = torch.linspace(math.log(SIGMA_MIN), math.log(SIGMA_MAX), bins, device=device)
        self.decay = decay
        self.sums = torch.zeros(2, bins, device=device)  # sums of losses and of weights

    def update(self, sigma: Tensor, losses: Tensor) -> Tensor:
        """Add losses, and return the updated mean loss at their levels."""
        kernel = self._kernel(sigma)
        self.sums.mul_(self.decay).add_(torch.stack([losses, torch.ones_like(losses)]) @ kernel)
        total, count = self.sums @ kernel.T
        return total / count

    def _kernel(self, sigma: Tensor) -> Tensor:
        """The smoothing kernel between levels and bins, (b, bins)."""
        spacing = self.centers[1] - self.centers[0]
        away = (sigma.log()[:, None] - self.centers) / spacing
        return (-away.square() / 2).exp()

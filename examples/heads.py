"""Slices of a head, and a prior for them: the photo prior, shown other slices for 50 steps."""

import math
from collections.abc import Callable

import numpy as np
import torch
from common import HERE
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from reddiff.priors import Prior, photo_prior
from reddiff.priors.parametric import edm_coefficients

APART = 5  # slices of 2 mm: the nearest that is shown to the prior is 10 mm away


class Head(Prior):
    """A fine-tuned photo prior on pictures of one or two channels: the network has three."""

    def __init__(self, channels: int) -> None:
        super().__init__((channels, None, None), sigma_min=0.005, sigma_max=3.0)
        self.photo = photo_prior()
        self.places = [0, 0, 0] if channels == 1 else [0, 1, 0]

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimates of a channel that is shown several times are averaged."""
        rgb = self.photo(x[:, self.places], sigma)
        return rgb.mean(1, keepdim=True) if x.shape[1] == 1 else rgb[:, :2]


def slices(number: int) -> tuple[Tensor, Tensor]:
    """One slice `(1, 1, 128, 128)` in [0, 1], and those far enough from it, to learn from."""
    with np.load(HERE / "data" / "colin27.npz") as file:
        head = torch.from_numpy(file["slices"])[:, None] / file["slices"].max()
    far = [i for i in range(len(head)) if abs(i - number) >= APART]
    return head[[number]], head[far]


def learn(pictures: Tensor, make: Callable[[Tensor], Tensor], steps: int = 50) -> Head:
    """Fine-tune on pictures `(n, 1, h, w)`, turned, mirrored and scaled, as `make` shows them.

    The loss is that of EDM: the squared error of the raw network, at levels even in log sigma.
    """
    torch.manual_seed(0)
    prior = Head(make(pictures[:1]).shape[1])
    prior.photo.net.requires_grad_(True)
    adam = torch.optim.Adam(prior.photo.net.parameters(), lr=3e-4, betas=(0.9, 0.99))
    rates = [min(1, k / 10) * (1 + math.cos(math.pi * k / steps)) / 2 for k in range(1, steps + 1)]
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: rates[min(k, steps - 1)])
    for _ in range(steps):
        x = make(moved(pictures[torch.randint(len(pictures), (2,))]))
        u = (torch.arange(2) + torch.rand(2))[:, None, None, None] / 2
        sigma = 0.02 * 150**u
        error = prior(x + sigma * torch.randn_like(x), sigma) - x
        _, c_out, _, _ = edm_coefficients(sigma)
        loss = (error / c_out).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 0.5)
        adam.step()
        adam.zero_grad()
        rate.step()
    return prior.requires_grad_(False)


def moved(x: Tensor) -> Tensor:
    """Pictures turned by up to 15 degrees, scaled by up to a tenth, shifted, half mirrored."""
    angle, *more = (torch.rand(5, len(x)) - 0.5) / 2
    high, wide, down, right = (v / 2.5 for v in more)
    mirror = torch.where(torch.rand(len(x)) < 0.5, 1.0, -1.0)
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([cos * (1 + wide) * mirror, -sin * (1 + wide), right / 2], 1)
    second = torch.stack([sin * (1 + high) * mirror, cos * (1 + high), down / 2], 1)
    turn = affine_grid(torch.stack([first, second], 1), list(x.shape), align_corners=False)
    return grid_sample(x, turn, align_corners=False)

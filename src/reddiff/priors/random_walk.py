r"""Random walks with heavy-tailed increments: non-Gaussian priors with an exact denoiser."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require, require_count, require_positive
from reddiff.priors.base import Prior
from reddiff.priors.increments import Increments
from reddiff.priors.walk_posterior import WalkPosterior, increments_sample
from reddiff.problem import Problem
from reddiff.random import Rng

RANGE = 4.0  # half-width of the grid, in standard deviations of the last entry
SPACING = 0.25  # spacing of the grid, in standard deviations of an increment


class RandomWalk(Prior):
    r"""A random walk x_i = u_1 + ... + u_i with independent increments, of shape (1, 1, n).

    x is a Markov chain, and so is its posterior under white noise. The forward-backward recursion
    therefore gives the exact posterior mean, up to the discretization of x on a grid, and autograd
    its derivative. The grid covers 4 standard deviations of the last entry; its spacing is the
    lowest noise level.

    Arguments:
        increments: The distribution of u, such as `LaplaceIncrements` or `StudentIncrements`.
        n: The number of entries, at least 1.
        spacing: The spacing of the grid, positive; by default 0.25 standard deviations of an
            increment.

    Raises:
        InvalidArgument: If n or the spacing is not positive.

    References:
        | A Statistical Benchmark for Diffusion Posterior Sampling Algorithms (2025),
        | https://arxiv.org/abs/2509.12821
        | A Statistical Framework to Investigate the Optimality of Signal-Reconstruction Methods
        | (Bohra et al., 2023), https://arxiv.org/abs/2203.09920
    """

    trusted = True

    grid: Tensor
    kernel: Tensor
    first: Tensor

    def __init__(self, increments: Increments, n: int = 32, spacing: float | None = None) -> None:
        require_count("n", n)
        spacing = SPACING * increments.std if spacing is None else spacing
        require_positive("spacing", spacing)
        super().__init__((1, 1, n), sigma_min=spacing)
        self.increments, self.n = increments, n
        half = int(RANGE * increments.std * n**0.5 / spacing)
        steps = torch.arange(-2 * half, 2 * half + 1, dtype=torch.float64)
        mass = increments.density(steps * spacing)
        mass = increments.rate * mass / mass.sum()
        mass[2 * half] += 1 - increments.rate
        places = torch.arange(2 * half + 1)
        self.register_buffer("grid", (places - half).double() * spacing)
        self.register_buffer("kernel", mass[places[:, None] - places + 2 * half])
        self.register_buffer("first", mass[places + half])

    def denoise(self, x: Float[Tensor, "b 1 1 n"], sigma: Tensor) -> Float[Tensor, "b 1 1 n"]:
        """The posterior mean, by the forward-backward recursion."""
        v, s = x.flatten(1), sigma.reshape(-1, 1, 1)
        log_fit = -((v[:, :, None] - self.grid) ** 2) / (2 * s**2)
        fit = (log_fit - log_fit.amax(2, keepdim=True).detach()).exp().unbind(1)
        ahead = [_normed(self.first * fit[0])]
        for f in fit[1:]:
            ahead.append(_normed((ahead[-1] @ self.kernel) * f))
        back = torch.ones_like(fit[0])
        means = []
        for i in reversed(range(self.n)):
            means.append(_normed(ahead[i] * back) @ self.grid)
            back = _normed((back * fit[i]) @ self.kernel)  # the kernel is symmetric
        return torch.stack(means[::-1], 1).view_as(x)

    def sample(self, like: Float[Tensor, "b 1 1 n"], rng: Rng) -> Float[Tensor, "b 1 1 n"]:
        """Draws of x, one per lane, with the shape of `like`; they do not lie on the grid."""
        return increments_sample(self.increments, like.flatten(1), rng).cumsum(1).view_as(like)

    def posterior(self, problem: Problem) -> WalkPosterior:
        """The posterior of a linear problem with Gaussian noise, by Gibbs sampling.

        Raises:
            Unsupported: If the operator is not linear or the noise not Gaussian, or sigma is 0.
        """
        shape = problem.x_shape
        require(shape == self.shape, "problem", expected=f"x of shape {self.shape}", got=shape)
        return WalkPosterior(self.increments, problem)


def _normed(v: Float[Tensor, "b G"]) -> Float[Tensor, "b G"]:
    return v / v.sum(1, keepdim=True)

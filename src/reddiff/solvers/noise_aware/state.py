"""The state of noise-aware RED-diff."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.lanes import per_lane
from reddiff.snapshot import State

LEAST_NOISE = 0.004  # half a gray level of 8-bit images in [-1, 1]; used when sigma_y is 0
SLOPE = 2.5  # u / (1 - eta)
ROUNDING = 1e-4  # rounding error of eta in single precision


@dataclass(frozen=True)
class NoiseAwareState(State):
    """The current and the previous mean, and the estimates of the noise.

    Arguments:
        mu: The mean.
        previous: The mean of the step before.
        sigma_y: The noise level of y, given or estimated so far, `(b,)`.
        low: The last level, `(b,)`; 0 while it is not known yet.
        norm: The largest singular value of A, or of its Jacobian if it is nonlinear, `(b,)`.
        gaussianity: eta, `(b,)`.
        error: z - D of the step before, the dual variable.
        noise: The estimate of the noise in z after the step, in units of s; see `realism`.
        solved: Whether the last data step reached its tolerance, `(b,)`.
    """

    mu: Tensor
    previous: Tensor
    sigma_y: Tensor
    low: Tensor
    norm: Tensor
    gaussianity: Tensor
    error: Tensor
    noise: Tensor
    solved: Tensor

    @property
    def non_gaussianity(self) -> Float[Tensor, " b"]:
        """u, from 0 to 1; 0 where eta is 1 up to rounding."""
        u = (SLOPE * (1 - self.gaussianity)).clamp(max=1)
        return torch.where(u > ROUNDING, u, 0)

    def extrapolated(self, momentum: Float[Tensor, " b"]) -> Float[Tensor, "b *n"]:
        """w = mu + beta (mu - previous)."""
        return self.mu + per_lane(momentum, self.mu) * (self.mu - self.previous)

    def positive_sigma_y(self, *, known: bool) -> Float[Tensor, " b"]:
        """sigma_y, at least `LEAST_NOISE` ||A|| if it is estimated or given as 0."""
        least = torch.maximum(self.sigma_y, LEAST_NOISE * self.norm)
        return torch.where(self.sigma_y > 0, self.sigma_y, least) if known else least

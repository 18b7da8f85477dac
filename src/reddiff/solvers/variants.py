"""Modifications of RED-diff's Algorithm 1: RED, score distillation and the released code."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reddiff.errors import require_nonnegative
from reddiff.lanes import per_lane
from reddiff.problem import Problem


@dataclass(frozen=True)
class Variant:
    """Modifications of RED-diff that reproduce other methods; by default none.

    Arguments:
        noise_scale: Ratio of the noise actually added to the noise level passed to the denoiser:
            1 in RED-diff, 0 in RED.
        data_weight: Weight of the data term; 0 gives score distillation.
        means: Whether data term and regularizer are means over the M measured entries of y and the
            N entries of x, as in the released code, instead of sums. This equals the weight
            lambda M / N on sums, with the eps of Adam times M.
        lag: Whether to return the iterate before the last step, as the released code does: the
            last gradient is computed but not used.

    Raises:
        InvalidArgument: If a number is negative or not finite.
    """

    noise_scale: float = 1.0
    data_weight: float = 1.0
    means: bool = False
    lag: bool = False

    def __post_init__(self) -> None:
        require_nonnegative("noise_scale", self.noise_scale)
        require_nonnegative("data_weight", self.data_weight)

    def total(
        self, problem: Problem, data: tuple[Tensor, Tensor], regularizer: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The gradients for mu `(b, *n)` and sigma_q `(b,)`, from those of the two terms."""
        (data_mu, data_sigma), (prior_mu, prior_sigma) = data, regularizer
        m, n = data_sigma.new_ones(len(data_sigma)), 1
        if self.means:
            m, n = problem.count, prior_mu[0].numel()
        grad_mu = self.data_weight * data_mu / per_lane(m, data_mu) + prior_mu / n
        return grad_mu, self.data_weight * data_sigma / m + prior_sigma / n


ALGORITHM_1 = Variant()
RELEASED = Variant(means=True, lag=True)

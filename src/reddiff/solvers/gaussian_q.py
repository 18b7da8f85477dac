"""The Gaussian q(x_0 | y) that RED-diff fits, with the optimizer state of its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reddiff.optim import LaneOptimizer, MakeOptimizer
from reddiff.snapshot import State


@dataclass(frozen=True)
class REDDiffState(State):
    r"""The parameters of q: its mean, and :math:`\log \sigma_q` `(b, 1)` if that is learned."""

    mu: LaneOptimizer
    log_sigma_q: LaneOptimizer | None

    @classmethod
    def start(cls, x: Tensor, learned: float | None, rows: int = 1) -> REDDiffState:
        r"""The initial state with mean x; `learned` is the initial :math:`\sigma_q`, or None."""
        mu = LaneOptimizer(x, rows=rows)
        if learned is None:
            return cls(mu, None)
        log_sigma_q = x.new_full((len(x), 1), math.log(learned))
        return cls(mu, LaneOptimizer(log_sigma_q, rows=rows))

    def sigma_q(self, fixed: float) -> Float[Tensor, " b"]:
        r""":math:`\sigma_q`, or `fixed` if it is not learned."""
        if self.log_sigma_q is None:
            return self.mu.x.new_full((len(self.mu.x),), fixed)
        return self.log_sigma_q.x[:, 0].exp()

    def step(
        self, make: MakeOptimizer, grad_mu: Tensor, grad_log_sigma_q: Tensor, lr_factor: float
    ) -> REDDiffState:
        """The state after one optimizer step for each parameter."""
        log_sigma_q = self.log_sigma_q
        if log_sigma_q is not None:
            log_sigma_q = log_sigma_q.step(make, grad_log_sigma_q[:, None], lr_factor)
        return REDDiffState(self.mu.step(make, grad_mu, lr_factor), log_sigma_q)

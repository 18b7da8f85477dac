"""Tail probabilities and intervals of chi-square and binomial distributions, in float64."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

HALVINGS = 60  # bisections of the unit interval, beyond the precision of float64


def chi_square_tail(statistic: Tensor, freedom: Tensor) -> Tensor:
    """P(X >= statistic) for a chi-square distribution with `freedom` degrees of freedom."""
    return torch.special.gammaincc(freedom.double() / 2, statistic.double() / 2)


def binomial_cdf(n: int, p: Float[Tensor, " k"]) -> Float[Tensor, "k counts"]:
    """P(X <= c) for n trials and c = 0 to n, one row per success probability p."""
    c = torch.arange(n + 1, dtype=torch.float64)
    count = torch.tensor(float(n), dtype=torch.float64)
    ways = torch.lgamma(count + 1) - torch.lgamma(c + 1) - torch.lgamma(count - c + 1)
    p = p.double()[:, None]
    log_mass = ways + torch.xlogy(c, p) + torch.xlogy(n - c, 1 - p)
    return log_mass.exp().cumsum(1).clamp(max=1)


def clopper_pearson(
    hits: Int[Tensor, " k"], n: int, confidence: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """The exact confidence interval of a probability, from `hits` successes in n trials.

    References:
        | The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial (Clopper
        | and Pearson, 1934)
    """
    tail = (1 - confidence) / 2
    # P(X >= hits) increases with p, and P(X <= hits) = 1 - P(X >= hits + 1)
    low = _where_tail_is(hits, n, tail)
    high = _where_tail_is(hits + 1, n, 1 - tail)
    return torch.where(hits > 0, low, 0.0), torch.where(hits < n, high, 1.0)


def _where_tail_is(hits: Tensor, n: int, wanted: float) -> Tensor:
    """The p for which P(X >= hits) = wanted, by bisection."""
    low, high = torch.zeros(len(hits)).double(), torch.ones(len(hits)).double()
    below = (hits.cpu() - 1).clamp(0, n)[:, None]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tail = 1 - binomial_cdf(n, middle).gather(1, below)[:, 0]
        low, high = (
            torch.where(tail < wanted, middle, low),
            torch.where(tail < wanted, high, middle),
        )
    return (low + high) / 2

r"""Tests of the uniformity of ranks: a simultaneous test of their ECDF, and chi-square."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reddiff.errors import require, require_count
from reddiff.uncertainty.distributions import binomial_cdf, chi_square_tail, clopper_pearson

SIMULATIONS = 1999  # simulations of uniform ranks; the smallest p-value is 1 / 2000
MOST_POINTS = 100  # largest number of points at which the ECDF is compared
FEWEST_IN_BIN = 5  # smallest expected number of ranks per bin of the chi-square test
BAND = 0.95


@dataclass(frozen=True, eq=False)
class RankTest:
    """A test of whether n independent ranks are uniform on 0, 1, ..., S.

    Arguments:
        ranks: The ranks, one per problem.
        draws: S.
        points: Probabilities z.
        ecdf: The fraction of ranks below z (S + 1).
        low: The lower end of the band that contains the whole curve with probability 0.95 if the
            ranks are uniform.
        high: The upper end of the band.
        p: The p-value of the largest deviation of the curve. It is exact: for uniform ranks,
            P(p <= a) <= a.
        chi_square_p: The (approximate) p-value of Pearson's chi-square test with bins.
    """

    ranks: Int[Tensor, " n"]
    draws: int
    points: Float[Tensor, " k"]
    ecdf: Float[Tensor, " k"]
    low: Float[Tensor, " k"]
    high: Float[Tensor, " k"]
    p: float
    chi_square_p: float

    @property
    def mean(self) -> float:
        """The mean rank divided by S: 0.5 for uniform ranks, larger if the draws are too low."""
        return float(self.ranks.double().mean()) / self.draws

    def __str__(self) -> str:
        away = int(((self.ecdf < self.low) | (self.ecdf > self.high)).sum())
        return (
            f"{len(self.ranks)} ranks among {self.draws} draws: p {self.p:.2g}, mean rank "
            f"{self.mean:.3f}, {away} of {len(self.points)} points outside the 95 % band"
        )


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """The coverage of central intervals as a function of their level.

    Arguments:
        levels: The levels, increasing.
        shares: The fraction of problems whose truth lies in the interval.
        low: The lower ends of the confidence intervals of these fractions (Clopper and Pearson).
        high: The upper ends.
        confidence: The confidence of each of these intervals.
    """

    levels: Float[Tensor, " k"]
    shares: Float[Tensor, " k"]
    low: Float[Tensor, " k"]
    high: Float[Tensor, " k"]
    confidence: float


def rank_test(ranks: Int[Tensor, " n"], draws: int, *, seed: int = 0) -> RankTest:
    r"""Test whether independent ranks are uniform on 0, ..., S.

    At z = i / (S + 1), the number c of ranks below i is binomial. The statistic is

    .. math:: \gamma = 2 \min_i \min(P(X_i \le c_i), P(X_i \ge c_i)),

    and its p-value is computed by simulation of uniform ranks.

    Arguments:
        ranks: The ranks of independent problems, each from 0 to S.
        draws: S, the number of draws among which each truth was ranked.
        seed: Random seed, for the simulation.

    Raises:
        InvalidArgument: If there are no ranks, or one is not from 0 to S.

    References:
        | Graphical Test for Discrete Uniformity and Its Applications in Goodness-of-Fit Evaluation
        | and Multiple Sample Comparison (Sailynoja, Burkner and Vehtari, 2022), Section 2,
        | https://arxiv.org/abs/2103.10522
    """
    ranks = _checked(ranks, draws)
    n, places = len(ranks), draws + 1
    counts = torch.bincount(ranks, minlength=places)
    stride = math.ceil(draws / MOST_POINTS)
    edges = torch.arange(stride, places, stride)
    points = edges.double() / places
    cdf = binomial_cdf(n, points)
    rng = np.random.default_rng(seed % 2**63)
    simulated = torch.from_numpy(rng.multinomial(n, np.full(places, 1 / places), SIMULATIONS))
    gammas = _gamma(cdf, simulated.cumsum(1)[:, edges - 1])
    below = counts.cumsum(0)[edges - 1]
    gamma = _gamma(cdf, below[None])[0]
    p = (1 + int((gammas <= gamma * (1 + 1e-9)).sum())) / (SIMULATIONS + 1)
    limit = float(gammas.quantile(1 - BAND)) / 2
    low = torch.searchsorted(cdf, torch.full((len(edges), 1), limit).double())[:, 0]
    high = torch.searchsorted(cdf, torch.full((len(edges), 1), 1 - limit).double())[:, 0]
    return RankTest(
        ranks, draws, points, below / n, low / n, high.clamp(max=n) / n, p, _chi_square(counts)
    )


def coverage_curve(
    ranks: Int[Tensor, " n"], draws: int, *, confidence: float = 0.95
) -> CoverageCurve:
    """The coverage of the central intervals of the draws, for all possible levels.

    The interval that excludes the c lowest and the c highest of the S + 1 possible ranks has the
    level 1 - 2 c / (S + 1).

    Arguments:
        ranks: As for `rank_test`.
        draws: S, at least 2.
        confidence: The confidence of the interval of each fraction, separately.

    Raises:
        InvalidArgument: If a rank is not from 0 to S, or the confidence not between 0 and 1.
    """
    ranks = _checked(ranks, draws)
    require_count("draws", draws, 2)
    require(0 < confidence < 1, "confidence", expected="between 0 and 1", got=confidence)
    places = draws + 1
    cuts = torch.arange(math.ceil(places / 2) - 1, 0, -1)
    depth = torch.minimum(ranks, draws - ranks)  # ranks excluded on the nearer side
    hits = (depth[None] >= cuts[:, None]).sum(1)
    low, high = clopper_pearson(hits, len(ranks), confidence)
    levels = 1 - 2 * cuts.double() / places
    return CoverageCurve(levels, hits / len(ranks), low, high, confidence)


def _checked(ranks: Tensor, draws: int) -> Tensor:
    require_count("draws", draws)
    require(len(ranks) > 0, "ranks", expected="at least one", got="none")
    least, most = int(ranks.min()), int(ranks.max())
    good = least >= 0 and most <= draws
    require(good, "ranks", expected=f"integers from 0 to {draws}", got=f"{least} to {most}")
    return ranks.long().cpu()


def _gamma(cdf: Float[Tensor, "k counts"], below: Int[Tensor, "B k"]) -> Float[Tensor, " B"]:
    """Twice the smallest tail probability over the points."""
    index = torch.arange(len(cdf))
    left = cdf[index, below]
    right = 1 - torch.where(below > 0, cdf[index, (below - 1).clamp(min=0)], 0.0)
    return 2 * torch.minimum(left, right).amin(1)


def _chi_square(counts: Int[Tensor, " places"]) -> float:
    """The p-value of Pearson's test, in bins that expect enough ranks; 1 for fewer than 2."""
    places, n = len(counts), int(counts.sum())
    bins = min(places, n // FEWEST_IN_BIN, max(2, round(n**0.4)))
    if bins < 2:
        return 1.0
    bounds = [round(i * places / bins) for i in range(bins + 1)]
    found = torch.stack([counts[a:b].sum() for a, b in pairwise(bounds)])
    wanted = n * torch.tensor(bounds).diff().double() / places
    statistic = ((found - wanted) ** 2 / wanted).sum()
    return float(chi_square_tail(statistic, torch.tensor(bins - 1)))

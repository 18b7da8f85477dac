r"""Markov chains: whether they have mixed, and how many independent draws they are worth.

For solvers that walk, such as `ULA`: record a number with a hook in several runs, and take
`chains_of` the result.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import lookup, require, require_share
from reddiff.results import Reconstruction

FEWEST = 8  # draws of a chain: halves of 4, the fewest with an autocorrelation
TAILS = (0.05, 0.95)


def chains_of(
    result: Reconstruction, name: str, *, warmup: float = 0.5
) -> Float[Tensor, "b chains draws"]:
    """What a hook recorded, as chains: one for each run of a lane.

    Arguments:
        result: The result of `solve(..., runs=4, hooks=[...])` or of `sample_posterior`.
        name: The name under which the hook recorded it.
        warmup: The share of the steps that is left out at the start.

    Raises:
        InvalidArgument: If nothing of this name was recorded, or a run ended early.
    """
    require_share("warmup", warmup)
    values = lookup(result.history, "name", name)
    kept = values[int(warmup * len(values)) :].permute(1, 2, 0)
    whole = bool(torch.isfinite(kept).all())
    require(whole, "result", expected="runs that made all steps", got="one that ended before")
    return kept


def rhat(chains: Float[Tensor, "*lanes C N"]) -> Float[Tensor, "*lanes"]:
    r"""The rank-normalized split :math:`\hat R`, of values and of their distances to the median.

    Above 1.01 the chains have not mixed.

    Arguments:
        chains: C >= 1 chains of N >= 8 values of one quantity; each is split into halves. NaN where
            all values are equal.

    Raises:
        InvalidArgument: If the chains are too short, or not finite.

    References:
        | Rank-Normalization, Folding, and Localization: An Improved R-hat for Assessing Convergence
        | of MCMC (Vehtari et al., 2021), Equations 4 and 14, https://arxiv.org/abs/1903.08008
    """
    split = _split(chains)
    center = _median(split)
    folded = (split - center[..., None, None]).abs()
    return torch.maximum(_rhat(_rank_normalized(split)), _rhat(_rank_normalized(folded)))


def ess_bulk(chains: Float[Tensor, "*lanes C N"]) -> Float[Tensor, "*lanes"]:
    """The effective sample size for the center of the law: that of the rank-normalized values.

    Less than 100 a chain is too little for `rhat` and for means.

    Arguments:
        chains: As for `rhat`.

    Raises:
        InvalidArgument: As `rhat`.

    References:
        | Vehtari et al. (2021), Sections 3.2 and 4.1, https://arxiv.org/abs/1903.08008
    """
    return _ess(_rank_normalized(_split(chains)))


def ess_tail(chains: Float[Tensor, "*lanes C N"]) -> Float[Tensor, "*lanes"]:
    """The effective sample size for the 5 % and 95 % quantiles, the smaller of the two.

    Arguments:
        chains: As for `rhat`.

    Raises:
        InvalidArgument: As `rhat`.

    References:
        | Vehtari et al. (2021), Section 4.3, https://arxiv.org/abs/1903.08008
    """
    _check(chains)
    flat = chains.flatten(-2).double()
    ends = [torch.quantile(flat, q, dim=-1)[..., None, None] for q in TAILS]
    sizes = [_ess(_split((chains <= end).double())) for end in ends]
    return torch.minimum(*sizes)


def _check(chains: Tensor) -> None:
    shape = tuple(chains.shape)
    good = chains.ndim >= 2 and shape[-2] >= 1 and shape[-1] >= FEWEST
    require(good, "chains", expected=f"(..., C, N) with N of at least {FEWEST}", got=shape)
    finite = bool(torch.isfinite(chains).all())
    require(finite, "chains", expected="finite values", got="nan or inf")


def _split(chains: Tensor) -> Tensor:
    """The halves of every chain; the middle value of an odd number is left out."""
    _check(chains)
    half = chains.shape[-1] // 2
    return torch.cat([chains[..., :half], chains[..., -half:]], -2).double()


def _median(v: Tensor) -> Tensor:
    return torch.quantile(v.flatten(-2), 0.5, dim=-1)


def _rank_normalized(v: Tensor) -> Tensor:
    """Normal scores of the ranks over all chains, equal values sharing their mean rank."""
    flat = v.flatten(-2)
    ordered = flat.sort(-1).values
    first = torch.searchsorted(ordered, flat)
    last = torch.searchsorted(ordered, flat, right=True)
    rank = (first + last + 1) / 2
    score = (rank.double() - 3 / 8) / (flat.shape[-1] + 1 / 4)
    return torch.special.ndtri(score).view_as(v)


def _rhat(v: Tensor) -> Tensor:
    """sqrt(var+ / W), with the variance within and between chains."""
    n = v.shape[-1]
    within = v.var(-1).mean(-1)
    between = v.mean(-1).var(-1)
    return ((n - 1) / n + between / within).sqrt()


def _ess(v: Tensor) -> Tensor:
    """Equations 10 to 13 with Geyer's initial monotone sequence."""
    c, n = v.shape[-2:]
    centered = v - v.mean(-1, keepdim=True)
    power = torch.fft.rfft(centered, 2 * n).abs().square()
    covariance = torch.fft.irfft(power, 2 * n)[..., :n].mean(-2) / n
    within = covariance[..., 0] * n / (n - 1)
    total = covariance[..., 0] + v.mean(-1).var(-1)
    rho = 1 - (within[..., None] - covariance) / total[..., None]
    rho[..., 0] = 1
    even, odd = rho[..., : n - n % 2].unflatten(-1, (-1, 2)).unbind(-1)
    pairs = even + odd
    kept = (pairs > 0).double().cumprod(-1)
    monotone = pairs.cummin(-1).values.clamp(min=0) * kept
    next_one = kept.sum(-1, keepdim=True).long().clamp(max=pairs.shape[-1] - 1)
    rest = even.gather(-1, next_one)[..., 0].clamp(min=0)  # that of the first pair left out
    rest = torch.where(kept.all(-1), 0, rest)
    tau = (2 * monotone.sum(-1) - 1 + rest).clamp(min=1 / math.log10(c * n))
    return torch.where(total > 0, c * n / tau, torch.nan)

r"""Convergence diagnostics of Markov chains: R-hat and effective sample sizes.

For solvers such as `ULA`, record a scalar with a hook in several runs, and pass the result to
`chains_of`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import lookup, require, require_share
from reddiff.results import Reconstruction

FEWEST = 8  # draws per chain, so that its halves have an autocorrelation
TAILS = (0.05, 0.95)


def chains_of(
    result: Reconstruction, name: str, *, warmup: float = 0.5
) -> Float[Tensor, "b chains draws"]:
    """Values recorded by a hook, as chains: one per run of a lane.

    Arguments:
        result: The result of `solve(..., runs=4, hooks=[...])` or of `sample_posterior`.
        name: The name under which the hook recorded the values.
        warmup: The fraction of steps to discard at the start, in [0, 1].

    Raises:
        InvalidArgument: If there are no values with this name, or if a run ended early.
    """
    require_share("warmup", warmup)
    values = lookup(result.history, "name", name)
    kept = values[int(warmup * len(values)) :].permute(1, 2, 0)
    whole = bool(torch.isfinite(kept).all())
    require(whole, "result", expected="runs that made all steps", got="a run that ended earlier")
    return kept


def rhat(chains: Float[Tensor, "*lanes C N"]) -> Float[Tensor, "*lanes"]:
    r"""Rank-normalized split :math:`\hat R`, the larger for values and distances to the median.

    Values above 1.01 indicate that the chains have not mixed.

    Arguments:
        chains: C >= 1 chains with N >= 8 values of one quantity; each is split into halves. The
            result is NaN if all values are equal.

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
    """The effective sample size of the rank-normalized values, for the bulk of the distribution.

    It should be at least 100 per chain for `rhat` and means to be reliable.

    Arguments:
        chains: As for `rhat`.

    Raises:
        InvalidArgument: As `rhat`.

    References:
        | Vehtari et al. (2021), Sections 3.2 and 4.1, https://arxiv.org/abs/1903.08008
    """
    return _ess(_rank_normalized(_split(chains)))


def ess_tail(chains: Float[Tensor, "*lanes C N"]) -> Float[Tensor, "*lanes"]:
    """The smaller of the effective sample sizes for the 5 % and the 95 % quantile.

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
    """The halves of every chain, without the middle value if the length is odd."""
    _check(chains)
    half = chains.shape[-1] // 2
    return torch.cat([chains[..., :half], chains[..., -half:]], -2).double()


def _median(v: Tensor) -> Tensor:
    return torch.quantile(v.flatten(-2), 0.5, dim=-1)


def _rank_normalized(v: Tensor) -> Tensor:
    """Normal scores of the ranks over all chains; ties get their mean rank."""
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
    """Equations 10 to 13 of Vehtari et al. (2021), with Geyer's initial monotone sequence."""
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
    rest = even.gather(-1, next_one)[..., 0].clamp(min=0)  # of the first pair that is left out
    rest = torch.where(kept.all(-1), 0, rest)
    tau = (2 * monotone.sum(-1) - 1 + rest).clamp(min=1 / math.log10(c * n))
    return torch.where(total > 0, c * n / tau, torch.nan)

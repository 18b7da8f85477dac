r"""Conformal calibration: a factor for intervals with guaranteed coverage, from held-out cases.

A score is the factor by which an interval must be widened around its center to reach the truth.
The guarantees hold for any model, provided that new cases are exchangeable with the held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require


def least_cases(level: float) -> int:
    """The smallest number of held-out cases that can guarantee a level: 9 for 0.9.

    Raises:
        InvalidArgument: If the level is not between 0 and 1.
    """
    require(0 < level < 1, "level", expected="a number between 0 and 1, such as 0.9", got=level)
    return math.ceil(level / (1 - level) - 1e-9)


def factor_in_expectation(scores: Sequence[Float[Tensor, " _"]], level: float) -> float:
    r"""The factor for which the expected fraction of covered pixels of a new image is `level`.

    This is conformal risk control of the fraction of pixels outside, :math:`R(\lambda)`: the
    smallest :math:`\lambda` with
    :math:`\frac{n}{n + 1} \hat R(\lambda) + \frac{1}{n + 1} \le 1 - \mathrm{level}`. All images
    have the same weight, regardless of their number of pixels.

    Arguments:
        scores: For each of n images, the scores of its pixels, at least one.
        level: The expected fraction, between 0 and 1.

    Raises:
        InvalidArgument: If there are fewer images than `least_cases`.

    References:
        | Conformal Risk Control (Angelopoulos et al., 2022), Equation 4,
        | https://arxiv.org/abs/2208.02814
    """
    n = len(scores)
    _require_cases(n, level)
    share = 1 - level - level / n  # the allowed mean fraction outside
    values = torch.cat([s.double() for s in scores])
    weights = torch.cat([torch.full((len(s),), 1 / (n * len(s))).double() for s in scores])
    order = values.argsort(descending=True)
    outside = weights[order].cumsum(0)  # the fraction outside, including this one
    index = int((outside <= share + 1e-12).sum())
    return float(values[order][min(index, len(values) - 1)])


def factor_for_cases(scores: Float[Tensor, " n"], level: float) -> float:
    r"""The factor for which a new case is covered with probability `level` (split conformal).

    It is the :math:`\lceil (n + 1)\, \mathrm{level} \rceil`-th smallest of the n scores.

    Raises:
        InvalidArgument: If there are fewer cases than `least_cases`.

    References:
        | Distribution-Free Predictive Inference for Regression (Lei et al., 2018), Section 2.2,
        | https://arxiv.org/abs/1604.04173
    """
    n = len(scores)
    _require_cases(n, level)
    return float(scores.sort().values[math.ceil((n + 1) * level - 1e-9) - 1])


def p_value(reference: Float[Tensor, " n"], value: float) -> float:
    """The conformal p-value of a value being as small as those of the reference.

    For a new case that is exchangeable with the reference, P(p-value <= p) <= p.
    """
    return (1 + int((reference >= value).sum())) / (len(reference) + 1)


def _require_cases(n: int, level: float) -> None:
    least = least_cases(level)
    require(n >= least, "images", expected=f"at least {least} for the level {level:g}", got=n)

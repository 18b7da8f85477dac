r"""Conformal calibration: from scores of held-out cases to a factor with a guarantee.

A score is the factor by which an interval must be widened about its center to reach the truth. The
guarantees need no right model; they need that new cases are exchangeable with the held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reddiff.errors import require


def least_cases(level: float) -> int:
    """The fewest held-out cases from which this level can be promised: 9 for 0.9.

    Raises:
        InvalidArgument: If the level is not between 0 and 1.
    """
    require(0 < level < 1, "level", expected="a number between 0 and 1, such as 0.9", got=level)
    return math.ceil(level / (1 - level) - 1e-9)


def factor_in_expectation(scores: Sequence[Float[Tensor, " _"]], level: float) -> float:
    r"""The factor with which a share `level` of the pixels of a new picture is inside, on average.

    Conformal risk control of the share of pixels outside, :math:`R(\lambda)`: the least
    :math:`\lambda` with :math:`\frac{n}{n + 1} \hat R(\lambda) + \frac{1}{n + 1} \le 1 - level`,
    where every picture counts the same, however many pixels it has.

    Arguments:
        scores: Of each of n pictures, the scores of its pixels, at least one.
        level: The share.

    Raises:
        InvalidArgument: If there are fewer pictures than `least_cases`.

    References:
        | Conformal Risk Control (Angelopoulos et al., 2022), Equation 4,
        | https://arxiv.org/abs/2208.02814
    """
    n = len(scores)
    _require_cases(n, level)
    share = 1 - level - level / n  # of all pixels, that may be outside in the mean
    values = torch.cat([s.double() for s in scores])
    weights = torch.cat([torch.full((len(s),), 1 / (n * len(s))).double() for s in scores])
    order = values.argsort(descending=True)
    outside = weights[order].cumsum(0)  # the share that is outside if this one is, too
    index = int((outside <= share + 1e-12).sum())
    return float(values[order][min(index, len(values) - 1)])


def factor_for_cases(scores: Float[Tensor, " n"], level: float) -> float:
    r"""The factor with which a new case is inside with probability `level` (split conformal).

    The :math:`\lceil (n + 1)\, level \rceil`-th smallest of n scores.

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
    """The conformal p-value that a value is as small as those of the reference.

    At most p with a probability of at most p for a new case that is exchangeable with them.
    """
    return (1 + int((reference >= value).sum())) / (len(reference) + 1)


def _require_cases(n: int, level: float) -> None:
    least = least_cases(level)
    require(n >= least, "images", expected=f"at least {least} for the level {level:g}", got=n)

"""Values that a prior knows nothing of: data in other units, and broken entries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reddiff.lanes import norm
from reddiff.operators.linear import LinearOperator
from reddiff.operators.mask import Selection
from reddiff.problem import Problem

SPREAD = 6.0  # how many standard deviations of noise may carry y out of the range
MARGIN = 0.1  # beyond which it must be, in halves of the range
FAR = 0.5  # the same for x
SHARE = 1e-3  # the least part of x that is worth a word, where x fits y
# Where it does not: a noise level given too low spreads x, and is named by the residual.
POOR_SHARE, POOR = 0.1, 1.15
ROOM = 1.5  # for the norm of A, which is found from below

ADVICE = "bring y into the units of the prior (from_pixels takes pixels in [0, 1])"


def beyond(
    problem: Problem, x: Tensor, values: tuple[float, float] | None, noise: Tensor, ratio: Tensor
) -> list[tuple[str, ...]]:
    """What to say of each lane whose y or x leaves the range of the prior; nothing of most.

    Arguments:
        problem: The problem.
        x: The results.
        values: The range of x that the prior was trained on, if it is known.
        noise: The rms of the noise of y, per lane.
        ratio: The residual over the noise, per lane.
    """
    if values is None:
        return [()] * len(x)
    low, high = values
    half, middle = (high - low) / 2, (high + low) / 2
    named = f"the range of the prior, {low:g} to {high:g}"
    reach = half * (1 + MARGIN) + SPREAD * noise
    strong = _too_large(problem, x, max(abs(low), abs(high)), noise, ratio)
    said: list[tuple[str, ...]] = []
    for lane in range(len(x)):
        text: tuple[str, ...] = ()
        if isinstance(problem.operator, Selection):
            y = problem.y[lane][problem.measured[lane]]
            out = (y - middle).abs() > reach[lane]
            if bool(out.any()):
                count = f"{int(out.sum())} of {y.numel()} entries of y lie outside {named},"
                advice = f"{ADVICE}, or leave broken entries out with a Mask"
                text = (f"{count} from {_span(y[out])}: {advice}",)
        elif strong[lane]:
            text = (f"y is larger than any x in {named} makes it: {ADVICE}",)
        if not text:
            out = (x[lane] - middle).abs() > half * (1 + FAR)
            least = POOR_SHARE if float(ratio[lane]) > POOR else SHARE
            if float(out.double().mean()) > least:
                count = f"{int(out.sum())} of {out.numel()} entries of x lie outside {named},"
                text = (f"{count} from {_span(x[lane][out])}: {ADVICE}",)
        said.append(text)
    return said


def _span(values: Tensor) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"


def _too_large(
    problem: Problem, x: Tensor, largest: float, noise: Tensor, ratio: Tensor
) -> list[bool]:
    """Whether ||y|| is more than ||A|| ||x|| and the noise allow, in lanes that do not fit."""
    poor = (ratio > 2) & torch.isfinite(ratio)
    if not isinstance(problem.operator, LinearOperator) or not bool(poor.any()):
        return [False] * len(x)
    size = largest * math.sqrt(x[0].numel())
    most = ROOM * problem.operator.norm(x) * size + 2 * noise * problem.count.sqrt()
    found: list[bool] = (poor & (norm(problem.y) > most) & torch.isfinite(most)).tolist()
    return found

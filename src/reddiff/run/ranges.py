"""Warnings about values outside the range of the prior, due to other units or outliers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reddiff.lanes import norm
from reddiff.operators.linear import LinearOperator
from reddiff.operators.mask import Selection
from reddiff.problem import Problem

SPREAD = 6.0  # tolerance for y, in standard deviations of the noise
MARGIN = 0.1  # further tolerance for y, in half-widths of the range
FAR = 0.5  # tolerance for x, in half-widths of the range
SHARE = 1e-3  # smallest fraction of x outside the range that is reported
# If the residual ratio is above POOR, the noise level may be too low, which also spreads x: then
# POOR_SHARE replaces SHARE.
POOR_SHARE, POOR = 0.1, 1.15
ROOM = 1.5  # safety factor for the estimate of ||A||, which is a lower bound

ADVICE = "convert y to the units of the prior (from_pixels converts pixels in [0, 1])"


def beyond(
    problem: Problem, x: Tensor, values: tuple[float, float] | None, noise: Tensor, ratio: Tensor
) -> list[tuple[str, ...]]:
    """Warnings for each lane whose y or x leaves the range of the prior.

    Arguments:
        problem: The problem.
        x: The results.
        values: The range of x in the training data of the prior; None if unknown.
        noise: The rms of the noise of y, per lane.
        ratio: The residual ratio, per lane.
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
                advice = f"{ADVICE}, or exclude broken entries with a Mask"
                text = (f"{count} from {_span(y[out])}: {advice}",)
        elif strong[lane]:
            text = (f"y is too large for any x in {named}: {ADVICE}",)
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
    """Whether ||y|| exceeds ||A|| ||x|| plus the noise, in lanes where x does not fit y."""
    poor = (ratio > 2) & torch.isfinite(ratio)
    if not isinstance(problem.operator, LinearOperator) or not bool(poor.any()):
        return [False] * len(x)
    size = largest * math.sqrt(x[0].numel())
    most = ROOM * problem.operator.norm(x) * size + 2 * noise * problem.count.sqrt()
    found: list[bool] = (poor & (norm(problem.y) > most) & torch.isfinite(most)).tolist()
    return found

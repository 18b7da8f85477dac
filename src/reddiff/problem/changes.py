"""Operators and noise models of problems that are derived from other problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.noise import DiagonalGaussian, Gaussian, Noise, Stacked
from reddiff.operators.base import Operator
from reddiff.operators.diagonal import Diagonal
from reddiff.operators.mask import Selection
from reddiff.operators.stacked import stack

if TYPE_CHECKING:
    from reddiff.problem.problem import Problem


def stacked(problems: Sequence[Problem]) -> tuple[Tensor, Operator, Noise]:
    """The combined y, operator and noise of several measurements of the same x."""
    require(len(problems) > 0, "problems", expected="at least one", got="none")
    counts = [len(problem) for problem in problems]
    expected = f"{counts[0]} lanes each, as the first has"
    require(len(set(counts)) == 1, "problems", expected=expected, got=counts)
    shapes = tuple(tuple(problem.y.shape[1:]) for problem in problems)
    operator = stack([problem.operator for problem in problems], shapes)
    noises = tuple(problem.noise for problem in problems)
    levels = {n.sigma if isinstance(n, Gaussian) else n for n in noises}
    alike = len(levels) == 1 and isinstance(noises[0], Gaussian)
    noise = noises[0] if alike else Stacked(noises, shapes)
    return torch.cat([problem.y.flatten(1) for problem in problems], 1), operator, noise


def levels_of(noise: Noise, y: Tensor) -> Tensor | None:
    """The levels of Gaussian noise with a level per entry, `(1 or b, ...)`, or None."""
    if isinstance(noise, DiagonalGaussian):
        return noise.sigma.to(y)
    if isinstance(noise, Stacked):
        known = all(isinstance(part, Gaussian | DiagonalGaussian) for part in noise.parts)
        sharp = any(isinstance(part, Gaussian) and part.noiseless for part in noise.parts)
        return noise.std(y) if known and not sharp else None
    return None


def weighted(operator: Operator, weights: Tensor) -> Operator:
    """A followed by multiplication by weights `(1 or b, *m)`; 0 where y is not measured."""
    count = len(weights) if operator.lanes is None else operator.lanes
    weights = weights * operator.measured(weights.expand(count, *weights.shape[1:]))
    per_lane = len(weights) > 1
    diagonal = Diagonal(weights if per_lane else weights[0], per_lane=per_lane)
    return diagonal if isinstance(operator, Selection) else diagonal @ operator

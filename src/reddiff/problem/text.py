"""Text representations of problems."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from torch import Tensor

from reddiff.noise import Noise

if TYPE_CHECKING:
    from reddiff.problem.problem import Problem


def in_short(problem: Problem) -> str:
    """`repr` of a problem, in one line."""
    kind = str(problem.y.dtype).removeprefix("torch.")
    y = f"y {tuple(problem.y.shape)} {kind}"
    return f"Problem({y}, {problem.operator!r}, {type(problem.noise).__name__})"


def in_lines(problem: Problem) -> str:
    """`str` of a problem, in four lines: lanes, y, operator, noise."""
    kind = str(problem.y.dtype).removeprefix("torch.")
    low, high = (int(n) for n in (problem.count.min(), problem.count.max()))
    seen = f"{low}" if low == high else f"{low} to {high}"
    shape = tuple(problem.y.shape[1:])
    levels = f"from {float(problem.y.min()):.3g} to {float(problem.y.max()):.3g}"
    return "\n".join(
        [
            f"Problem with {len(problem)} lanes, {kind} on {problem.y.device}",
            f"  y: {shape}, {seen} of {problem.y[0].numel()} entries measured, {levels}",
            f"  operator: {problem.operator!r}, x {problem.x_shape} -> y {shape}",
            f"  noise: {_noise_words(problem.noise)}",
        ]
    )


def _noise_words(noise: Noise) -> str:
    """A noise model with its parameters; tensors are shown by their range."""
    parts = []
    for field in fields(noise):
        value = getattr(noise, field.name)
        if isinstance(value, Tensor) and value.numel() > 1:
            value = f"{float(value.min()):.4g} to {float(value.max()):.4g}"
        elif isinstance(value, Tensor):
            value = f"{float(value):.4g}"
        elif isinstance(value, tuple):
            value = f"{len(value)} parts"
        parts.append(f"{field.name}={_noise_words(value) if isinstance(value, Noise) else value}")
    return f"{type(noise).__name__}({', '.join(parts)})"

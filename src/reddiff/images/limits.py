"""What is refused before a run: numbers that nothing could make right, and results of no use."""

from __future__ import annotations

import math

from reddiff.errors import require
from reddiff.images.comparison import common_size
from reddiff.images.io import MAX_PIXELS
from reddiff.images.memory import require_memory
from reddiff.images.records import Job
from reddiff.images.tasks import TASKS
from reddiff.images.tasks.custom import OWN
from reddiff.solvers.catalogue import method

MOST_STEPS = 100_000
MOST_TILE = 1 << 16
MOST_SCALE = 1024
SEEDS = 1 << 63
PIXEL_BYTES = 150  # of memory per pixel of the result, at the least


def check_settings(job: Job) -> None:
    """Refuse numbers and names that no picture could make right.

    Raises:
        InvalidArgument: Naming the setting.
    """
    for name in ("source", "output", "task"):
        require(bool(getattr(job, name)), name, expected="a name", got="an empty one")
    method(job.solver)
    kind = job.task.partition(":")[0]
    if not OWN.fullmatch(job.task):
        expected = f"one of {', '.join(TASKS)} (or FILE.py:NAME of an operator)"
        require(kind in TASKS, "task", expected=expected, got=job.task)
    check_steps(job.steps)
    for name, low, high in (
        ("scale", 1, MOST_SCALE),
        ("tile", 64, MOST_TILE),
        ("seed", -SEEDS, SEEDS - 1),
        ("noise", 0.0, 1.0),
    ):
        value = getattr(job, name)
        good = value is None or low <= value <= high
        require(good, name, expected=f"a number from {low} to {high}", got=_short(value))
    good = job.realism is None or math.isfinite(job.realism)
    require(good, "realism", expected="a finite number", got=job.realism)


def check_steps(steps: int | None) -> None:
    """Refuse numbers of steps that nobody could wait for; None is the solver's own."""
    good = steps is None or 1 <= steps <= MOST_STEPS
    require(good, "steps", expected=f"a number from 1 to {MOST_STEPS}", got=_short(steps))


def check_size(size: tuple[int, int], truth: tuple[int, int] | None, scale: int) -> None:
    """The result fits the memory, and the truth."""
    pixels, words = size[0] * size[1], f"{size[1]}x{size[0]} pixels"
    expected = f"a result of at most {MAX_PIXELS} pixels"
    require(pixels <= MAX_PIXELS, "scale", expected=expected, got=words)
    require_memory(PIXEL_BYTES * pixels, f"a result (of {words})")
    if truth is not None:
        common_size(size, truth, scale)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"

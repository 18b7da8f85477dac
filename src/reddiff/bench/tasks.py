"""The tasks of benchmarks: those of `reddiff restore`, and some whose y is not a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from reddiff.bench import spec
from reddiff.bench.images import Truth
from reddiff.errors import InvalidArgument, require, require_name
from reddiff.images.io import read_kernel
from reddiff.images.masks import make_mask
from reddiff.images.tasks import TASKS, Inpaint, make_task
from reddiff.images.tasks.base import PIXELS, Task
from reddiff.images.tasks.custom import OWN, blamed
from reddiff.images.words import numbers, split_word
from reddiff.noise import Gaussian
from reddiff.operators import (
    CircularBlur,
    Mask,
    NonlinearBlur,
    Operator,
    PhaseRetrieval,
    RandomFourier,
)
from reddiff.problem import Problem
from reddiff.random import MEASURING, Keys

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of some truths.

    Arguments:
        problem: A lane for each, in the units of solvers.
        degraded: What y looks like, of the size of the truths, in [0, 1] or near it.
        finish: From x of the problem to pixels in [0, 1] of the size of the truths, or near it.
        preset: The name of the task whose published settings hold.
    """

    problem: Problem
    degraded: Float[Tensor, "b c h w"]
    finish: Callable[[Tensor], Tensor]
    preset: str

    def to(self, device: torch.device) -> Measured:
        """The measurements on another device."""
        y, operator = self.problem.y.to(device), self.problem.operator.to(device)
        problem = self.problem.derived(y=y, operator=operator)
        return replace(self, problem=problem, degraded=self.degraded.to(device))


@dataclass(frozen=True)
class OperatorTask:
    """A task on x in [-1, 1]: y = A(x) and noise of twice the level in pixels.

    Arguments:
        summary: A description of the measurement.
        form: The name of the task and of its number.
        default: The default of the number.
        make: Makes the operator from the task, the number, the size, and the seed of every lane.
        preset: The task of `reddiff restore` whose published settings are used.
    """

    summary: str
    form: str
    default: str
    make: Callable[[spec.Task, float, Size, Sequence[int]], Operator]
    preset: str


def _circular(task: spec.Task, _: float, size: Size, seeds: Sequence[int]) -> Operator:
    require(task.kernel is not None, "kernel", expected="one for circular-blur", got="none")
    return CircularBlur(read_kernel(str(task.kernel)).psf.float())


# The paper has lr 0.5 for deblurring, HDR, phase retrieval and nonlinear deblurring alike.
MORE = {
    "circular-blur": OperatorTask(
        "a blur with a periodic boundary, by `kernel`", "circular-blur", "", _circular, "deblur"
    ),
    "phase": OperatorTask(
        "the modulus of the Fourier transform of x, padded by this factor",
        "phase:OVERSAMPLING",
        "2",
        lambda _, n, __, ___: PhaseRetrieval(n),
        "deblur",
    ),
    "nonlinear": OperatorTask(
        "a motion blur of this length that depends on x",
        "nonlinear:LENGTH",
        "9",
        lambda _, n, __, ___: NonlinearBlur(n),
        "deblur",
    ),
    "fourier": OperatorTask(
        "a random fraction of the Fourier coefficients of each channel, different for each image",
        "fourier:SHARE",
        "0.25",
        lambda _, n, size, seeds: RandomFourier(size, n, list(seeds)),
        "inpaint",
    ),
}


def check_task(label: str, task: spec.Task) -> None:
    """Check that a task exists, and that its options fit.

    Raises:
        InvalidArgument: If not; the message names the option.
    """
    kind, where = split_word(task.task)[0], f"tasks.{label}"
    if not OWN.fullmatch(task.task):
        require_name(kind, {**TASKS, **MORE}, f"{where}.task", "a task")
    if task.preset is not None:
        require_name(task.preset, TASKS, f"{where}.preset", "a task of `reddiff restore`")
    if kind in MORE:
        for name in ("mask", "scale") + ("kernel",) * (kind != "circular-blur"):
            none = getattr(task, name) is None
            require(none, f"{where}.{name}", expected=f"none for the task {kind}", got="one")
        _number(MORE[kind], task.task)


def measure(task: spec.Task, truths: Sequence[Truth], noise: float, seed: int) -> Measured:
    """Simulate the measurements of truths of one size.

    The noise, masks and frequencies of a truth depend only on its seed and that of the spec.

    Arguments:
        task: The task.
        truths: The images.
        noise: The standard deviation of the noise, in [0, 1] pixels.
        seed: The seed of the spec.

    Raises:
        InvalidArgument: If the task does not fit the images.
    """
    kind = split_word(task.task)[0]
    with blamed(task.task):
        if kind in MORE:
            return _simulated(task, MORE[kind], truths, noise, seed)
        return _degraded(task, truths, noise, seed)


def _number(entry: OperatorTask, name: str) -> float:
    word = split_word(name)[1]
    require(word is None or ":" in entry.form, "task", expected=f"{entry.form} alone", got=name)
    return numbers("task", entry.form, word or entry.default)[0] if ":" in entry.form else 0.0


def _simulated(
    task: spec.Task, entry: OperatorTask, truths: Sequence[Truth], noise: float, seed: int
) -> Measured:
    pixels, ids = torch.stack([t.pixels for t in truths]), [t.seed for t in truths]
    height, width = pixels.shape[-2:]
    operator = entry.make(task, _number(entry, task.task), (height, width), ids).to(pixels.dtype)
    x = 2 * pixels - 1
    problem = Problem.simulate(x, operator, Gaussian(noise / PIXELS), seed=seed, ids=ids)
    shown = problem.y if problem.y.shape == x.shape else problem.initial_estimate()
    return Measured(problem, (shown + 1) / 2, lambda x: (x + 1) / 2, task.preset or entry.preset)


def _degraded(spec_task: spec.Task, truths: Sequence[Truth], noise: float, seed: int) -> Measured:
    tasks = [_task(spec_task, truth) for truth in truths]
    rngs = [Keys(seed, (truth.seed,)).at(MEASURING) for truth in truths]
    ys = [a.degrade(t.pixels, noise, r) for a, t, r in zip(tasks, truths, rngs, strict=True)]
    single = [task.problem(y, noise) for task, y in zip(tasks, ys, strict=True)]
    operator = single[0].operator
    if isinstance(tasks[0], Inpaint):
        masks = [task.mask for task in tasks if isinstance(task, Inpaint)]
        operator = Mask(torch.stack(masks).to(ys[0]), per_lane=True)
    problem = Problem(torch.cat([p.y for p in single]), operator, single[0].noise)
    size = truths[0].pixels.shape[-2:]

    def finish(x: Tensor) -> Tensor:
        restored = [task.image(v, y) for task, v, y in zip(tasks, x, ys, strict=True)]
        return ((torch.stack(restored) + 1) / 2)[..., : size[0], : size[1]]

    shown = torch.stack(ys)
    if shown.shape[-2:] != size:
        shown = interpolate(shown, size, mode="bicubic")
    return Measured(problem, shown, finish, spec_task.preset or tasks[0].name)


def _task(task: spec.Task, truth: Truth) -> Task:
    size = (int(truth.pixels.shape[-2]), int(truth.pixels.shape[-1]))
    mask = None if task.mask is None else make_mask(task.mask, size, seed=truth.seed)
    kernel = None if task.kernel is None else read_kernel(task.kernel).psf
    made = make_task(task.task, mask=mask, scale=task.scale, kernel=kernel)
    if task.scale is not None and any(n % task.scale for n in size):
        expected = f"sides that are multiples of the scale {task.scale}"
        raise InvalidArgument(f"image {truth.name}", expected=expected, got=f"{size[1]}x{size[0]}")
    return made

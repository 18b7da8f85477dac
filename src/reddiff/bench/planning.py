"""The jobs of a benchmark, and their costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reddiff.bench.choosing import chosen
from reddiff.bench.context import Context, call, trial
from reddiff.bench.rows import Key
from reddiff.bench.spec import Spec
from reddiff.bench.summary import Cell
from reddiff.errors import Unsupported

TRIALS = 2  # timed evaluations of a prior; the fastest counts

Done = Mapping[tuple[Key, str], str]


@dataclass(frozen=True)
class Job:
    """A batch of images for one prior, task, noise level and solver, stored as a whole."""

    cell: Cell
    solver: str
    images: tuple[str, ...]


class Cost(NamedTuple):
    """The cost of one image: network evaluations and backward passes."""

    evaluations: int
    vjps: int


class Choice:
    """The part of a spec that `--only` selects, such as `solver=default,task=sr4`.

    Raises:
        InvalidArgument: If a key or a name is unknown.
    """

    def __init__(self, text: str | None, spec: Spec, images: Sequence[str]) -> None:
        levels = {f"{n:g}": None for task in spec.tasks for n in spec.noise_of(task)}
        known: dict[str, Sequence[str]] = {
            "prior": list(spec.priors),
            "task": list(spec.tasks),
            "noise": list(levels),
            "solver": list(spec.solvers),
            "image": images,
        }
        self.wanted = chosen(text, known, "the spec") if text else {}

    def takes(self, **given: str) -> bool:
        """Whether all of these are selected."""
        return all(v in self.wanted.get(k, (v,)) for k, v in given.items())


def plan(
    context: Context, done: Done, only: str | None = None, retry: bool = False
) -> tuple[list[Job], list[Job]]:
    """The jobs to run, and the jobs that have results.

    All tasks and solvers are run on one block of images before the next, so the results compare all
    solvers on the same images at any time.

    Arguments:
        context: The spec and its images.
        done: The existing results.
        only: As for `Choice`.
        retry: Repeat what failed.
    """
    spec = context.spec
    todo: list[Job] = []
    there: list[Job] = []
    names = {name: None for prior in spec.priors for name in context.truths(prior)}
    choice = Choice(only, spec, list(names))
    blocks = [(prior, block) for prior in spec.priors for block in _blocks(context, prior)]
    for prior, block in blocks:
        chosen = [n for n in block if choice.takes(prior=prior, image=n)]
        for task in spec.tasks:
            for noise in spec.noise_of(task):
                cell = Cell(prior, task, noise)
                for label, entry in spec.solvers.items():
                    if not choice.takes(task=task, noise=f"{noise:g}", solver=label):
                        continue
                    kept: list[str] = []
                    open_: list[str] = []
                    for name in chosen:
                        status = done.get(((*cell, name), label))
                        again = status is None or (retry and status == "failed")
                        (open_ if again else kept).append(name)
                    if kept:
                        there.append(Job(cell, label, tuple(kept)))
                    size = max(1, spec.batch // entry.runs)
                    todo += [
                        Job(cell, label, tuple(open_[i : i + size]))
                        for i in range(0, len(open_), size)
                    ]
    return todo, there


def _blocks(context: Context, prior: str) -> list[list[str]]:
    """Batches of images of one size."""
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name, truth in context.truths(prior).items():
        shapes.setdefault(tuple(truth.pixels.shape), []).append(name)
    size = context.spec.batch
    return [names[i : i + size] for names in shapes.values() for i in range(0, len(names), size)]


def costs(context: Context, jobs: Sequence[Job]) -> dict[tuple[Cell, str], Cost | str]:
    """The cost of an image for each cell and solver of some jobs, or why it is not supported.

    Raises:
        InvalidArgument: If a task does not fit the images, or a solver's setting cannot be used.
    """
    found: dict[tuple[Cell, str], Cost | str] = {}
    for job in jobs:
        key = job.cell, job.solver
        if key in found:
            continue
        try:
            solver = context.solver(*key, context.measured(job.cell, job.images[:1]))
        except Unsupported as error:
            found[key] = str(error)
            continue
        runs = context.spec.solvers[job.solver].runs
        steps = 0 if solver is None else runs * solver.steps
        evaluations, vjps = (0, 0) if solver is None else solver.cost
        found[key] = Cost(steps * evaluations, steps * vjps)
    return found


def speed(context: Context, prior: str, *, vjp: bool) -> float:
    """Seconds per image of an evaluation of a full batch, optionally with a backward pass."""
    shape = next(iter(context.truths(prior).values())).pixels.shape
    network = context.fitting(prior, tuple(shape))
    count = min(context.spec.batch, len(context.truths(prior)))
    x, s = trial(network, (count, *shape), context.device)
    best = float("inf")
    for _ in range(TRIALS + 1):
        start = time.perf_counter()
        call(network, x, s, vjp=vjp)
        best = min(best, time.perf_counter() - start)
    return best / count

"""Solve several pictures as lanes of one batch, with the pixels that each gets alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from reddiff.errors import require
from reddiff.hooks import Hook
from reddiff.images.joining import form, joined, one_lane
from reddiff.images.memory import free_bytes
from reddiff.images.preparation import Ready
from reddiff.images.restored import Restored
from reddiff.random import Keys, drawn
from reddiff.run.batch_invariance import BatchInvariant
from reddiff.run.loop import Run
from reddiff.run.modes import ordinary_modes
from reddiff.solving import completed

T = TypeVar("T")

AUTO = 0  # as a number of lanes: chosen by size and memory
# Larger batches gain nothing on a CPU: 8 of 64 x 64 are as fast as they get, one of 192 x 192 too.
AT_ONCE = 8 * 64 * 64  # pixels of a batch that is chosen
MOST = 8  # its lanes
LARGEST = 1024
BYTES, BYTES_VJP = 4_000, 40_000  # of memory that a pixel of a batch takes


def lanes_of(text: str) -> int:
    """The lanes that `--batch` asks for: a number, or `auto`.

    Raises:
        InvalidArgument: If it is neither.
    """
    good = text == "auto" or (text.isascii() and text.isdigit() and 1 <= int(text) <= LARGEST)
    require(good, "--batch", expected=f"auto, or a number from 1 to {LARGEST}", got=repr(text))
    return AUTO if text == "auto" else int(text)


@dataclass
class Batches:
    """How pictures are put together, and what was learned about doing so.

    Arguments:
        lanes: The most pictures in a batch; `AUTO` to choose by their size and the memory.
        processes: That share the memory.
    """

    lanes: int = AUTO
    processes: int = 1
    modes: dict[int, BatchInvariant] = field(default_factory=dict)
    known: dict[Any, BatchInvariant | None] = field(default_factory=dict)

    def near(
        self, items: Iterable[T], size: Callable[[T], int], most: int | None = None
    ) -> Iterator[list[T]]:
        """Runs of items among which those of one form are looked for: few enough for the memory.

        Arguments:
            items: The items.
            size: The pixels of one.
            most: How many items may be in a run.
        """
        most = min(self.lanes or 2 * MOST, most or LARGEST)
        some, pixels = list[T](), 0
        for item in items:
            some.append(item)
            pixels += size(item)
            if len(some) == most or (self.lanes == AUTO and pixels >= 2 * AT_ONCE):
                yield some
                some, pixels = [], 0
        if some:
            yield some

    def groups(self, ready: Mapping[int, Ready]) -> Iterator[list[int]]:
        """The keys of pictures to solve together, at most as many as a batch holds."""
        alike: dict[Any, list[int]] = {}
        for i, one in ready.items():
            alike.setdefault(form(one) or i, []).append(i)
        for members in alike.values():
            left = iter(members)
            while some := list(islice(left, self._most(ready[members[0]]))):
                yield some

    def solve(
        self, ready: Sequence[Ready], lanes: Sequence[int], seed: int, hooks: Sequence[Hook]
    ) -> list[Restored | None]:
        """Solve the pictures of a group as one batch; None for each that is to be solved alone.

        Arguments:
            ready: The pictures.
            lanes: Their ids, which may be equal: their noise is then, too.
            seed, hooks: As for `solve`.
        """
        none: list[Restored | None] = [None] * len(ready)
        mode = self._mode(ready[0], len(ready))
        if mode is None:
            return none
        problem = joined([one.problem for one in ready])
        prior, solver = ready[0].prior, ready[0].solver
        try:
            with ordinary_modes(), mode:
                keys = Keys(seed, tuple(lanes))  # of the noise; ids must differ, these need not
                places = range(len(problem))
                begun = Run(
                    problem, prior, solver, seed, places, 1, [*hooks], None, True, keys=keys
                )
                run = completed(begun)
        except Exception:  # noqa: BLE001 - of one picture, or the memory: alone, it is reported
            return none
        pairs = enumerate(zip(ready, lanes, strict=True))
        return [one.result(one_lane(run, i, lane)) for i, (one, lane) in pairs]

    def _most(self, ready: Ready) -> int:
        """The most lanes of a batch of such pictures."""
        if self.lanes:
            return self.lanes
        pixels, free = math.prod(ready.problem.x_shape[-2:]), free_bytes()
        each = pixels * (BYTES_VJP if ready.solver.cost.vjps else BYTES)
        room = MOST if free is None else int(free / 2 / self.processes / each)
        return max(1, min(MOST, AT_ONCE // pixels, room))

    def _mode(self, ready: Ready, lanes: int) -> BatchInvariant | None:
        """In which batches of so many pictures are computed; None where lanes are not alike."""
        key = (lanes, ready.problem.x_shape, ready.solver.cost.vjps > 0)
        if key not in self.known:
            mode = self.modes.setdefault(lanes, BatchInvariant(lanes))
            good = ready.prior.trusted or _invariant(ready, mode)
            self.known[key] = mode if good else None
        return self.known[key]


def _invariant(ready: Ready, mode: BatchInvariant) -> bool:
    """Whether a network gives each of several random pictures the bits that it gets alone."""
    like, vjp = ready.problem.y, ready.solver.cost.vjps > 0
    x = drawn(like.new_empty(mode.lanes, *ready.problem.x_shape))
    sigma = torch.linspace(0.1, 1.0, mode.lanes).to(like)

    def answers(x: Tensor, sigma: Tensor) -> list[Tensor]:
        with torch.no_grad():
            if not vjp:
                return [ready.prior(x, sigma)]
            mean, pull = ready.prior.vjp(x, sigma)
            return [mean, pull(x)]

    with ordinary_modes():
        with mode:
            whole = answers(x, sigma)
        each = [answers(x[i : i + 1], sigma[i : i + 1]) for i in range(mode.lanes)]
    parts = [torch.cat(p) for p in zip(*each, strict=True)]
    return all(map(torch.equal, whole, parts))

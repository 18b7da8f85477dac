"""Solvers of one cell compared on the same images: means, ranks and gaps to the best."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from reddiff.bench.intervals import Interval, interval
from reddiff.bench.measures import measure

LEAST_SHARE = 0.5  # of the images of a cell that a solver needs to be compared with others


@dataclass(frozen=True)
class Entry:
    """One measure of one solver in one cell.

    Arguments:
        values: Image -> value.
        mean: The mean over `images`, with its interval.
        images: The images of the mean: those that all compared solvers have, or all of its own
            where `compared` is False.
        compared: Whether it is ranked with the others: it has at least half of the images.
        rank: 1 for the best, 2 for the second best, and so on; None if it is not ranked.
        gap: The paired difference to the best on the same images; None for the best.
    """

    values: Mapping[str, float]
    mean: Interval
    images: tuple[str, ...]
    compared: bool
    rank: int | None = None
    gap: Interval | None = None

    @property
    def tied(self) -> bool:
        """Whether the interval of the difference to the best holds 0."""
        return self.gap is not None and self.gap.known and self.gap.holds(0.0)


def common_images(each: Mapping[str, Iterable[str]], count: int) -> tuple[list[str], list[str]]:
    """The solvers that are compared, and the images that all of them have, sorted.

    Arguments:
        each: Solver -> its images.
        count: How many images the cell has.
    """
    sets = {s: set(images) for s, images in each.items()}
    enough = [s for s, images in sets.items() if images and len(images) >= LEAST_SHARE * count]
    common = sorted(set.intersection(*(sets[s] for s in enough))) if enough else []
    return (enough if common else []), common


def ranked(
    entries: Mapping[str, Entry],
    metric: str,
    gap: Callable[[str, str], Interval | None],
    unranked: Collection[str] = (),
) -> dict[str, Entry]:
    """The entries of a cell with their ranks, and the gap of each to the best.

    Arguments:
        entries: By solver.
        metric: What they are of.
        gap: From two solvers to their difference.
        unranked: Solvers that get the gap alone.
    """
    by = measure(metric)
    losses = {s: by.loss(e.mean.mean) for s, e in entries.items() if e.compared}
    rivals = {s: loss for s, loss in losses.items() if s not in unranked}
    if by.better == "none" or not rivals:
        return dict(entries)
    best = min(rivals, key=lambda s: rivals[s])
    made = dict(entries)
    for solver, loss in losses.items():
        rank = 1 + sum(other < loss for other in rivals.values()) if solver in rivals else None
        to_best = None if solver == best else gap(solver, best)
        made[solver] = replace(entries[solver], rank=rank, gap=to_best)
    return made


def compared(
    each: Mapping[str, Mapping[str, float]],
    count: int,
    metric: str,
    unranked: Collection[str] = (),
) -> dict[str, Entry]:
    """The entries of one metric in one cell.

    Arguments:
        each: Solver -> image -> value.
        count: How many images the cell has.
        metric: What the values are of.
        unranked: Solvers without a rank.
    """
    rivals, common = common_images(each, count)
    entries = {}
    for solver, values in each.items():
        own = common if solver in rivals else sorted(values)
        mean = interval([values[k] for k in own])
        entries[solver] = Entry(values, mean, tuple(own), solver in rivals)

    def gap(solver: str, best: str) -> Interval:
        return interval([each[solver][k] - each[best][k] for k in common])

    return ranked(entries, metric, gap, unranked)

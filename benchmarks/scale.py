"""What `reddiff run` itself costs for each picture: a stub stands in for the solver."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import Results, Table, parser, run_tables
from engine import PAGE, folder, settings, timed

from reddiff.engine import worker
from reddiff.engine.modes import Output
from reddiff.engine.sources import open_source
from reddiff.engine.spool import Spooled
from reddiff.engine.units import Unit

SHARD = 1000
NETWORK = 0.15  # s of a core for one evaluation of the photo prior at 64 x 64, see batches.py


@dataclass(frozen=True)
class Cost:
    """Of a run of so many pictures, beyond the solver: seconds of CPU time, and bytes.

    Arguments:
        pictures: How many.
        user, system: Of a run that does all.
        again: Of one that finds all done.
        state: Of the folder `_run`, less the list of the source.
        listed: Of the list of the source.
        memory: Of the list in memory.
    """

    pictures: int
    user: float
    system: float
    again: float
    state: int
    listed: int
    memory: int


@contextmanager
def stubbed() -> Iterator[None]:
    """Results of 3 kB from nothing."""
    real, data = worker.restored, sha256(b"").digest() * 100

    def stub(units: Sequence[Unit], *rest: object) -> list[Spooled]:
        rows = [{"key": u.item.key, "name": u.item.name, "input": "0" * 64} for u in units]
        more = {"pixels": "0" * 16, "written": "0" * 64}
        return [Spooled(row | more, {"format": 2, "job": {}}, data) for row in rows]

    worker.restored = stub  # type: ignore[assignment]
    try:
        yield
    finally:
        worker.restored = real


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measured(size: int) -> Cost:
    """The cost of a run of empty files in a list, and of the same command again."""
    with folder() as top, stubbed():
        (top / "in").mkdir()
        for i in range(size):
            (top / f"in/{i:09d}.png").touch()
        (top / "list.txt").write_text("".join(f"in/{i:09d}.png\n" for i in range(size)))
        before = resident()
        source = open_source(str(top / "list.txt"))
        memory = resident() - before
        del source
        more = {"settings": settings("ffdnet", 1), "output_format": Output.WEBDATASET}
        times = [os.times()]
        for _ in range(2):
            timed(top / "list.txt", top / "out", 0, shard_size=SHARD, **more)
            times.append(os.times())
        listed = (top / "out/_run/sources.gz").stat().st_size
        state = sum(p.stat().st_size for p in (top / "out/_run").rglob("*") if p.is_file())
    user, again = (b.user - a.user for a, b in pairwise(times))
    system = times[1].system - times[0].system
    return Cost(size, user, system, again, state - listed, listed, memory)


def cost(results: Results, arguments: argparse.Namespace) -> None:
    """CPU time and files per picture; that of the system depends on the file system."""
    sizes = (200, 600) if arguments.quick else (1000, 10_000, 100_000)
    made = Table(
        "pictures", "ms a picture", "ms of the system", "rerun, ms", "bytes of state a picture"
    )
    each = []
    for size in sizes:
        found = measured(size)
        user, system, again = (1e3 * t / size for t in (found.user, found.system, found.again))
        each.append(user + system)
        bytes_each = f"{(found.state + found.listed) / size:.0f}"
        made.row(f"{size:,}", f"{user:.3f}", f"{system:.3f}", f"{again:.3f}", bytes_each)
    print()
    if not arguments.quick:
        results.expect("cost of a picture, most over fewest", each[-1] / each[0], most=1.5)


def model(results: Results, arguments: argparse.Namespace) -> None:
    """Lines through 100 to 10,000 pictures, and what they say of a million and a billion."""
    sizes = (100, 200, 400) if arguments.quick else (100, 300, 1000, 3000, 10_000)
    measured(sizes[0])  # imports, and the first loading of the prior
    found = [measured(size) for size in sizes]
    lines = {
        name: np.polyfit(sizes, [getattr(c, name) for c in found], 1, w=[n**-0.5 for n in sizes])
        for name in ("user", "system", "again", "state", "listed", "memory")
    }
    made = Table("quantity", "a picture", "once", "1e6 pictures", "1e9 pictures")

    def row(name: str, line: np.ndarray, unit: float, each: float, form: str) -> None:
        slope, once = line
        cells = [f"{slope * each:.3g}", f"{once * each:.3g}"]
        made.row(name, *cells, *(form.format((slope * n + once) / unit) for n in (1e6, 1e9)))

    both = lines["user"] + lines["system"]
    row("engine, CPU ms; hours", both, 3600, 1e3, "{:.3g} h")
    row("rerun with nothing to do, CPU ms; hours", lines["again"], 3600, 1e3, "{:.3g} h")
    row("list of the source in memory, bytes; GB", lines["memory"], 1e9, 1, "{:.3g} GB")
    row("list of the source on disk, bytes; GB", lines["listed"], 1e9, 1, "{:.3g} GB")
    row("markers, bytes; GB", lines["state"], 1e9, 1, "{:.3g} GB")
    one = np.array([1.0, 0.0])
    row("markers, files", one / SHARD, 1, 1, "{:.3g}")
    row("files of results (format files)", 2 * one, 1, 1, "{:.3g}")
    row("solver at 64x64, CPU ms for an evaluation; hours", NETWORK * one, 3600, 1e3, "{:.3g} h")
    print()
    if not arguments.quick:
        share = both[0] / NETWORK
        results.expect("engine over one evaluation of the network", share, most=0.03)


TABLES = {"cost": cost, "model": model}

if __name__ == "__main__":
    sys.exit(run_tables("scale", TABLES, parser(__doc__ or "", TABLES).parse_args()))

"""`reddiff run`: speed of several processes, cost of the engine, and memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Results, Table, parser, run_tables
from PIL import Image
from safetensors.torch import save_file

from reddiff.engine import worker
from reddiff.engine.command import Request, execute
from reddiff.engine.events import Event, Watcher
from reddiff.engine.modes import Output
from reddiff.engine.sources.tables import arrow
from reddiff.engine.spool import Spooled
from reddiff.engine.units import Unit
from reddiff.images.settings import Settings
from reddiff.priors.unet import UNet

TINY = {"channels": [8, 8], "blocks": [1, 1], "embedding": 8}
PAGE = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="reddiff-engine-") as name:
        yield Path(name)


def pictures(place: Path, count: int, side: int) -> Path:
    """A folder of noise pictures."""
    place.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i:06d}.png")
    return place


def tiny(path: Path) -> Path:
    """A network so small that the engine is most of the work."""
    torch.manual_seed(0)
    net = UNet(**TINY)
    save_file(dict(net.state_dict()), path, metadata={"config": json.dumps(TINY)})
    return path


def settings(prior: str | Path, steps: int) -> Settings:
    return Settings(task="denoise", noise=0.05, steps=steps, prior=str(prior))


def timed(source: Path, target: Path, workers: int, **more: Any) -> float:
    """Seconds of a run."""
    request = Request(source=str(source), output=target, workers=workers, **more)
    start = time.perf_counter()
    totals = execute(request, Watcher())
    assert totals.failed == 0
    return time.perf_counter() - start


def workers(results: Results, arguments: argparse.Namespace) -> None:
    """The same pictures with one process and with two, start-up included."""
    count, side, steps = (4, 16, 1) if arguments.quick else (100, 64, 20)
    made = Table("processes", "pictures", "side", "evaluations", "s", "speed-up", "load before")
    with folder() as top:
        source = pictures(top / "in", count, side)
        took = []
        for number in (1, 2):
            load = os.getloadavg()[0]
            setup = settings("photo", steps)
            took.append(timed(source, top / f"out{number}", number, settings=setup))
            cells = (str(number), str(count), str(side), str(steps), f"{took[-1]:.1f}")
            made.row(*cells, f"{took[0] / took[-1]:.2f}", f"{load:.1f}")
    print()
    if not arguments.quick:
        results.expect("speed-up of two processes", took[0] / took[1], least=1.8)


class Clock(Watcher):
    """When the first picture was done, and when the last shard was finished."""

    first: float | None = None
    last: float = 0.0

    def __call__(self, event: Event) -> None:
        self.last = time.perf_counter()
        self.first = self.last if self.first is None else self.first


def overhead(results: Results, arguments: argparse.Namespace) -> None:
    """Seconds beyond those of the solver, from the end of the first picture to the last shard's."""
    count, side, steps = (3, 32, 2) if arguments.quick else (5, 256, 20)
    made = Table("format", "pictures", "side", "evaluations", "s", "solver s", "overhead")
    with folder() as top:
        source = pictures(top / "in", count, side)
        for output in [Output.FILES] if arguments.quick else Output:
            target, clock = top / output.value, Clock()
            execute(
                Request(
                    source=str(source),
                    output=target,
                    settings=settings("photo", steps),
                    output_format=output,
                    workers=0,
                ),
                clock,
            )
            assert clock.first is not None
            whole, solver = clock.last - clock.first, sum(solver_seconds(target, output)[1:])
            cells = (output.value, str(count - 1), str(side), str(steps), f"{whole:.2f}")
            made.row(*cells, f"{solver:.2f}", f"{100 * (whole / solver - 1):.1f} %")
            if not arguments.quick:
                results.expect(f"overhead of {output.value}", whole / solver - 1, most=0.03)
    print()


def solver_seconds(target: Path, output: Output) -> list[float]:
    """Those of the solver alone, from the records, in the order of the pictures."""
    if output is Output.FILES:
        records = [json.loads(p.read_text()) for p in sorted(target.glob("*.png.json"))]
    elif output is Output.WEBDATASET:
        with tarfile.open(target / "00000.tar") as tar:
            found = [tar.extractfile(m) for m in tar if m.name.endswith(".json")]
            records = [json.load(file) for file in found if file is not None]
    else:
        rows = arrow().read_table(target / "00000.parquet").to_pylist()
        records = [json.loads(row["record"]) for row in rows]
    return [record["cost"]["seconds"] for record in records]


class Memory(Watcher):
    """Samples the resident memory of this process."""

    def __init__(self, every: int) -> None:
        self.every, self.done, self.samples = every, 0, list[tuple[int, int]]()

    def __call__(self, event: Event) -> None:
        self.done += 1
        if self.done % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append((self.done, pages * PAGE))


def memory(results: Results, arguments: argparse.Namespace) -> None:
    """The growth of a process over many pictures, by least squares without the first half."""
    count = 30 if arguments.quick else arguments.pictures
    with folder() as top:
        source, prior = pictures(top / "in", count, 16), tiny(top / "tiny.safetensors")
        request = Request(
            source=str(source), output=top / "out", settings=settings(prior, 1), workers=0
        )
        watch = Memory(max(1, count // 100))
        execute(request, watch)
    half = watch.samples[len(watch.samples) // 2 :]
    slope = np.polyfit([n for n, _ in half], [b for _, b in half], 1)[0]
    made = Table("pictures", "MB at the end", "bytes a picture")
    made.row(str(count), f"{half[-1][1] / 1e6:.0f}", f"{slope:.0f}")
    print()
    if not arguments.quick:
        results.expect("bytes that a picture leaves in memory", slope, most=1000)


def cost(results: Results, arguments: argparse.Namespace) -> None:
    """CPU time of the engine alone per picture: a stub stands in for the solver.

    That of the system depends on the file system and on what else it does.
    """
    sizes = (200, 600) if arguments.quick else (1000, 10_000, 100_000)
    real, each = worker.restored, []
    data = sha256(b"").digest() * 100

    def stub(units: Sequence[Unit], *rest: object) -> list[Spooled]:
        rows = [{"key": u.item.key, "name": u.item.name, "input": "0" * 64} for u in units]
        more = {"pixels": "0" * 16, "written": "0" * 64}
        return [Spooled(row | more, {"format": 2, "job": {}}, data) for row in rows]

    made = Table(
        "pictures", "ms a picture", "ms of the system", "rerun, ms", "bytes of state a picture"
    )
    for size in sizes:
        with folder() as top:
            names = "".join(f"in/{i:09d}.png\n" for i in range(size))
            (top / "in").mkdir()
            for i in range(size):
                (top / f"in/{i:09d}.png").touch()
            (top / "list.txt").write_text(names)
            more = {"settings": settings("ffdnet", 1), "output_format": Output.WEBDATASET}
            worker.restored = stub
            try:
                times = [os.times()]
                for _ in range(2):
                    timed(top / "list.txt", top / "out", 0, **more)
                    times.append(os.times())
            finally:
                worker.restored = real
            state = sum(p.stat().st_size for p in (top / "out" / "_run").rglob("*") if p.is_file())
        user, again = (1e3 * (b.user - a.user) / size for a, b in pairwise(times))
        system = 1e3 * (times[1].system - times[0].system) / size
        each.append(user)
        made.row(f"{size:,}", f"{user:.3f}", f"{system:.3f}", f"{again:.3f}", f"{state / size:.0f}")
    print()
    if not arguments.quick:
        results.expect("cost of a picture, most over fewest", each[-1] / each[0], most=1.5)


def batches(results: Results, arguments: argparse.Namespace) -> None:
    """8 lanes of 64 x 64 as one batch, and one by one, in CPU time without the start.

    First one call of the network, as it is and with the bits of one lane alone; then whole
    restorations of files, with one evaluation each.
    """
    from reddiff.images.batching import Batches
    from reddiff.images.io import read_picture
    from reddiff.images.jobs import Job
    from reddiff.images.making import make, make_together
    from reddiff.priors import photo_prior
    from reddiff.run.batch_invariance import BatchInvariant

    prior, times = photo_prior(), 1 if arguments.quick else 10
    side = 16 if arguments.quick else 64
    x = torch.rand(8, 3, side, side) * 2 - 1
    sigma = torch.full((8, 1, 1, 1), 0.2)
    alike, together = BatchInvariant(8), Batches(8)

    def network(size: int) -> None:
        for first in range(0, 8, size):
            prior.denoise(x[first : first + size], sigma[first : first + size])

    def same_bits() -> None:
        with alike:
            network(8)

    with folder() as top, torch.no_grad():
        files = sorted(pictures(top / "in", 8, side).iterdir())
        setup = settings("photo", 1)
        jobs = [Job(str(file), "out.png", setup, lane=i) for i, file in enumerate(files)]
        works = [(job, read_picture(job.source)) for job in jobs]
        ways: dict[str, Callable[[], object]] = {
            "network, one by one": lambda: network(1),
            "network, 8 lanes": lambda: network(8),
            "network, 8 lanes with the same bits": same_bits,
            "restore, one by one": lambda: [make(*work, prior) for work in works],
            "restore, 8 lanes": lambda: make_together(works, prior, together),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(times + 1):
            for name, way in ways.items():
                start = time.process_time()
                way()
                took[name].append(time.process_time() - start)
    made = Table("what", "CPU ms a lane", "speed-up")
    least = {name: min(values[1:]) for name, values in took.items()}
    for name, seconds in least.items():
        alone = least[f"{name.partition(',')[0]}, one by one"]
        made.row(name, f"{125 * seconds:.1f}", f"{alone / seconds:.2f}")
    print()
    if not arguments.quick:
        ratio = least["restore, one by one"] / least["restore, 8 lanes"]
        results.expect("speed-up of 8 lanes in a batch", ratio, least=1.0)


TABLES = {
    "workers": workers,
    "overhead": overhead,
    "batches": batches,
    "memory": memory,
    "cost": cost,
}


def main(words: Sequence[str] | None = None) -> int:
    form = parser(__doc__ or "", TABLES)
    form.add_argument("--pictures", type=int, default=10_000, help="of `memory` (default 10000)")
    return run_tables("engine", TABLES, form.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())

"""`reddiff run`: speed of several processes, cost of the engine, and memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Results, Table, parser, run_tables
from PIL import Image
from safetensors.torch import save_file

from reddiff.engine.command import Request, execute
from reddiff.engine.events import Event, Watcher
from reddiff.engine.modes import Output
from reddiff.engine.sources.tables import arrow
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
    count, side, steps = (4, 16, 1) if arguments.quick else (100, 64, arguments.steps)
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
    count, side, steps = (3, 32, 2) if arguments.quick else (arguments.each, 256, 20)
    made = Table("format", "pictures", "side", "evaluations", "s", "solver s", "overhead")
    with folder() as top:
        source = pictures(top / "in", count, side)
        for output in [Output.FILES] if arguments.quick else map(Output, arguments.formats):
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


TABLES = {
    "workers": workers,
    "overhead": overhead,
    "memory": memory,
}


def main(words: Sequence[str] | None = None) -> int:
    form = parser(__doc__ or "", TABLES)
    form.add_argument("--pictures", type=int, default=10_000, help="of `memory` (default 10000)")
    form.add_argument("--steps", type=int, default=20, help="evaluations of `workers` (default 20)")
    form.add_argument("--each", type=int, default=5, help="pictures of `overhead` (default 5)")
    every = [output.value for output in Output]
    form.add_argument("--formats", nargs="+", choices=every, default=every, help="of `overhead`")
    return run_tables("engine", TABLES, form.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())

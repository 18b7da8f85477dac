"""`reddiff run`: speed of several processes, cost of the engine, memory, and kills survived.

`kills` ends a run of 60 pictures by SIGKILL at random moments, of the first process, of another one
or of all, and starts it again until it is finished: nothing may be lost, there twice or different.

    python benchmarks/engine.py kills --kills 300
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from statistics import fmean
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
from reddiff.images.io import read_picture
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
    """CPU time of the engine alone per picture: a stub stands in for the solver."""
    sizes = (200, 600) if arguments.quick else (1000, 10_000, 100_000)
    real, each = worker.restored, []
    data = sha256(b"").digest() * 100

    def stub(unit: worker.Unit, *rest: object) -> Spooled:
        item = unit.item
        row = {"key": item.key, "name": item.name, "input": "0" * 64, "pixels": "0" * 16}
        return Spooled(row | {"written": "0" * 64}, {"format": 2, "job": {}}, data)

    made = Table("pictures", "CPU ms a picture", "rerun, ms a picture", "bytes of state a picture")
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
                before = time.process_time()
                timed(top / "list.txt", top / "out", 0, **more)
                seconds, before = time.process_time() - before, time.process_time()
                timed(top / "list.txt", top / "out", 0, **more)
                again = time.process_time() - before
            finally:
                worker.restored = real
            state = sum(p.stat().st_size for p in (top / "out" / "_run").rglob("*") if p.is_file())
        each.append(1e3 * seconds / size)
        made.row(f"{size:,}", f"{each[-1]:.3f}", f"{1e3 * again / size:.3f}", f"{state / size:.0f}")
    print()
    if not arguments.quick:
        results.expect("cost of a picture, most over fewest", each[-1] / each[0], most=1.5)


def kills(results: Results, arguments: argparse.Namespace) -> None:
    """Kills of the first process, of another one, or of all, at random moments."""
    wanted, count = arguments.kills, 60
    if arguments.quick:  # tests/fuzz/test_kill_run.py makes some
        return
    chance = random.Random(arguments.seed)  # noqa: S311
    made = {"first": 0, "other": 0, "all": 0}
    rounds, wrong = 0, 0
    with folder() as top:
        pictures(top / "in", count, 16)
        prior = tiny(top / "tiny.safetensors")
        whole = timed(top / "in", top / "whole", 0, settings=settings(prior, 2), shard_size=7)
        good = outputs(top / "whole", count)
        while sum(made.values()) < wanted:
            rounds += 1
            shutil.rmtree(top / "out", ignore_errors=True)
            most = wanted - sum(made.values())
            killed_run(top, prior, chance, whole / 4, made, most if most < 12 else 12)
            wrong += outputs(top / "out", count) != good
            print(f"{sum(made.values())} kills, {rounds} runs, {wrong} wrong", file=sys.stderr)
    table = Table("kills", *made, "runs", "wrong results")
    table.row(str(sum(made.values())), *map(str, made.values()), str(rounds), str(wrong))
    print()
    results.expect("runs with a wrong result", wrong, most=0)


def killed_run(
    top: Path, prior: Path, chance: random.Random, lasts: float, made: dict[str, int], most: int
) -> None:
    """Start a run again and again until it ends by itself; at most so many kills."""
    words = ["run", str(top / "in"), "-o", str(top / "out"), "--task", "denoise", "--noise", "0.05"]
    words += ["--steps", "2", "--prior", str(prior), "--shard-size", "7", "--workers", "2"]
    sent = 0
    while True:
        with (top / "printed").open("w") as printed:
            command = [sys.executable, "-m", "reddiff", *words]
            process = subprocess.Popen(  # noqa: S603
                command, stdout=printed, stderr=printed, start_new_session=True
            )
        if chance.random() < 0.7:  # later than the start of the pool
            wait_for(process, lambda pid=process.pid: len(members(pid)) >= 4)
        while sent < most and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, lasts))
            what = chance.choice(list(made))
            others = [pid for pid in members(process.pid) if pid != process.pid]
            if process.poll() is not None or (what == "other" and not others):
                continue
            targets = {"first": [process.pid], "all": [process.pid, *others]}
            sent += 1
            made[what] += 1
            before = finished(top / "out")
            for pid in targets.get(what) or [chance.choice(others)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if what != "other":
                break
            # A picture whose process dies twice fails, as it should.
            wait_for(process, lambda before=before: finished(top / "out") >= before + 4)
        code = process.wait()
        if code == 0:
            return
        assert code == -signal.SIGKILL, (code, (top / "printed").read_text())


def wait_for(process: subprocess.Popen[bytes], true: Callable[[], bool]) -> None:
    """Wait until this is true, or the process has ended."""
    while process.poll() is None and not true():
        time.sleep(0.02)


def finished(target: Path) -> int:
    """The pictures that have a result, about."""
    state = target / "_run"
    return len(list(state.glob("spool/*/*/*.out"))) + 7 * len(list(state.glob("*_stats.json")))


def members(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if int(path.read_text().rsplit(")", 1)[1].split()[3]) == session:
                found.append(int(path.parent.name))
    return found


def outputs(target: Path, count: int) -> dict[str, bytes]:
    """Name -> pixels, of all results; each has its record, and nothing else is there."""
    found = {p.name: p for p in target.iterdir() if p.name != "_run"}
    assert len(found) == 2 * count, sorted(found)
    names = [name for name in found if name.endswith(".png")]
    for name in names:
        json.loads(found[f"{name}.json"].read_text())
    assert sorted(p.name for p in (target / "_run").iterdir() if p.suffix != ".json") == [
        "lock",
        "sources.gz",
    ]
    return {name: read_picture(found[name]).to_numpy().tobytes() for name in names}


def batches(results: Results, arguments: argparse.Namespace) -> None:
    """One call of the network for 8 lanes of 64 x 64, and eight calls for one lane each."""
    from reddiff.priors import photo_prior

    prior, times = photo_prior(), 1 if arguments.quick else 10
    side = 16 if arguments.quick else 64
    x = torch.rand(8, 3, side, side) * 2 - 1
    sigma = torch.full((8, 1, 1, 1), 0.2)

    def seconds(size: int) -> float:
        took = []
        for _ in range(times + 1):
            start = time.perf_counter()
            for first in range(0, 8, size):
                prior.denoise(x[first : first + size], sigma[first : first + size])
            took.append(time.perf_counter() - start)
        return fmean(took[1:])

    with torch.no_grad():
        alone, together = seconds(1), seconds(8)
    made = Table("lanes", "ms a lane", "speed-up")
    made.row("1", f"{125 * alone:.1f}", "1")
    made.row("8", f"{125 * together:.1f}", f"{alone / together:.2f}")
    print()


TABLES = {
    "workers": workers,
    "overhead": overhead,
    "batches": batches,
    "memory": memory,
    "cost": cost,
    "kills": kills,
}


def main(words: Sequence[str] | None = None) -> int:
    form = parser(__doc__ or "", TABLES)
    form.add_argument("--kills", type=int, default=300, help="how many (default 300)")
    form.add_argument("--pictures", type=int, default=10_000, help="of `memory` (default 10000)")
    form.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    return run_tables("engine", TABLES, form.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())

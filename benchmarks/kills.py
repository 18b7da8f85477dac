"""A run of 60 pictures ended by SIGKILL at random moments, of its first process, another or all.

It is started again until it is finished: nothing may be lost, there twice or different. 300 kills
take hours; `tests/fuzz/test_kill_run.py` makes a few.
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
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from common import Results, Table, parser, run_tables
from engine import folder, pictures, settings, timed, tiny

from reddiff.engine.spool import heads
from reddiff.images.io import read_picture


def kills(results: Results, arguments: argparse.Namespace) -> None:
    """Kills of the first process, of another one, or of all, at random moments."""
    wanted, count = (3 if arguments.quick else arguments.kills), 60
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
        print(f"{sum(made.values())} kills", file=sys.stderr)
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
            wait_for(process, lambda before=before: finished(top / "out") >= before + 4)
        code = process.wait()
        if code == 0:
            return
        failures = top / "out" / "failed.jsonl"
        if code == 5:  # a picture whose process was killed twice
            assert all("its process ended" in line for line in failures.read_text().splitlines())
            words.append("--retry-failed")
        else:
            assert code == -signal.SIGKILL, (code, (top / "printed").read_text())


def wait_for(process: subprocess.Popen[bytes], true: Callable[[], bool]) -> None:
    """Wait until this is true, or the process has ended."""
    while process.poll() is None and not true():
        time.sleep(0.02)


def finished(target: Path) -> int:
    """The pictures that have a result, about."""
    state = target / "_run"
    waiting = sum(1 for folder in state.glob("spool/*/*") for _ in heads(folder))
    return waiting + 7 * len(list(state.glob("*_stats.json")))


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


if __name__ == "__main__":
    form = parser(__doc__ or "", ["kills"])
    form.add_argument("--kills", type=int, default=300, help="how many (default 300)")
    form.add_argument("--seed", type=int, default=0, help="of their moments")
    sys.exit(run_tables("kills", {"kills": kills}, form.parse_args()))

"""Runs of the command line in forks of a process that has imported everything.

A run is as in a new process, without the seconds of its imports. It has a time limit and a limit of
memory, and what it printed and changed is looked at.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

CODES = {0, 2, 3, 4, 5, 6, 129, 130, 143}
MEMORY = 1 << 30  # beyond what the process has when it is forked

Manifest = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Arguments:
        code: Its exit code, or minus the signal that ended it.
        text: What it printed.
        hung: Whether it ran past its limit.
        peak: The most memory it had, in bytes.
    """

    code: int
    text: str
    hung: bool
    peak: int


def preload() -> None:
    """Import what the commands import, and bring torch to one thread: a fork has no others."""
    import reddiff.cli.commands
    import reddiff.images.animation
    import reddiff.images.batch
    import reddiff.images.sheets
    import reddiff.metrics
    import reddiff.sampling  # noqa: F401

    torch.set_num_threads(1)


def start(words: Sequence[str], folder: Path, output: Path) -> int:
    """Start a run in a folder; what it prints goes to a file. Returns the id of its process."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        printed = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        limit = address_space() + 2 * MEMORY  # of addresses, of which not all are used
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        sys.argv = ["reddiff", *words]
        from reddiff.cli import main

        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:  # noqa: BLE001 - as the interpreter would
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def finish(pid: int, output: Path, limit: float) -> Ended:
    """Wait for a run, at most `limit` seconds."""
    deadline, hung = time.monotonic() + limit, False
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline and not hung:
            hung = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    text = output.read_text(errors="replace") if output.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text, hung, usage.ru_maxrss * 1024)


def run(words: Sequence[str], folder: Path, limit: float = 60) -> Ended:
    """Run a command line in a folder."""
    output = folder.with_name(f"{folder.name}.printed")
    return finish(start(words, folder, output), output, limit)


def faults(ended: Ended, before: Manifest, after: Manifest, *, force: bool) -> list[str]:
    """What is wrong with a run, by what no command may do."""
    found = []
    if ended.hung:
        found.append("hung")
    elif ended.code not in CODES:
        found.append(f"code {ended.code}")
    if "Traceback (most recent call last)" in ended.text:
        found.append("traceback")
    if set(ended.text) & set("\x1b\x07\x9b\u202e"):
        found.append("control characters")
    if ended.peak > resident() + MEMORY:
        found.append(f"memory {ended.peak >> 20} MB")
    new = [
        p for p in after if p not in before and not p.endswith("report.csv")
    ]  # tells of failures
    lost = [path for path in before if path not in after]
    changed = [p for p in before if p in after and before[p] != after[p] and before[p][0] != "dir"]
    if lost:
        found.append(f"lost {lost}")
    if changed and not force:
        found.append(f"overwrote {changed}")
    if any(path.endswith(".part") for path in after):
        found.append("half a file")
    if ended.code not in (0, 5, 6) and new and not ended.hung:
        found.append(f"left {new}")
    return found


def manifest(folder: Path) -> Manifest:
    """All that is in a folder, so that changes are seen."""
    found: Manifest = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            found[str(path)] = ("dir",)
        else:
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def address_space() -> int:
    """The addresses this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def resident() -> int:
    """The memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

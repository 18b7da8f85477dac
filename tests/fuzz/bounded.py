"""Work in a fork, with a limit of time and of its address space."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from reddiff import ReddiffError

SECONDS = 60
MEMORY = 1 << 30  # beyond what the process has when it is forked
SPACE = 3 << 30  # of addresses: what a decoder may ask for and never touch


def ended(work: Callable[[], object], printed: Path) -> tuple[str, int]:
    """How a fork ended that did this: `ok`, or what was wrong; and the memory that it had."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            space = pages * resource.getpagesize() + SPACE
            resource.setrlimit(resource.RLIMIT_AS, (space, space))
            work()
            code = 0
        except ReddiffError as error:
            code = 0 if "\n" not in str(error) and len(str(error)) < 600 else 2
            if code:
                os.write(1, str(error).encode())
        except BaseException:  # noqa: BLE001 - it is what is looked for
            os.write(1, traceback.format_exc().encode())
        finally:
            os._exit(code)
    deadline = time.monotonic() + SECONDS
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            return "hangs", 0
        time.sleep(0.002)
    text, code = printed.read_text(errors="replace"), os.waitstatus_to_exitcode(status)
    good = code == 0 and not text
    return "ok" if good else f"code {code}: {text[-600:]}", usage.ru_maxrss << 10

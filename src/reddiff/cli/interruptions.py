"""Ctrl-C, SIGTERM and SIGHUP end the program with a message and a code, without partial files.

Before a command writes files there is nothing to clean up, and an exception could be swallowed
during an import, so the process ends at once. After that an exception is raised, and unfinished
files are removed.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
MESSAGE = "reddiff: interrupted; finished files are complete"
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program.

    Arguments:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def end_at_once() -> None:
    """End the process with a message at a signal. Ignored signals stay ignored."""
    for name in NAMES:
        number = getattr(signal, name, None)  # there is no SIGHUP on Windows
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def raise_from_now_on() -> None:
    """Raise `Interrupted` at a signal, if `end_at_once` was called before."""
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _end:
            signal.signal(number, _raise)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)

"""Setup of worker processes."""

from __future__ import annotations

import os
import signal

import torch

from reddiff.hooks import Hook, Progress


class EndWithParent(Hook):
    """Ends a worker process at the next step once its parent process has ended."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def __call__(self, progress: Progress) -> None:
        if os.getppid() != self._parent:
            os._exit(1)


def begin_work(threads: int) -> Hook:
    """Ignore SIGINT, set the number of threads, and return a hook that watches the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    return EndWithParent()

"""What a process that works for another one does at its start."""

from __future__ import annotations

import os
import signal

import torch

from reddiff.hooks import Hook, Progress


class EndWithParent(Hook):
    """Ends the process at the next step once the process that started it is gone."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def __call__(self, progress: Progress) -> None:
        if os.getppid() != self._parent:
            os._exit(1)


def begin_work(threads: int) -> Hook:
    """Leave SIGINT to the parent, set the threads, and give the hook that watches the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    return EndWithParent()

"""Handling of signals that end a training run."""

from __future__ import annotations

import signal


class Stop:
    """Context in which SIGINT and SIGTERM only set `asked`, so that a run can save and end."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._ask) for number in signals}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

"""Signals that end a run after its step."""

from __future__ import annotations

import signal


class Stop:
    """While it is open, SIGINT and SIGTERM only ask for an end: after the step, and saved."""

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

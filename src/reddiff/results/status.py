"""How runs ended, and warnings about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """The status of a run; `sentence` explains it."""

    RUNNING = 0
    CONVERGED = 1
    COMPLETED = 2
    DIVERGED = 3

    @property
    def sentence(self) -> str:
        return {
            Status.RUNNING: "The run was paused before its last step; its snapshot resumes it.",
            Status.CONVERGED: "A stopping rule ended the run before its last step.",
            Status.COMPLETED: "All steps of the schedule were made.",
            Status.DIVERGED: "A value became NaN or inf; the last finite estimate is kept.",
        }[self]


@dataclass(frozen=True)
class Finding:
    """A warning about one run, or about all.

    Arguments:
        lane: The id of the lane; None if it holds for all.
        run: Which of its runs; None if there is only one, or it holds for all.
        text: The sentence, with {} in place of each level.
        levels: The levels, in the units of y.
    """

    lane: int | None
    run: int | None
    text: str
    levels: tuple[float, ...] = ()

    def words(self, unit: float = 1.0) -> str:
        """The sentence, with each level times `unit`."""
        text = self.text
        for level in self.levels:
            text = text.replace("{}", f"{level * unit:.2g}", 1)
        return text

    @property
    def sentence(self) -> str:
        """The sentence, with the lane and the run."""
        if self.lane is None:
            return self.words()
        run = "" if self.run is None else f", run {self.run}"
        return f"lane {self.lane}{run}: {self.words()}"

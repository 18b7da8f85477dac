"""The status of runs, and warnings about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """The status of a run, explained by `sentence`."""

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
    """A warning about one run, or about all runs.

    Arguments:
        lane: The id of the lane; None if the warning applies to all.
        run: The index of the run; None if there is only one, or if the warning applies to all.
        text: The sentence, with {} in place of each noise level.
        levels: The noise levels, in the units of y.
    """

    lane: int | None
    run: int | None
    text: str
    levels: tuple[float, ...] = ()

    def words(self, unit: float = 1.0) -> str:
        """The sentence, with each noise level times `unit`."""
        text = self.text
        for level in self.levels:
            text = text.replace("{}", f"{level * unit:.2g}", 1)
        return text

    @property
    def sentence(self) -> str:
        """The sentence, preceded by the lane and the run."""
        if self.lane is None:
            return self.words()
        run = "" if self.run is None else f", run {self.run}"
        return f"lane {self.lane}{run}: {self.words()}"

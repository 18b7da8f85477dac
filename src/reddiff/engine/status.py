"""The state of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reddiff.engine.spool import heads
from reddiff.engine.target import Target
from reddiff.errors import PictureError


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Arguments:
        output: The format of the results.
        pictures: The number of pictures in the source.
        done: The number of results in finished shards.
        failed: The number of failed pictures in finished shards.
        waiting: The number of results in unfinished shards.
        shards: The number of shards.
        finished: The number of finished shards.
        seconds: The time that the finished shards took, summed over processes.
        bytes: The size of the results.
        busy: Whether a run is writing to it.
    """

    output: str
    pictures: int
    done: int
    failed: int
    waiting: int
    shards: int
    finished: int
    seconds: float
    bytes: int
    busy: bool

    @property
    def left(self) -> int:
        return self.pictures - self.done - self.failed - self.waiting


def run_status(folder: Path) -> Status:
    """The state of the run in a folder.

    Raises:
        PictureError: If the folder is not the target of a run.
    """
    target = Target(folder)
    plan = target.plan()
    if plan is None:
        raise PictureError(folder, expected="the target of `reddiff run`", got="none")
    found = list(target.markers(plan))
    unfinished = (target.state / "spool" / plan.id).glob("*")
    waiting = {index for folder in unfinished for index, _ in heads(folder)}
    return Status(
        output=plan.output,
        pictures=plan.count,
        done=sum(marker["done"] for marker in found),
        failed=sum(len(marker["failed"]) for marker in found),
        waiting=len(waiting),
        shards=plan.shards,
        finished=len(found),
        seconds=sum(marker["seconds"] for marker in found),
        bytes=sum(entry["bytes"] for marker in found for entry in marker["files"].values()),
        busy=target.busy,
    )

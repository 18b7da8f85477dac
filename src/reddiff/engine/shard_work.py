"""The pictures of one shard: which are missing, what became of them, and the end of the shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reddiff.engine.items import Item, unwritten
from reddiff.engine.plan import Plan
from reddiff.engine.shards import commit, spool_folder
from reddiff.engine.spool import read_spooled, spool_path
from reddiff.engine.target import Target
from reddiff.engine.units import Unit
from reddiff.engine.writers import Shard


class ShardWork:
    """A shard that is being worked on. Results that an earlier run left are used.

    Arguments:
        target, plan: The run.
        number: That of the shard.
        items: Its pictures.

    Raises:
        PictureError: If the target cannot be written to.
    """

    def __init__(self, target: Target, plan: Plan, number: int, items: Sequence[Item]) -> None:
        self.target, self.plan = target, plan
        self.folder = spool_folder(target, plan, number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(self.folder, error) from error
        rows = plan.rows(number)
        self.items = dict(zip(rows, items, strict=True))
        self.kept = [
            index for index in rows if read_spooled(spool_path(self.folder, index)) is not None
        ]
        waiting = set(rows) - set(self.kept)
        self.todo = [
            Unit(number, index, self.items[index], str(self.folder)) for index in sorted(waiting)
        ]
        self.shard = Shard(number, rows, len(self.todo))

    @property
    def done(self) -> bool:
        """Whether every picture is done or failed."""
        return self.shard.left == 0

    def take(self, unit: Unit, reason: str) -> None:
        """Take down the outcome for a picture.

        Arguments:
            unit: The picture.
            reason: Why it failed; empty if it did not.
        """
        if reason:
            self.shard.failed[unit.index] = reason
        self.shard.left -= 1

    def finish(self) -> dict[str, Any]:
        """Write the shard; returns its marker.

        Raises:
            PictureError: If a file cannot be written. The shard is then not done.
        """
        return commit(self.target, self.plan, self.shard, self.items)

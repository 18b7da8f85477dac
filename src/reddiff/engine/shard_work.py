"""The pictures of one shard: which are missing, what became of them, and the end of the shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reddiff.engine.events import Event
from reddiff.engine.items import Item, unwritten
from reddiff.engine.plan import Plan
from reddiff.engine.shards import commit, spool_folder
from reddiff.engine.spool import spooled
from reddiff.engine.target import Target
from reddiff.engine.units import Found, Unit
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
        spots = spooled(self.folder)
        self.kept = sorted(spots)
        self.todo = [
            Unit(number, index, self.items[index], str(self.folder))
            for index in rows
            if index not in spots
        ]
        self.shard = Shard(number, rows, len(self.todo), spots)

    @property
    def done(self) -> bool:
        """Whether every picture is done or failed."""
        return self.shard.left == 0

    @property
    def earlier(self) -> list[Event]:
        """An event for each picture whose result an earlier run left."""
        number = self.shard.number
        return [Event(self.items[i].key, "", 0.0, number, fresh=False) for i in self.kept]

    def take(self, unit: Unit, found: Found) -> Event:
        """Take down the outcome for a picture; returns its event."""
        if found.spot is None:
            self.shard.failed[unit.index] = found.reason
        else:
            self.shard.spots[unit.index] = found.spot
        self.shard.left -= 1
        return Event(unit.item.key, found.reason, found.seconds, self.shard.number)

    def finish(self) -> dict[str, Any]:
        """Write the shard; returns its marker.

        Raises:
            PictureError: If a file cannot be written. The shard is then not done.
        """
        return commit(self.target, self.plan, self.shard, self.items)

"""Finish a shard: write its files under temporary names, rename them, and write its marker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reddiff.engine.items import Item
from reddiff.engine.modes import Output
from reddiff.engine.plan import Plan
from reddiff.engine.spool import Spooled, read_spooled
from reddiff.engine.target import STATE, Target
from reddiff.engine.writers import WRITERS, Shard
from reddiff.errors import PictureError
from reddiff.files import write_whole
from reddiff.images.records import as_json
from reddiff.locks import fsync_folders


def spool_folder(target: Target, plan: Plan, shard: int) -> Path:
    """The folder for the results of a shard until it is finished."""
    return target.state / "spool" / plan.id / f"{shard:05d}"


def commit(target: Target, plan: Plan, shard: Shard, items: Mapping[int, Item]) -> dict[str, Any]:
    """Write a shard of which all pictures are done or failed; returns its marker.

    Raises:
        PictureError: If a file cannot be written. The shard then stays unfinished.
    """
    folder = spool_folder(target, plan, shard.number)
    good = [index for index in shard.rows if index not in shard.failed]
    rows: list[dict[str, Any]] = []

    def results() -> Iterator[Spooled]:
        for index in good:
            spot = shard.spots[index]
            found = read_spooled(folder, index, spot)
            if found is None:
                path = folder / spot.file
                raise PictureError(path, expected="a result as it was written", got="another")
            rows.append(found.row)
            yield found

    writer = WRITERS[Output(plan.output)](target.folder, shard, [items[i].name for i in good])
    placing = target.placing_path(shard.number)
    write_whole(placing, json.dumps({"files": writer.names}).encode(), force=True)
    files = writer.write(results())
    fsync_folders([(target.folder / name).parent for name in files])
    marker = {
        "plan": plan.id,
        "shard": shard.number,
        "count": len(shard.rows),
        "done": len(good),
        "failed": [{"key": items[i].key, "reason": shard.failed[i]} for i in sorted(shard.failed)],
        "seconds": round(sum(row["seconds"] for row in rows), 3),
        "files": files,
        "rows": rows,
    }
    write_whole(target.marker_path(shard.number), as_json(marker), force=True)
    fsync_folders([target.folder / STATE])
    placing.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return marker

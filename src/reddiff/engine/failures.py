"""The table of failed pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from reddiff.engine.modes import Output
from reddiff.engine.plan import Plan
from reddiff.engine.sources.tables import arrow, storable
from reddiff.engine.target import Target
from reddiff.files import write_whole


def write_failed(
    target: Target, plan: Plan, failed: Mapping[int, Sequence[Mapping[str, str]]]
) -> int:
    """Write the table of the pictures that failed; returns their number.

    Arguments:
        target, plan: The run.
        failed: By the number of their shard.
    """
    rows = [
        {"key": entry["key"], "reason": entry["reason"], "shard": number}
        for number in sorted(failed)
        for entry in failed[number]
    ]
    names = {"failed.jsonl"} | ({"failed.parquet"} if plan.output == Output.PARQUET else set())
    if not rows:
        for name in names:
            (target.folder / name).unlink(missing_ok=True)
        return 0
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    write_whole(target.folder / "failed.jsonl", text.encode(), force=True)
    if plan.output == Output.PARQUET:
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        texts = [
            row | {name: storable(str(row[name])) for name in ("key", "reason")} for row in rows
        ]
        arrow().write_table(pa.Table.from_pylist(texts), sink)
        data = sink.getvalue().to_pybytes()
        write_whole(target.folder / "failed.parquet", data, force=True)
    return len(rows)

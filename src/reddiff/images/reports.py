"""The outcome of each of many pictures, and a table of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reddiff.errors import PictureError
from reddiff.files import open_regular

if TYPE_CHECKING:
    from reddiff.images.jobs import Job


class OnExisting(StrEnum):
    """What to do if a result exists.

    `SKIP` keeps a result if its record has the same settings, weights, inputs and package version,
    and replaces it otherwise. A file without a record is never replaced.
    """

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"


class Outcome(Enum):
    """The outcome for one picture."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Row:
    """The outcome for one picture, with its details.

    Arguments:
        job: The job.
        outcome: Whether it was done, skipped, or failed.
        reason: Why it was skipped, failed or restored again.
        seconds: The wall-clock time.
        record: The record, if the picture was restored or was already finished.
        error: The exception, if it failed.
    """

    job: Job
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    record: dict[str, Any] | None = None
    error: BaseException | None = None


COLUMNS = ("file", "status", "reason", "seconds", "noise", "residual", "output")


def report(rows: Sequence[Row]) -> bytes:
    """The outcome of every picture as a table, CSV in UTF-8."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for row in rows:
        record = row.record or {}
        cells = [row.job.source, row.outcome.value, " ".join(row.reason.split())]
        cells += [f"{row.seconds:.2f}", _cell(record.get("noise"))]
        cells += [_cell(record.get("residual_ratio")), row.job.output]
        table.writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")


def is_report(path: Path) -> bool:
    """Whether a file is the report of an earlier run."""
    with suppress(PictureError), open_regular(path) as file:
        return file.readline(200).strip() == ",".join(COLUMNS).encode()
    return False


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

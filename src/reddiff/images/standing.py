"""Whether a result stands: made from the same settings, weights and inputs, and whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from reddiff.errors import PictureError, ReddiffError
from reddiff.images.io import read_picture
from reddiff.images.jobs import FILE_FIELDS, Job, file_hash
from reddiff.images.records import FORMAT, read_record, record_path, versions


class Stands(Enum):
    """What is known of a result."""

    MISSING = 0
    FINISHED = 1
    STALE = 2


def standing_of(
    job: Job, weights: str, files: Sequence[Path] = ()
) -> tuple[Stands, str, dict[str, Any] | None]:
    """The state of a result, the reason, and its record.

    Raises:
        PictureError: If a file exists without a record.
    """
    output = Path(job.output)
    if not os.path.lexists(output):
        return Stands.MISSING, "", None
    try:
        record = read_record(record_path(output))
    except ReddiffError as error:
        expected = "a result with its record (--force replaces it)"
        got = "a file without one"
        raise PictureError(output, expected=expected, got=got, errno=errno.EEXIST) from error
    digest = file_hash(output)
    if record["format"] == FORMAT and digest != record["written"]:
        if digest == record["replaced"]:
            return Stands.STALE, "an earlier run was interrupted", None
        if _whole(output):
            return Stands.FINISHED, "kept: it was changed after it was restored", None
        return Stands.STALE, "it is damaged", None
    missing = [file.name for file in files if not file.is_file()]
    changed = _changed(job, weights, record) or (f"without {missing[0]}" if missing else "")
    return (Stands.STALE, changed, None) if changed else (Stands.FINISHED, "", record)


def _whole(path: Path) -> bool:
    try:
        read_picture(path)
    except ReddiffError:
        return False
    return True


def _changed(job: Job, weights: str, record: dict[str, Any]) -> str:
    """What has changed since the run of this record; empty if nothing has."""
    if record["format"] != FORMAT:
        return f"its record is of format {record['format']}"
    if record["versions"].get("reddiff") != versions()["reddiff"]:
        return "another version of reddiff made it"
    old = Job.of(record["job"])
    was, now = old.entries, job.entries
    names = [name for name in now if name not in ("output", *FILE_FIELDS)]
    other = [name for name in names if was[name] != now[name]]
    mine = job.input_hashes()
    for name in FILE_FIELDS:
        if name in mine or name in old.files:
            if mine.get(name) != record["inputs"].get(name) or job.tail(name) != old.tail(name):
                other.append(name)
        elif was[name] != now[name]:
            other.append(name)
    if other:
        return f"changed since: {', '.join(other)}"
    return "changed since: weights" if record["weights"] != weights else ""


def clear_remains(job: Job, files: Sequence[Path]) -> None:
    """Remove the record and other files of a run that was killed before it wrote its picture."""
    beside = record_path(job.output)
    with suppress(ReddiffError):
        read_record(beside)
        beside.unlink()
        for file in files:
            file.unlink(missing_ok=True)

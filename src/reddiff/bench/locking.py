"""The lock of a results file, and its errors in one line each."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reddiff.errors import PictureError
from reddiff.locks import try_lock


def move_aside(path: Path) -> Path | None:
    """Rename a file to the first free of NAME.1, NAME.2, ...; the new name, None if there is none.

    Raises:
        PictureError: If another runner has it, or it cannot be renamed.
    """
    with explained(path):
        if not path.exists():
            return None
        lock = locked(path)
        try:
            for number in range(1, 10_000):
                aside = path.with_name(f"{path.stem}.{number}{path.suffix}")
                if not aside.exists():
                    path.rename(aside)
                    break
        finally:
            lock.close()
    return aside


def locked(path: Path) -> BinaryIO:
    """The lock of a file, held until it is closed: an empty file beside it, locked by the system.

    Raises:
        PictureError: If another runner has it.
    """
    lock = path.with_name(f"{path.name}.lock").open("ab")
    if not try_lock(lock.fileno()):
        lock.close()
        expected, got = "a file that no other run is adding to", "one that another run has"
        raise PictureError(path, expected=expected, got=got, errno=errno.EBUSY)
    return lock


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system into one line."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, PictureError):
            raise
        got = " ".join(str(error).split())
        number, expected = getattr(error, "errno", None), "a results file"
        if "disk is full" in got:
            number, expected = errno.ENOSPC, "space for the results; what was stored stays"
        raise PictureError(path, expected=expected, got=got, errno=number) from error

"""The lock of a results file, and one-line messages for its errors."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reddiff.errors import PictureError
from reddiff.locks import require_lock


def move_aside(path: Path) -> Path | None:
    """Rename a file to the first free name of NAME.1, NAME.2, ...

    Returns:
        The new name; None if there is no such file.

    Raises:
        PictureError: If another run holds its lock, or it cannot be renamed.
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
        PictureError: If another run holds it, or the path is a folder or in none.
    """
    if path.is_dir():
        raise PictureError(path, expected="a results file", got="a folder")
    if not path.parent.is_dir():
        raise PictureError(path, expected="a file in an existing folder", got=f"no {path.parent}")
    lock = path.with_name(f"{path.name}.lock").open("ab")
    try:
        require_lock(lock.fileno(), path, "file")
    except BaseException:
        lock.close()
        raise
    return lock


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Convert errors of SQLite and of the operating system to one-line errors."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, PictureError):
            raise
        got = " ".join(str(error).split())
        number, expected = getattr(error, "errno", None), "a results file"
        if "disk is full" in got:
            number, expected = errno.ENOSPC, "space for the results; stored results are kept"
        elif isinstance(error, OSError) or "unable to open" in got or "readonly" in got:
            number, expected = number or errno.EACCES, "a results file that can be made or written"
        raise PictureError(path, expected=expected, got=got, errno=number) from error

"""File locks, and flushing folders to disk."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reddiff.errors import PictureError

BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; False if another process holds the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise
    return True


def require_lock(descriptor: int, path: Path, what: str = "target") -> None:
    """Lock an open file on behalf of a path.

    Raises:
        PictureError: If another process holds the lock.
    """
    if not try_lock(descriptor):
        expected = f"a {what} that no other run is writing to"
        raise PictureError(path, expected=expected, got="one that is in use", errno=errno.EBUSY)


def fsync_folders(paths: Sequence[Path]) -> None:
    """Flush the entries of folders to disk, if the system supports it."""
    for path in set(paths):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

"""Temporary files without a name, which get their name once they are complete."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from os import fsync
from pathlib import Path

# Errors of file systems without unnamed files, where a hidden file is used instead.
NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
DESCRIPTORS = "/proc/self/fd"
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOENT, errno.EXDEV)


@contextmanager
def staged(folder: Path, data: bytes | Iterable[bytes] | None) -> Iterator[str]:
    """A temporary file with the data, unnamed or hidden, which is removed at the end.

    Data given in parts are written one by one, without holding all in memory.
    """
    descriptor, hidden = None, folder / f".{secrets.token_hex(8)}.part"
    try:
        if sys.platform == "linux" and Path(DESCRIPTORS).is_dir():
            try:
                descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
            except OSError as error:
                if error.errno not in NO_UNNAMED:
                    raise
        if descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            descriptor = os.open(hidden, flags, 0o666)
            name = str(hidden)
        else:
            name = f"{DESCRIPTORS}/{descriptor}"
        if data is not None:
            for part in (data,) if isinstance(data, bytes) else data:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            fsync(descriptor)
        if name == str(hidden):
            os.close(descriptor)
            descriptor = None
        yield name
    finally:
        if descriptor is not None:
            os.close(descriptor)
        with suppress(OSError):
            hidden.unlink(missing_ok=True)


def place(source: str, path: Path, *, force: bool, new: list[Path]) -> None:
    """Give a staged file its name, atomically; without `force` only if the name is free."""
    if _link(source, path):
        new.append(path)
        return
    if not force:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    hidden = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _link(source, hidden)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _link(source: str, path: Path) -> bool:
    """Link a staged file to a free name; False if the name is taken."""
    unnamed = source.startswith(DESCRIPTORS)
    try:
        if unnamed:  # with src_dir_fd, Python follows the link in /proc
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.link(source, path, src_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)
        else:
            os.link(source, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    else:
        return True
    return _copy(source, path) if unnamed else _move(source, path)


def _move(source: str, path: Path) -> bool:
    """Without hard links: create the name first, then replace it by the file."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    try:
        Path(source).replace(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _copy(source: str, path: Path) -> bool:
    """If an unnamed file cannot be linked: copy it to a hidden file, then move that."""
    hidden = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(source, "rb") as file:  # noqa: PTH123 - a link in /proc
            hidden.write_bytes(file.read())
        return _move(str(hidden), path)
    finally:
        hidden.unlink(missing_ok=True)

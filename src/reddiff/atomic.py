"""Files that are written whole or not at all, and never in the place of something else."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from errno import EEXIST
from pathlib import Path


def replaceable(path: Path) -> bool:
    """Whether a regular file is there; False where there is nothing.

    Raises:
        FileExistsError: If there is something else: a folder, a pipe, a device, or a link that
            leads nowhere.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        got = f"expected a new file or a regular one, got {kind(mode)}"
        raise FileExistsError(EEXIST, got, str(path))
    return True


def kind(mode: int) -> str:
    """What a file is, from its `st_mode`."""
    names = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a link that leads nowhere",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return names.get(stat.S_IFMT(mode), "something else")


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file, or replace one, so that whatever happens it is complete, or as it was.

    The bytes go to a file without a name (where the system has them, else to a temporary one in
    the same folder), reach the disk, and then take the name. A link is followed.

    Raises:
        FileExistsError: If there is something at the path that is not a regular file, or one
            appears there meanwhile.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    with suppress(OSError):
        path = Path(os.path.realpath(path, strict=True))
    there = replaceable(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _write(temporary, data)
        if there:
            temporary.replace(path)
        else:
            _name(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(temporary: Path, data: bytes) -> None:
    """The bytes, on the disk, under this name: which appears once they are there, if it can."""
    unnamed = _unnamed(temporary.parent)
    if unnamed is not None:
        try:
            _fill(unnamed, data)
            with suppress(OSError):
                os.link(f"/proc/self/fd/{unnamed}", temporary, follow_symlinks=True)
                return
        finally:
            os.close(unnamed)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    fd = os.open(temporary, flags, 0o666)
    try:
        _fill(fd, data)
    finally:
        os.close(fd)


def _unnamed(folder: Path) -> int | None:
    """A new file without a name, which is gone if the process is; None where there are none."""
    flag = getattr(os, "O_TMPFILE", None)  # Linux has it
    if flag is not None:
        with suppress(OSError):
            return os.open(folder, flag | os.O_WRONLY, 0o666)
    return None


def _fill(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def _name(temporary: Path, path: Path) -> None:
    """Give the file its name, unless something has taken it; without links, replace that."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        replaceable(path)
        temporary.replace(path)


def _sync(folder: Path) -> None:
    """Make the name last through a power cut, where folders can be opened."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

"""Files that are written without a name first, and named when they are whole."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from os import fsync
from pathlib import Path

# What a file system says that has no files without a name: such files get a hidden one.
NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
DESCRIPTORS = "/proc/self/fd"
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOENT, errno.EXDEV)


@contextmanager
def staged(folder: Path, data: bytes | Iterable[bytes] | None) -> Iterator[str]:
    """A file without a name, or a hidden one, that holds the data; gone at the end.

    Data that come in parts are written one by one, and need no memory for all of them.
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
    """Give a staged file its name; without force only if nothing has it, whatever happens."""
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
    """Link a staged file to a name that nothing has; False if something has it."""
    unnamed = source.startswith(DESCRIPTORS)
    try:
        if unnamed:  # a descriptor of a folder makes Python follow the link in /proc
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
    """Where there are no links: take the name first, then put the file there."""
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
    """Where a file without a name cannot be linked: by way of a hidden one."""
    hidden = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(source, "rb") as file:  # noqa: PTH123 - a link in /proc
            hidden.write_bytes(file.read())
        return _move(str(hidden), path)
    finally:
        hidden.unlink(missing_ok=True)

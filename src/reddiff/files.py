"""Files that appear whole or not at all, and that take nobody's place by accident."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os import fsync
from pathlib import Path
from typing import BinaryIO

from reddiff.errors import PictureError

# What a file system says that has no files without a name: such files get a hidden one.
NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
DESCRIPTORS = "/proc/self/fd"
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOENT, errno.EXDEV)


def write_whole(path: str | Path, data: bytes, *, force: bool = False) -> None:
    """Write a file so that, whatever happens, it is either complete or not there.

    Arguments:
        path: The file, in a folder that exists.
        data: Its content.
        force: Replace a regular file or a symbolic link (the link, not what it points to).

    Raises:
        PictureError: If something is in the way, or the file cannot be written.
    """
    check_target(path, force=force)
    write_together([(Path(path), data)], force=force)


def write_together(files: Sequence[tuple[Path, bytes]], *, force: bool = False) -> None:
    """Write several files, so that the last is there only if all others are.

    All bytes reach the disk before the first file takes its name; the names are given in order.
    Folders that are missing are made. If a name cannot be given, those already given are taken
    back, apart from files that were replaced, and so are the folders.

    Arguments:
        files: The files and their contents.
        force: As for `write_whole`.

    Raises:
        PictureError: If something is in the way, or a file cannot be written.
    """
    new: list[Path] = []
    folders: list[Path] = []
    path = files[0][0]
    try:
        with ExitStack() as stack:
            staged = []
            for path, data in files:
                _make_folder(path.parent, folders)
                staged.append((path, stack.enter_context(_staged(path.parent, data))))
            for path, source in staged:
                check_target(path, force=force)
                _place(source, path, force=force, new=new)
    except BaseException as error:
        for made in new:
            with suppress(OSError):
                made.unlink()
        for folder in reversed(folders):
            with suppress(OSError):  # not empty: somebody else uses it
                folder.rmdir()
        if isinstance(error, OSError):
            raise _refused(path, error) from error
        raise


def check_target(path: str | Path, *, force: bool = False, parents: bool = False) -> None:
    """Refuse, before any work, a file that could not be written after it.

    Arguments:
        path: The file.
        force: Accept a regular file or a symbolic link in its place. Folders, pipes and devices are
            never accepted.
        parents: Whether its folder may be missing, to be made by `write_together`.

    Raises:
        PictureError: Naming what is in the way.
    """
    path = Path(path)
    try:
        mode = _mode(path)
        folder = path.parent
        while parents and _mode(folder) is None and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            known = errno.ENOENT if _mode(folder) is None else errno.ENOTDIR
            got = "none there" if known == errno.ENOENT else f"{folder}, which is none"
            raise PictureError(path, expected="an existing folder", got=got, errno=known)
        if mode is None:
            _probe(folder)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    if mode is None:
        return
    if stat.S_ISDIR(mode):
        raise PictureError(path, expected="a file", got="a directory", errno=errno.EISDIR)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise PictureError(path, expected="a file", got="a pipe or device", errno=errno.EEXIST)
    if not force:
        got = "a symbolic link" if stat.S_ISLNK(mode) else "one that exists"
        expected = "a new file (force replaces one)"
        raise PictureError(path, expected=expected, got=got, errno=errno.EEXIST)
    try:
        _probe(folder)
    except OSError as error:
        raise _refused(path, error) from error


@contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file, never a pipe or device, which may have no end.

    Raises:
        PictureError: If it is missing, cannot be read, or is no regular file.
    """
    path, expected = Path(path), "a file that can be read"
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                got = "a pipe or device"
                raise PictureError(path, expected="a file", got=got, errno=errno.EINVAL)
            yield file
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        raise PictureError(path, expected=expected, got=_reason(error), errno=number) from error


def read_regular(path: str | Path, limit: int) -> bytes:
    """The content of a regular file.

    Raises:
        PictureError: Where `open_regular` raises it, or if it is larger than `limit` bytes.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise PictureError(path, expected=f"a file of at most {limit} bytes", got="a larger one")
    return data


def _mode(path: Path) -> int | None:
    """What is at this path, without following a link; None if there is nothing."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _probe(folder: Path) -> None:
    """Make a file there, and leave no trace of it."""
    with _staged(folder, None):
        pass


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and take down which."""
    missing = []
    while _mode(folder) is None and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with suppress(FileExistsError):
            new.mkdir()
            made.append(new)


@contextmanager
def _staged(folder: Path, data: bytes | None) -> Iterator[str]:
    """A file without a name, or a hidden one, that holds the data; gone at the end."""
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
            view = memoryview(data)
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


def _place(source: str, path: Path, *, force: bool, new: list[Path]) -> None:
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


def _refused(path: Path, error: OSError | ValueError) -> PictureError:
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if number == errno.EEXIST:
        expected = "a new file (force replaces one)"
        return PictureError(path, expected=expected, got="one that exists", errno=number)
    return PictureError(path, expected="to write it", got=_reason(error), errno=number)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower().removeprefix("is ")
    return str(error) or type(error).__name__

"""Atomic writing of files, without accidental replacement of others."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reddiff.errors import PictureError
from reddiff.staging import place, staged


def write_whole(path: str | Path, data: bytes | Iterable[bytes], *, force: bool = False) -> None:
    """Write a file atomically: it is either complete or does not exist.

    Arguments:
        path: The file, in an existing folder.
        data: The content, or its parts in order, which are written one by one.
        force: Whether to replace a regular file or a symbolic link (the link, not its target).

    Raises:
        PictureError: If the path exists already or the file cannot be written.
    """
    check_target(path, force=force)
    write_together([(Path(path), data)], force=force)


def write_together(
    files: Sequence[tuple[Path, bytes | Iterable[bytes]]], *, force: bool = False
) -> None:
    """Write several files such that the last one exists only if all others do.

    All data are on the disk before the first file gets its name; names are given in order. Missing
    folders are created. If a name cannot be given, new files and folders are removed again; files
    that were replaced are not restored.

    Arguments:
        files: The files and their contents.
        force: As for `write_whole`.

    Raises:
        PictureError: If a path exists already or a file cannot be written.
    """
    new: list[Path] = []
    folders: list[Path] = []
    path = files[0][0]
    try:
        with ExitStack() as stack:
            sources = []
            for path, data in files:
                _make_folder(path.parent, folders)
                sources.append((path, stack.enter_context(staged(path.parent, data))))
            for path, source in sources:
                check_target(path, force=force)
                place(source, path, force=force, new=new)
    except BaseException as error:
        for made in new:
            with suppress(OSError):
                made.unlink()
        for folder in reversed(folders):
            with suppress(OSError):  # not empty: it is in use
                folder.rmdir()
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def check_target(path: str | Path, *, force: bool = False, parents: bool = False) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Arguments:
        path: The file.
        force: Whether the path may be a regular file or a symbolic link, which will be replaced.
            Folders, pipes and devices are always refused.
        parents: Whether the folder may be missing, because `write_together` will create it.

    Raises:
        PictureError: If the file cannot be written.
    """
    path = Path(path)
    try:
        mode = _mode(path)
        folder = path.parent
        while parents and _mode(folder) is None and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            known = errno.ENOENT if _mode(folder) is None else errno.ENOTDIR
            got = "no such folder" if known == errno.ENOENT else f"{folder}, not a folder"
            raise PictureError(path, expected="an existing folder", got=got, errno=known)
        if mode is None:
            _probe(folder)
    except (OSError, ValueError) as error:
        raise write_error(path, error) from error
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
        raise write_error(path, error) from error


@contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file; pipes and devices are refused, because reading may not terminate.

    Raises:
        PictureError: If it does not exist, cannot be read, or is not a regular file.
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
        raise PictureError(
            path, expected=expected, got=system_reason(error), errno=number
        ) from error


def read_regular(path: str | Path, limit: int) -> bytes:
    """The content of a regular file.

    Raises:
        PictureError: As for `open_regular`, or if it is larger than `limit` bytes.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise PictureError(path, expected=f"a file of at most {limit} bytes", got="a larger one")
    return data


def _mode(path: Path) -> int | None:
    """The mode of the file at a path, without following links; None if there is no file."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _probe(folder: Path) -> None:
    """Create a temporary file in a folder, to check that this is possible."""
    with staged(folder, None):
        pass


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Create a folder and its missing parents, and append them to `made`."""
    missing = []
    while _mode(folder) is None and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        with suppress(FileExistsError):
            new.mkdir()
            made.append(new)


def write_error(path: Path, error: OSError | ValueError) -> PictureError:
    """The error for a file or folder that the system does not let be written."""
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if isinstance(error, FileExistsError):
        taken = Path(error.filename2 or error.filename or path)
        if taken != path:  # a folder could not be made
            return PictureError(taken, expected="a folder", got="a file", errno=number)
        expected = "a new file (force replaces one)"
        return PictureError(path, expected=expected, got="one that exists", errno=number)
    return PictureError(path, expected="a writable path", got=system_reason(error), errno=number)


def system_reason(error: OSError | ValueError) -> str:
    """The reason for an error, as given by the system."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower().removeprefix("is ")
    return str(error) or type(error).__name__

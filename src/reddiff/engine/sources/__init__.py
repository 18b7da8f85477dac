"""Sources of pictures: folders, lists, tar files, Parquet files and stores."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reddiff.engine.items import Item, LocalFile, Source, check_items
from reddiff.engine.sources.stores import from_store
from reddiff.engine.sources.tables import from_tables
from reddiff.engine.sources.tars import from_tars
from reddiff.errors import InvalidArgument, PictureError
from reddiff.files import read_regular
from reddiff.images.folders import MAGIC, SUFFIXES, find

LISTS = (".txt", ".lst")
MAX_LIST = 1 << 34
EXPECTED = "a folder, a list (.txt), .tar or .parquet files, a pattern of them, or a store"
Reader = Callable[[Sequence[Path], Sequence[str]], Source]
READERS: Mapping[str, Reader] = {".tar": from_tars, ".parquet": from_tables}


def open_source(
    source: str,
    *,
    recursive: bool = False,
    suffixes: Sequence[str] = SUFFIXES,
    avoid: Path | None = None,
) -> Source:
    """The pictures of a source, sorted by their keys, or in the order of a tar or Parquet file.

    Arguments:
        source: A folder; a text file with a path per line, relative to its own folder; `.tar` or
            `.parquet` files, given by name or by a pattern such as `{000..099}.tar`; a pattern of
            pictures; or a pattern in an fsspec store, such as `s3://bucket/*.png`.
        recursive: Also search sub-folders of a folder.
        suffixes: The extensions of pictures, in lower case.
        avoid: A folder to exclude.

    Raises:
        InvalidArgument: If there is no picture, two pictures have the same name, or the source is
            of an unknown kind.
        PictureError: If a file of the source cannot be read.
    """
    if "://" in source:
        found = from_store(source, suffixes)
    else:
        found = _local(source, suffixes, avoid, recursive=recursive)
    if not found.items:
        raise InvalidArgument("SRC", expected=f"pictures in {source}", got="none")
    check_items(found.items)
    return found


def _local(source: str, suffixes: Sequence[str], avoid: Path | None, *, recursive: bool) -> Source:
    path, suffix = Path(source), Path(source).suffix.lower()
    if not path.is_dir() and suffix in READERS:
        return READERS[suffix](_matches(source), suffixes)
    if not path.is_dir() and suffix in LISTS:
        return _from_list(path, suffixes)
    known = path.is_dir() or suffix in SUFFIXES or any(c in source for c in MAGIC)
    if not known:
        got = repr(source) if os.path.lexists(path) else f"{source!r}, which does not exist"
        raise InvalidArgument("SRC", expected=EXPECTED, got=got)
    found = find([source], recursive=recursive, avoid=avoid, suffixes=suffixes)
    items = [_item(file, place.as_posix()) for file, place in found.files]
    return Source(sorted(items, key=lambda item: item.key), found.notes)


def _item(file: Path, key: str) -> Item:
    try:
        size = file.stat().st_size
    except OSError:  # a dangling link: it fails when it is read
        size = -1
    return Item(key, size, LocalFile(str(file)))


def _from_list(path: Path, suffixes: Sequence[str]) -> Source:
    """The files that a text file lists; all of them, unless `suffixes` is a selection."""
    try:
        lines = read_regular(path, MAX_LIST).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PictureError(path, expected="a text file in UTF-8", got="other bytes") from error
    files = [path.parent / line for line in lines if line.strip()]
    if tuple(suffixes) != SUFFIXES:
        files = [file for file in files if file.suffix.lower() in suffixes]
    missing = [file for file in files if not file.is_file()]
    if missing:
        got = f"{len(missing)} of {len(files)} missing, the first: {missing[0]}"
        raise InvalidArgument("SRC", expected=f"the files in {path}", got=got)
    if not files:
        return Source(())
    absolute = [Path(os.path.abspath(file)) for file in files]  # noqa: PTH100 - links are kept
    top = Path(os.path.commonpath([file.parent for file in absolute]))
    pairs = zip(files, absolute, strict=True)
    items = [_item(file, whole.relative_to(top).as_posix()) for file, whole in pairs]
    return Source(sorted(items, key=lambda item: item.key))


def _matches(source: str) -> list[Path]:
    """The files of a name or pattern, sorted."""
    if os.path.lexists(source):
        return [Path(source)]
    numbers = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", source)
    if numbers:
        head, first, last, tail = numbers.groups()
        names = [f"{head}{i:0{len(first)}d}{tail}" for i in range(int(first), int(last) + 1)]
        missing = [name for name in names if not Path(name).is_file()]
        if missing:
            got = f"{len(missing)} of {len(names)} missing, the first: {missing[0]}"
            raise InvalidArgument("SRC", expected=f"the files {source}", got=got)
        return [Path(name) for name in names]
    found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
    if not found:
        raise InvalidArgument("SRC", expected=f"files {source}", got="none")
    return [Path(name) for name in found]

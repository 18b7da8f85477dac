"""Find pictures by names, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reddiff.errors import InvalidArgument, require
from reddiff.images.io.writing import FORMATS

SUFFIXES = (*FORMATS, ".gif", ".pbm", ".pnm", ".jfif", ".jpe")
MAGIC = "*?["


@dataclass
class Found:
    """The pictures found, and what was skipped.

    Arguments:
        files: The pictures, each with its relative path in a folder of results.
        folders: The number of sub-folders that were skipped.
        below: The number of pictures in them.
        others: The files that were skipped, because they have other extensions.
        kind: A name for files with the right extensions.
    """

    files: list[tuple[Path, Path]] = field(default_factory=list)
    folders: int = 0
    below: int = 0
    others: list[Path] = field(default_factory=list)
    kind: str = "pictures"

    @property
    def notes(self) -> list[str]:
        """Notes on what was skipped."""
        notes = []
        if self.below:
            notes.append(
                f"Skipped, in sub-folders ({self.folders}): {self.below} pictures; --recursive "
                "includes them."
            )
        if self.others:
            kinds = Counter(path.suffix.lower() or "without suffix" for path in self.others)
            named = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(8))
            notes.append(f"Skipped, as not {self.kind} ({len(self.others)}): {named}.")
        return notes


def extensions(words: Sequence[str]) -> tuple[str, ...]:
    """File extensions, with their dots, from texts such as `png` or `.tif,.tiff`.

    Raises:
        InvalidArgument: If one is not the extension of a picture format that can be read.
    """
    parts = [part.strip().lower() for word in words for part in word.split(",")]
    dotted = tuple(part if part.startswith(".") else f".{part}" for part in parts)
    for part, dot in zip(parts, dotted, strict=True):
        known = ", ".join(s[1:] for s in SUFFIXES)
        require(dot in SUFFIXES, "--ext", expected=f"some of {known}", got=repr(part))
    return dotted


def find(
    sources: Sequence[str],
    *,
    recursive: bool = False,
    avoid: Path | None = None,
    suffixes: Sequence[str] = SUFFIXES,
) -> Found:
    """The pictures given by names, folders and patterns, sorted within each.

    In folders, hidden files (`._x.png` too) and files without the suffix of a picture are skipped,
    and links to folders are not followed. A file that is named twice counts once.

    Arguments:
        sources: Files, folders and patterns.
        recursive: Search sub-folders too, and keep their structure.
        avoid: A folder to exclude, such as that of earlier results.
        suffixes: The extensions of pictures in folders, in lower case. Files given by name may have
            any extension; so may files given by a pattern, unless `suffixes` is a selection.

    Raises:
        InvalidArgument: If a name is empty, or a folder or pattern has no picture.
    """
    every = tuple(suffixes) == SUFFIXES
    found = Found() if every else Found(kind=f"{', '.join(suffixes)} files")
    for source in sources:
        if not source:
            raise InvalidArgument("IN", expected="the name of a picture or folder", got="''")
        before = len(found.files)
        path = Path(source)
        if path.is_dir():
            _search(path, found, suffixes, recursive=recursive, avoid=avoid)
        elif not os.path.lexists(path) and any(c in source for c in MAGIC):
            root = _root(source) if recursive else None
            for name in sorted(glob.iglob(source, recursive=True)):  # noqa: PTH207
                file = Path(name)
                if file.is_file() and (every or file.suffix.lower() in suffixes):
                    place = file.relative_to(root) if root is not None else Path(file.name)
                    found.files.append((file, place))
        else:
            found.files.append((path, Path(path.name)))
        if len(found.files) == before:
            got = "none" if not found.below else "none but in its sub-folders (--recursive)"
            raise InvalidArgument("IN", expected=f"{found.kind} in {source}", got=got)
    seen: set[str] = set()
    unique = []
    for file, place in found.files:
        real = os.path.realpath(file)
        if real not in seen:
            seen.add(real)
            unique.append((file, place))
    found.files = unique
    return found


def _root(pattern: str) -> Path:
    """The folder before the first wildcard."""
    parts = Path(pattern).parts
    fixed = []
    for part in parts[:-1]:
        if any(c in part for c in MAGIC):
            break
        fixed.append(part)
    return Path(*fixed)


def _search(
    top: Path, found: Found, suffixes: Sequence[str], *, recursive: bool, avoid: Path | None
) -> None:
    """The pictures in a folder."""
    left_out = None if avoid is None else os.path.realpath(avoid)
    if left_out == os.path.realpath(top):
        expected = "another folder than that of the pictures"
        raise InvalidArgument("output", expected=expected, got=str(avoid))
    for folder, names in _walk(top, left_out):
        if folder != top and not recursive:
            pictures = sum(name.suffix.lower() in suffixes for name in names)
            found.below += pictures
            found.folders += bool(pictures)
            continue
        for path in names:
            regular = path.is_file() or not path.exists()  # a dangling link fails when it is read
            if path.suffix.lower() in suffixes and regular:
                found.files.append((path, path.relative_to(top)))
            elif not _is_record(path):
                found.others.append(path)


def _walk(top: Path, left_out: str | None) -> Iterator[tuple[Path, list[Path]]]:
    for folder, below, names in os.walk(top):
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".") and os.path.realpath(Path(folder, name)) != left_out
        )
        yield Path(folder), [Path(folder, n) for n in sorted(names) if not n.startswith(".")]


def _is_record(path: Path) -> bool:
    """Whether a file is the record of a picture, judged by its name."""
    return path.suffix == ".json" and Path(path.stem).suffix.lower() in SUFFIXES

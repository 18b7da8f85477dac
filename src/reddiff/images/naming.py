"""Name the results of many pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reddiff.errors import InvalidArgument, require
from reddiff.images.io.writing import FORMATS


def targets(
    files: Sequence[tuple[Path, Path]], output: Path, suffix: str = ""
) -> list[tuple[Path, Path]]:
    """The file of each result, in a folder.

    Names and formats are kept; a format that cannot be written becomes PNG. If two results would
    have the same name, `.png` is appended to the full name of the source, or else a number.

    Arguments:
        files: The pictures and their places, from `find`.
        output: The folder.
        suffix: Appended to the name of each result, before its extension.

    Returns:
        Pictures and results.

    Raises:
        InvalidArgument: If a result would replace one of the pictures, or the suffix cannot be part
            of a name.
    """
    good = not set(suffix) & set("/\\\0")
    require(good, "--suffix", expected="a part of a file name", got=repr(suffix))
    files = [
        (file, place.with_name(f"{place.stem}{suffix}{place.suffix}")) for file, place in files
    ]
    kept = {_key(place) for _, place in files if place.suffix.lower() in FORMATS}
    taken: set[str] = set()
    pairs = []
    for file, place in files:
        name = place
        if place.suffix.lower() not in FORMATS:
            name = place.with_suffix(".png")
            if _key(name) in kept | taken:
                name = place.with_name(f"{place.name}.png")
        number = 1
        first = name
        while _key(name) in taken:
            number += 1
            name = first.with_name(f"{first.stem}-{number}{first.suffix}")
        taken.add(_key(name))
        pairs.append((file, output / name))
    sources = {os.path.realpath(file) for file, _ in files}
    for _, target in pairs:
        if str(Path(os.path.realpath(target.parent), target.name)) in sources:
            expected = "another folder than that of the pictures"
            raise InvalidArgument("output", expected=expected, got=f"{target}, a picture given")
    return pairs


def _key(path: Path) -> str:
    """A key that is equal for names that some file systems do not distinguish."""
    return str(path).casefold()

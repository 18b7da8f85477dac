"""Masks and kernels that each picture of a source has of its own."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import PurePosixPath

from reddiff.engine.items import Source
from reddiff.images.partners import OWN, files_of, is_folder
from reddiff.images.settings import Settings


def with_files(source: Source, settings: Settings) -> tuple[Source, dict[str, str]]:
    """The source with the file of each picture, and a hash of the names and sizes of these files.

    Arguments:
        source: The pictures.
        settings: Their settings; a mask or kernel that is a folder has a file for each.

    Raises:
        InvalidArgument: As `files_of`.
    """
    items, hashes = list(source.items), dict[str, str]()
    places = [PurePosixPath(item.key) for item in items]
    for name in OWN:
        folder = getattr(settings, name)
        if not is_folder(folder):
            continue
        digest = sha256()
        for i, file in enumerate(files_of(name, folder, places)):
            items[i] = replace(items[i], own=(*items[i].own, (name, str(file))))
            entry = f"{file.stat().st_size}\t{file.relative_to(folder).as_posix()}\n"
            digest.update(entry.encode("utf-8", "surrogateescape"))
        hashes[name] = f"folder:{digest.hexdigest()}"
    return Source(items, source.notes), hashes

"""Pictures in stores that fsspec supports: S3, Google Cloud Storage, HTTP, SFTP, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from reddiff.engine.items import Item, Place, Source
from reddiff.errors import InvalidArgument, import_package
from reddiff.images.folders import MAGIC


@dataclass(frozen=True)
class StoreFile(Place):
    """A file of a store."""

    url: str

    def read(self) -> bytes:
        import fsspec

        with fsspec.open(self.url, "rb") as file:
            data: bytes = file.read()
        return data


def from_store(source: str, suffixes: Sequence[str]) -> Source:
    """The pictures of a pattern or below a folder in a store.

    Raises:
        InvalidArgument: If the store is unknown or cannot be listed, or fsspec is not installed.
    """
    core = import_package("fsspec.core", "SRC", "run")
    try:
        store, root = core.url_to_fs(source)
        pattern = any(c in root for c in MAGIC)
        found = (store.glob if pattern else store.find)(root, detail=True)
    except Exception as error:  # each store has its own
        got = f"{source} ({' '.join(str(error).split()) or type(error).__name__})"
        raise InvalidArgument("SRC", expected="a store that can be listed", got=got) from error
    parts = PurePosixPath(root).parts
    fixed = next((i for i, part in enumerate(parts) if any(c in part for c in MAGIC)), len(parts))
    top, items = PurePosixPath(*parts[:fixed]), []
    for path, entry in sorted(found.items()):
        name = PurePosixPath(path)
        if entry.get("type") != "file" or name.suffix.lower() not in suffixes:
            continue
        below = name.relative_to(top) if name.is_relative_to(top) else name
        if any(part.startswith(".") for part in below.parts):
            continue
        key = below.as_posix() if below.parts else name.name
        place = StoreFile(store.unstrip_protocol(path))
        items.append(Item(key, int(entry.get("size") or -1), place))
    return Source(items)

"""Pictures in tar files, such as the shards of WebDataset."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reddiff.engine.items import Item, Place, Source
from reddiff.errors import PictureError


@dataclass(frozen=True)
class TarMember(Place):
    """A file in an uncompressed tar file."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise PictureError(self.path, expected="the tar file as it was", got="a shorter one")
        return data


def from_tars(paths: Sequence[Path], suffixes: Sequence[str]) -> Source:
    """The pictures in tar files. A key is the name of the file without `.tar`, and of the member.

    Raises:
        PictureError: If a file is not an uncompressed tar file, or is damaged.
    """
    items, others = [], 0
    for path in paths:
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    suffix = PurePosixPath(member.name).suffix.lower()
                    hidden = PurePosixPath(member.name).name.startswith(".")
                    if not member.isreg() or member.sparse or hidden or suffix not in suffixes:
                        others += member.isreg()
                        continue
                    place = TarMember(str(path), member.offset_data, member.size)
                    items.append(Item(f"{path.stem}/{member.name}", member.size, place))
        except (OSError, tarfile.TarError) as error:
            number = error.errno if isinstance(error, OSError) else None
            got = (isinstance(error, OSError) and error.strerror) or f"a damaged one ({error})"
            expected = "an uncompressed tar file"
            raise PictureError(path, expected=expected, got=got.lower(), errno=number) from error
    notes = [f"Skipped, as not pictures: {others} members of tar files."] if others else []
    return Source(items, notes)

"""The pictures of a source: their keys, and how to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from reddiff.errors import InvalidArgument, PictureError
from reddiff.files import write_error
from reddiff.images.io.writing import FORMATS


class TargetError(PictureError):
    """The target cannot be written to. This ends the run: it is not the fault of a picture."""


def unwritten(path: Path, error: OSError) -> TargetError:
    """A `TargetError` for an error of the operating system, with the name of the file."""
    plain = write_error(path, error)
    return TargetError(path, expected=plain.expected, got=plain.got, errno=plain.errno)


class Place(ABC):
    """The location of the bytes of a picture."""

    @abstractmethod
    def read(self) -> bytes:
        """The bytes of the picture's file."""

    @contextmanager
    def local(self, folder: Path, number: int) -> Iterator[Path]:
        """The picture as a local file, which may be a temporary one in `folder`."""
        path, data = folder / f"{number:09d}.in", self.read()
        try:
            try:
                path.write_bytes(data)
            except OSError as error:
                raise unwritten(path, error) from error
            yield path
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class LocalFile(Place):
    """A file."""

    path: str

    def read(self) -> bytes:
        return Path(self.path).read_bytes()

    @contextmanager
    def local(self, folder: Path, number: int) -> Iterator[Path]:
        yield Path(self.path)


@dataclass(frozen=True)
class Item:
    """One picture.

    Arguments:
        key: Its name in the source, a relative path; no two are alike.
        size: The bytes of its file, or -1 if the source does not say.
        place: Where it is.
        own: Settings that are its own: the files of its mask and kernel.
    """

    key: str
    size: int
    place: Place
    own: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The relative path of the result: the key, with `.png` if its format cannot be written."""
        suffix = PurePosixPath(self.key).suffix.lower()
        return self.key if suffix in FORMATS else f"{self.key}.png"


@dataclass(frozen=True)
class Source:
    """The pictures of a source, in a fixed order.

    Arguments:
        items: The pictures.
        notes: What was skipped, in sentences.
    """

    items: Sequence[Item]
    notes: Sequence[str] = ()

    @property
    def lines(self) -> Iterator[str]:
        """Size and key of each picture, in the form that is stored and compared."""
        return (f"{item.size}\t{item.key}\n" for item in self.items)

    @property
    def digest(self) -> str:
        """The SHA-256 of all lines."""
        total = sha256()
        for line in self.lines:
            total.update(line.encode("utf-8", "surrogateescape"))
        return total.hexdigest()


def check_items(items: Iterable[Item]) -> None:
    """Check that keys are unique, and that they are paths inside the target.

    Names that some file systems do not distinguish count as equal.

    Raises:
        InvalidArgument: If they are not; the message has the keys.
    """
    names: dict[str, str] = {}
    twice = []
    for item in items:
        path = PurePosixPath(item.key)
        inside = not path.is_absolute() and ".." not in path.parts and "\0" not in item.key
        inside = inside and "\n" not in item.key and path.parts[:1] != ("_run",)
        if not inside or "\\" in item.key:
            expected = "relative names without .., backslashes and line ends, not below _run"
            raise InvalidArgument("SRC", expected=expected, got=repr(item.key))
        name = item.name.casefold()
        if name in names:
            twice.append(f"{names[name]} and {item.key}")
        names[name] = item.key
    if twice:
        expected = "pictures whose names differ by more than upper and lower case"
        got = twice[0] + f" and {len(twice) - 1} more" * (len(twice) > 1)
        raise InvalidArgument("SRC", expected=expected, got=got)

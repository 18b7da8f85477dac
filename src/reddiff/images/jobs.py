"""Jobs: a degraded file, the file of its restoration, and the settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from reddiff.errors import require
from reddiff.files import open_regular
from reddiff.images.io.inputs import WORDS as KERNELS
from reddiff.images.io.inputs import split_member
from reddiff.images.masks import WORDS as MASKS
from reddiff.images.option import MAX_SEED
from reddiff.images.settings import Settings, check_numbers, options, words
from reddiff.images.tasks import check_name
from reddiff.images.tasks.custom import OWN
from reddiff.images.words import split_word
from reddiff.priors.named import PRIORS
from reddiff.solvers.catalogue import method


def _code_file(text: str) -> str | None:
    own = OWN.fullmatch(text)
    return own[1] if own else None


def _mask_file(text: str) -> str | None:
    return None if split_word(text)[0] in MASKS else text


def _kernel_file(text: str) -> str | None:
    return None if split_word(text)[0] in KERNELS else split_member(text)[0]


def _prior_file(text: str) -> str | None:
    return None if text in PRIORS else text


# The entries of a job that may name a file, and the file that such a text names, if it does.
FILE_FIELDS: dict[str, Callable[[str], str | None]] = {
    "source": str,
    "task": _code_file,
    "mask": _mask_file,
    "kernel": _kernel_file,
    "prior": _prior_file,
}


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Arguments:
        source: The degraded picture's file.
        output: The restored picture's file; its suffix is its format.
        settings: The settings. In a job they are strings and numbers, as on the command line,
            because a record has to store them.
        keep_diverged: Write the last finite estimate of a run that diverged.
        lane: The lane id of the picture, an integer of 64 bits. The random numbers are a function
            of the seed and the lane id.
    """

    source: str
    output: str
    settings: Settings
    keep_diverged: bool = False
    lane: int = 0

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> Job:
        """The job of a record; the inverse of `entries`."""
        own = {name: entries[name] for name in JOB_ENTRIES if name in entries}
        given = {name: entries[name] for name in options(Settings) if name in entries}
        return cls(**own, settings=Settings(**given))

    @property
    def entries(self) -> dict[str, Any]:
        """The job as it is written in a record."""
        return {name: getattr(self, name) for name in JOB_ENTRIES} | words(self.settings)

    @property
    def files(self) -> dict[str, Path]:
        """The files that the job reads, by the names of their entries."""
        found = {name: self._file(name) for name in FILE_FIELDS}
        return {name: Path(file) for name, file in found.items() if file is not None}

    def moved(self, move: Callable[[str], str]) -> Job:
        """The same job with other paths."""
        new: dict[str, Any] = {"output": move(self.output)}
        for name in FILE_FIELDS:
            file = self._file(name)
            if file is not None:
                new[name] = move(file) + str(self.entries[name])[len(file) :]
        return Job.of(self.entries | new)

    def input_hashes(self, names: Collection[str] = FILE_FIELDS.keys()) -> dict[str, str]:
        """The SHA-256 of the files that the job reads, or of those in these entries."""
        return {name: file_hash(path) for name, path in self.files.items() if name in names}

    def tail(self, name: str) -> str:
        """The part of an entry after its file: the name of an operator or array."""
        text = self.entries[name]
        return "" if text is None else str(text)[len(self._file(name) or "") :]

    def check(self) -> None:
        """Check the numbers and names that can be checked without a picture.

        Raises:
            InvalidArgument: If a setting is invalid.
        """
        for name, kind in {**JOB_ENTRIES, **kinds()}.items():
            value = self.entries[name]
            good = value is None or isinstance(value, (int, float) if kind is float else kind)
            require(good, name, expected=f"a {kind.__name__} in a job", got=type(value).__name__)
        for name in ("source", "output", "task"):
            require(bool(self.entries[name]), name, expected="a name", got="an empty one")
        within = -MAX_SEED - 1 <= self.lane <= MAX_SEED
        require(within, "lane", expected="an integer of 64 bits", got=self.lane)
        method(str(self.settings.solver))
        check_name(str(self.settings.task))
        check_numbers(self.settings)

    def _file(self, name: str) -> str | None:
        text = self.entries[name]
        return None if text is None else FILE_FIELDS[name](str(text))


JOB_ENTRIES: dict[str, type] = {"source": str, "output": str, "keep_diverged": bool, "lane": int}


def kinds() -> dict[str, type]:
    """The type of every setting in a record."""
    return {name: option.kind for name, option in options(Settings).items()}


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits; of a folder, that of its files and their names.

    Raises:
        PictureError: If a file cannot be read.
    """
    digest, top = sha256(), Path(path)
    if top.is_dir():
        for file in sorted(p for p in top.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(top).as_posix()}\0{file_hash(file)}\0".encode())
        return digest.hexdigest()
    with open_regular(path) as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def lane_of(content: str) -> int:
    """The lane id of a picture, from the SHA-256 of its content."""
    return int(content[:16], 16) - (1 << 63)

"""Files that belong to pictures by their names: a mask, a kernel or a truth for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

from reddiff.errors import InvalidArgument, PictureError
from reddiff.images.folders import SUFFIXES
from reddiff.images.io import picture_size
from reddiff.images.jobs import Job
from reddiff.images.settings import Settings

KINDS: Mapping[str, Sequence[str]] = {
    "mask": SUFFIXES,
    "kernel": (".npy", ".npz", ".png"),
    "truth": SUFFIXES,
}
OWN = ("mask", "kernel")  # settings that a picture may have of its own
NAMED = 5  # pictures without a partner that are named


def is_folder(text: object) -> bool:
    """Whether an option names a folder with a file for each picture."""
    return isinstance(text, str | Path) and text != "" and Path(text).is_dir()


def files_of(name: str, folder: str | Path, places: Sequence[PurePath]) -> list[Path]:
    """The file of each picture in a folder: of the same relative name, but for its extension.

    Arguments:
        name: What they are: `mask`, `kernel` or `truth`.
        folder: The folder.
        places: The relative paths of the pictures.

    Raises:
        InvalidArgument: If a picture has no file or several, or two pictures have the same; names
            the first few.
    """
    found: dict[str, list[Path]] = {}
    for top, below, names in os.walk(folder):
        below[:] = [n for n in below if not n.startswith(".")]
        for file in names:
            path = Path(top, file)
            if not file.startswith(".") and path.suffix.lower() in KINDS[name]:
                key = path.relative_to(folder).with_suffix("").as_posix()
                found.setdefault(key, []).append(path)
    keys = [place.with_suffix("").as_posix() for place in places]
    expected = f"one file in {folder} for each picture, of the same name but for its extension"
    missing = [str(place) for key, place in zip(keys, places, strict=True) if key not in found]
    if missing:
        raise InvalidArgument(name, expected=expected, got=f"none for {_some(missing)}")
    several = sorted({" and ".join(p.name for p in found[k]) for k in keys if len(found[k]) > 1})
    if several:
        raise InvalidArgument(name, expected=expected, got=f"several: {_some(several)}")
    owners: dict[str, str] = {}
    for key, place in zip(keys, places, strict=True):
        if key in owners:
            got = f"{found[key][0].name} for {owners[key]} and {place}"
            raise InvalidArgument(name, expected=expected, got=got)
        owners[key] = str(place)
    return [found[key][0] for key in keys]


def own_settings(settings: Settings, places: Sequence[PurePath]) -> list[Settings]:
    """The settings of each picture: with its own mask and kernel, where these are folders.

    Raises:
        InvalidArgument: As `files_of`.
    """
    each = [settings] * len(places)
    for name in OWN:
        if is_folder(folder := getattr(settings, name)):
            files = files_of(name, folder, places)
            each = [with_own(s, {name: str(f)}) for s, f in zip(each, files, strict=True)]
    return each


def own_truths(truth: Path | None, places: Sequence[PurePath]) -> list[Path | None]:
    """The truth of each picture.

    Raises:
        InvalidArgument: As `files_of`, and if one file is given for several pictures.
    """
    if truth is None or (len(places) == 1 and not truth.is_dir()):
        return [truth] * len(places)
    if not truth.is_dir():
        expected = "a single input for one truth, or a folder with one for each"
        raise InvalidArgument("truth", expected=expected, got=f"{len(places)} inputs")
    return [*files_of("truth", truth, places)]


def with_own(settings: Settings, own: Mapping[str, str]) -> Settings:
    """The settings with the files that a picture has of its own."""
    return replace(settings, **own)  # type: ignore[arg-type]


def other_sizes(jobs: Sequence[Job]) -> list[str]:
    """A sentence on the pictures that will fail because their mask has another size.

    Only headers are read. Files that cannot be read are not mentioned here.
    """
    found = []
    for job in jobs:
        mask = None if job.settings.fit_mask else job.files.get("mask")
        if mask is None:
            continue
        with suppress(PictureError):
            has, wanted = picture_size(mask), picture_size(job.source, page=job.settings.page)
            if has != wanted:
                sizes = "{1}x{0}, its mask {3}x{2}".format(*wanted, *has)
                found.append(f"{job.source} ({sizes})")
    if not found:
        return []
    many = f"{len(found)} of {len(jobs)} pictures"
    return [f"The mask has another size than {many}, which will fail: {_some(found)}."]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

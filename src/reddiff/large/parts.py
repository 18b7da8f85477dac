"""The folder beside an unfinished result: its plan, its windows, and how far it is."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from reddiff.errors import PictureError
from reddiff.files import read_regular, write_error, write_whole
from reddiff.images.records import MAX_BYTES, as_json, record_path
from reddiff.large.plan import differences
from reddiff.locks import fsync_folders, require_lock

FORMAT = 1
OWN = ("lock", "plan.json", "finished.json", "window-", "result.", "replaced", ".")


class Parts:
    """The parts of a result, in a folder `OUT.parts` that is removed when it is complete.

    Arguments:
        output: The result.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.folder = output, output.with_name(f"{output.name}.parts")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and hold its lock, which the system releases when its holder dies.

        Raises:
            PictureError: If another run holds it, it cannot be written, or it has other files.
        """
        self._check_own()
        with writing(self.output):
            self.folder.mkdir(exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            require_lock(descriptor, self.output)
            try:
                yield
            finally:
                if not (self.folder / "plan.json").exists():  # nothing was begun
                    self.remove()
        finally:
            os.close(descriptor)

    def begin(self, plan: Mapping[str, Any], *, force: bool) -> dict[str, Any]:
        """Check that the parts are of this plan, and return what was noted beside it.

        Raises:
            PictureError: If they are of another plan, unless `force` discards them.
        """
        path = self.folder / "plan.json"
        if not path.exists():  # killed while it was removed, there may be parts without a plan
            self.clear()
            return {}
        try:
            found = json.loads(read_regular(path, MAX_BYTES))
            old, notes = found["plan"], found["notes"]
            good = found["format"] == FORMAT
        except (ValueError, KeyError, TypeError):
            old, notes, good = {}, {}, False
        if good and old == plan:
            return dict(notes)
        if not force:
            changed = "; ".join(differences(old, plan)[:4]) if good else "a damaged plan"
            expected = f"the run that {self.folder.name} was begun with (--force discards it)"
            raise PictureError(self.output, expected=expected, got=changed)
        self.clear()
        return {}

    def write_plan(self, plan: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Write the plan, and what was found out before the first window."""
        entries = {"format": FORMAT, "plan": plan, "notes": notes}
        write_whole(self.folder / "plan.json", as_json(entries), force=True)

    def window_path(self, picture: int, row: int, column: int) -> Path:
        """The file of a window: it is there if the window is done."""
        return self.folder / f"window-{picture}-{row}-{column}.npy"

    def write_window(self, path: Path, pixels: NDArray[Any]) -> None:
        """Write the pixels of a window in [0, 1]; the file takes its name when it is complete."""
        header = BytesIO()
        npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(pixels))
        write_whole(path, [header.getvalue(), pixels.tobytes()], force=True)

    def window(self, path: Path) -> NDArray[Any]:
        """The pixels of a window."""
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    @property
    def finished(self) -> dict[str, int]:
        """Up to which row each picture of the stack is written."""
        path = self.folder / "finished.json"
        if not path.exists():
            return {}
        found: dict[str, int] = json.loads(read_regular(path, MAX_BYTES))
        return found

    def finish_rows(self, picture: int, stop: int) -> None:
        """Note that the rows of a picture are written up to this one."""
        entries = as_json(self.finished | {str(picture): stop})
        write_whole(self.folder / "finished.json", entries, force=True)

    def place(self, result: Path, record: Mapping[str, Any]) -> None:
        """Write the record, give the result its name, and remove the folder.

        What is replaced goes first: an older result never lies beside the new record.
        """
        with writing(self.output):
            if self.output.exists():
                self.output.rename(self.folder / "replaced")
            write_whole(record_path(self.output), as_json(record), force=True)
            result.replace(self.output)
        fsync_folders([self.output.absolute().parent])
        self.remove()

    def clear(self) -> None:
        """Remove all but the lock: first what says that parts are finished, last their plan."""
        order = {"finished.json": 0, "plan.json": 2, "lock": 3}
        for entry in sorted(self.folder.iterdir(), key=lambda entry: order.get(entry.name, 1)):
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()

    def remove(self) -> None:
        """Remove the folder."""
        with suppress(OSError):
            self.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_own(self) -> None:
        """Refuse a folder with files of others."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        others = [name for name in sorted(names) if not name.startswith(OWN)]
        if others:
            expected = "a new folder, or the parts of an earlier run"
            got, number = f"one with {others[0]}", errno.EEXIST
            raise PictureError(self.folder, expected=expected, got=got, errno=number)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the system as one that names the result."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error

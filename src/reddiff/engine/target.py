"""The folder that a run writes to: its lock, its plan, and its finished shards."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reddiff.engine.items import Source
from reddiff.engine.plan import Plan
from reddiff.errors import PictureError
from reddiff.files import read_regular, write_error, write_whole
from reddiff.locks import require_lock, try_lock

STATE = "_run"
MAX_STATE = 1 << 33


class Target:
    """A folder of results. Everything except the results is in its sub-folder `_run`.

    Arguments:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / STATE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and hold its lock. The system releases it when the process dies.

        Raises:
            PictureError: If another run holds the lock, or the folder cannot be written.
        """
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            require_lock(descriptor, self.folder)
            yield
        finally:
            os.close(descriptor)

    @property
    def busy(self) -> bool:
        """Whether a run is writing to it."""
        try:
            descriptor = os.open(self.state / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            return not try_lock(descriptor)
        finally:
            os.close(descriptor)

    def check_new(self) -> None:
        """Check that the folder is empty or has only the results of an earlier run.

        Raises:
            PictureError: If it has other files; the message names one.
        """
        with suppress(FileNotFoundError):
            if self.folder.is_dir() and (self.state / "plan.json").exists():
                return
            others = (path.name for path in self.folder.iterdir() if path.name != STATE)
            if first := next(others, None):
                expected = "a new or empty folder, or one of an earlier run"
                raise PictureError(self.folder, expected=expected, got=f"one with {first}")

    def plan(self) -> Plan | None:
        """The plan with which the run was started; None if there is none.

        Raises:
            PictureError: If it is damaged, or has another format.
        """
        path = self.state / "plan.json"
        if not path.exists():
            return None
        try:
            return Plan.parse(read_regular(path, MAX_STATE))
        except (ValueError, TypeError) as error:
            expected = "the plan of a run (--new-run moves it aside)"
            raise PictureError(path, expected=expected, got=error) from error

    def begin(self, plan: Plan, source: Source) -> None:
        """Write the plan and the list of the source."""
        data = "".join(source.lines).encode("utf-8", "surrogateescape")
        write_whole(self.state / "sources.gz", gzip.compress(data, 1, mtime=0), force=True)
        write_whole(self.state / "plan.json", plan.as_json(), force=True)

    def source_changes(self, source: Source) -> str:
        """The differences of a source from the stored list, in a few words."""
        try:
            text = gzip.decompress(read_regular(self.state / "sources.gz", MAX_STATE))
            lines = text.decode("utf-8", "surrogateescape").splitlines()
            was = {key: size for size, key in (line.split("\t", 1) for line in lines)}
        except (OSError, ValueError, PictureError):
            return "the list of the source"
        now = {item.key: str(item.size) for item in source.items}
        kinds = {
            "new": [key for key in now if key not in was],
            "missing": [key for key in was if key not in now],
            "of another size": [key for key in now if was.get(key, now[key]) != now[key]],
        }
        said = [f"{len(k)} {word}, the first: {k[0]}" for word, k in kinds.items() if k]
        return "; ".join(said) or "the order of the pictures"

    def marker_path(self, shard: int) -> Path:
        return self.state / f"{shard:05d}_stats.json"

    def placing_path(self, shard: int) -> Path:
        """The file with the list of the files of an unfinished shard, some of which may exist."""
        return self.state / f"{shard:05d}_placing.json"

    def reopen(self, shard: int) -> None:
        """Mark a shard as unfinished."""
        self.marker_path(shard).replace(self.placing_path(shard))

    def marker(self, shard: int, plan: Plan) -> dict[str, Any] | None:
        """The marker of a finished shard; None if it is unfinished, or its files have changed."""
        try:
            found = json.loads(read_regular(self.marker_path(shard), MAX_STATE))
            if found["plan"] != plan.id or found["shard"] != shard:
                return None
            whole = all(
                os.stat(self.folder / name).st_size == entry["bytes"]  # noqa: PTH116 - many
                for name, entry in found["files"].items()
            )
        except (OSError, PictureError, ValueError, KeyError, TypeError):
            return None
        return found if whole else None

    def markers(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """The markers of all finished shards."""
        for shard in range(plan.shards):
            if (found := self.marker(shard, plan)) is not None:
                yield found

    def clear(self, *, keep: bool) -> Path | None:
        """Remove the results of the earlier run, or move them to a folder, which is returned.

        Only files in the lists of the earlier run are touched.
        """
        place = None
        if keep:
            numbers = range(1, 10_000)
            place = next(p for n in numbers if not (p := self.folder / f"previous-{n}").exists())
            (place / STATE).mkdir(parents=True)
            for name in ("plan.json", "sources.gz"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(self.state / name, place / STATE / name)
        for path in sorted(self.state.glob("*_*.json")):  # markers, and shards being placed
            names: Iterable[str] = ()
            with suppress(ValueError, KeyError, TypeError, PictureError):
                names = list(json.loads(read_regular(path, MAX_STATE))["files"])
            for name in names:
                if not Path(name).is_absolute() and ".." not in Path(name).parts:
                    _take(self.folder, name, place)
            _take(self.folder, f"{STATE}/{path.name}", place)
        for name in ("failed.jsonl", "failed.parquet"):
            _take(self.folder, name, place)
        shutil.rmtree(self.state / "spool", ignore_errors=True)
        return place


def _take(folder: Path, name: str, place: Path | None) -> None:
    """Remove a file, or move it to another folder."""
    with suppress(FileNotFoundError):
        if place is None:
            (folder / name).unlink()
        else:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(place / name)
    with suppress(OSError):  # folders that are now empty
        for parent in (folder / name).parents:
            if parent in (folder, folder / STATE):
                break
            parent.rmdir()

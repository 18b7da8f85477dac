"""The results file: one SQLite database that survives being killed at any point.

Every batch of images is one transaction, so that a result is there with its measurement or not at
all. A second runner is kept out by a lock on the file beside it, which the system releases when its
holder dies; readers are never kept out.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reddiff.errors import PictureError

FORMAT = 1
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE measurement(
    id INTEGER PRIMARY KEY, prior TEXT NOT NULL, task TEXT NOT NULL, noise REAL NOT NULL,
    image TEXT NOT NULL, seed INTEGER NOT NULL, truth BLOB, degraded BLOB, y_hash TEXT NOT NULL,
    UNIQUE(prior, task, noise, image));
CREATE TABLE result(
    measurement INTEGER NOT NULL REFERENCES measurement(id), solver TEXT NOT NULL,
    status TEXT NOT NULL, error TEXT, metrics TEXT NOT NULL, evaluations INTEGER NOT NULL,
    vjps INTEGER NOT NULL, seconds REAL NOT NULL, peak_bytes INTEGER, batch INTEGER NOT NULL,
    picture BLOB, extra TEXT NOT NULL, PRIMARY KEY(measurement, solver));
CREATE TABLE feature(
    measurement INTEGER NOT NULL REFERENCES measurement(id), solver TEXT NOT NULL,
    network TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY(measurement, solver, network));
INSERT INTO meta VALUES ('format', '1');
"""

Key = tuple[str, str, float, str]  # prior, task, noise, image


@dataclass(frozen=True)
class Measurement:
    """A y that all solvers share.

    Arguments:
        prior, task, noise, image: Their labels; the noise in [0, 1] pixels.
        seed: The lane id, from the content of the image.
        truth, degraded: PNG files.
        y_hash: A hash of the values of y.
        features: Network -> its float32 features of the truth.
    """

    prior: str
    task: str
    noise: float
    image: str
    seed: int
    truth: bytes
    degraded: bytes
    y_hash: str
    features: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.prior, self.task, self.noise, self.image


@dataclass(frozen=True)
class Result:
    """What a solver made of a measurement.

    Arguments:
        key: The measurement.
        solver: Its label.
        status: ok, diverged, unsupported or failed.
        error: Why, in a sentence.
        metrics: Name -> number.
        evaluations, vjps: Of this image.
        seconds: Those of the batch over its images.
        peak_bytes: Of the batch, beyond one call of the bare network.
        batch: The images solved together.
        picture: A PNG file; None if there is no result.
        extra: Anything else.
        features: Network -> its float32 features of the picture.
    """

    key: Key
    solver: str
    status: str
    error: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluations: int = 0
    vjps: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None
    batch: int = 1
    picture: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, bytes] = field(default_factory=dict)


class Results:
    """An open results file. Use `Results.open`, which locks it for writing, or `read`.

    Arguments:
        path: The file.
        connection: To it.
        lock: Held while this object may write.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: sqlite3.Connection | None
    ) -> None:
        self.path, self._db, self._lock = path, connection, lock

    @classmethod
    def open(cls, path: Path) -> Results:
        """Open a file to add to, or make it.

        Raises:
            PictureError: If it is no results file of this format, another runner has it, or it
                cannot be written.
        """
        with _explained(path):
            lock = _locked(path)
            db = sqlite3.connect(path, isolation_level=None)
            try:  # a file that was killed while it was made is empty
                if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
                results = cls(path, db, lock)
                results._check_format()
            except BaseException:
                db.close()
                lock.close()
                raise
        return results

    @classmethod
    def read(cls, path: Path) -> Results:
        """Open a file that exists, to read it; a runner may be adding to it.

        Raises:
            PictureError: If it is no results file of this format.
        """
        with _explained(path):
            db = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None)
            results = cls(path, db, None)
            try:
                results._check_format()
            except BaseException:
                db.close()
                raise
        return results

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def meta(self) -> dict[str, str]:
        """What the file says of itself."""
        with _explained(self.path):
            return dict(self._db.execute("SELECT key, value FROM meta"))

    def write_meta(self, entries: Mapping[str, str]) -> None:
        """Add to what the file says of itself."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", entries.items())

    def done(self) -> dict[tuple[Key, str], str]:
        """The status of every result, by measurement and solver."""
        query = (
            "SELECT prior, task, noise, image, solver, status FROM result "
            "JOIN measurement ON measurement.id = result.measurement"
        )
        with _explained(self.path):
            return {(tuple(row[:4]), row[4]): row[5] for row in self._db.execute(query)}

    def seeds(self) -> dict[str, int]:
        """The seed of every image."""
        with _explained(self.path):
            return dict(self._db.execute("SELECT DISTINCT image, seed FROM measurement"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """All results with their measurements, without the pictures; `metrics` as numbers."""
        query = (
            "SELECT prior, task, noise, image, solver, status, error, metrics, evaluations, vjps, "
            "seconds, peak_bytes, batch, y_hash FROM result JOIN measurement ON measurement.id = "
            "result.measurement ORDER BY measurement.id, result.rowid"
        )
        with _explained(self.path):
            cursor = self._db.execute(query)
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                yield row | {"metrics": json.loads(row["metrics"])}

    def pictures(self, key: Key) -> tuple[bytes, bytes, dict[str, bytes]] | None:
        """PNG files: the truth, the degraded picture, and those of solvers; None if not there."""
        query = (
            "SELECT id, truth, degraded FROM measurement "
            "WHERE (prior, task, noise, image) = (?, ?, ?, ?)"
        )
        with _explained(self.path):
            found = self._db.execute(query, key).fetchone()
            if found is None or None in found:
                return None
            query = "SELECT solver, picture FROM result WHERE measurement = ? AND picture NOTNULL"
            return found[1], found[2], dict(self._db.execute(query, found[:1]))

    def features(self, network: str) -> Iterator[tuple[Key, str, bytes]]:
        """Measurement, solver ("" for the truth) and float32 features of a network."""
        query = (
            "SELECT prior, task, noise, image, solver, vector FROM feature JOIN measurement ON "
            "measurement.id = feature.measurement WHERE network = ?"
        )
        with _explained(self.path):
            for *key, solver, vector in self._db.execute(query, (network,)):
                yield (key[0], key[1], key[2], key[3]), solver, vector

    def add(self, measurements: Sequence[Measurement], results: Sequence[Result]) -> None:
        """Add results with their measurements, all or none; an older result is replaced.

        Raises:
            PictureError: If the disk is full or the file cannot be written; it is as before.
        """
        with self._transaction():
            for m in measurements:
                values = (*m.key, m.seed, m.truth, m.degraded, m.y_hash)
                self._db.execute(
                    "INSERT OR IGNORE INTO measurement(prior, task, noise, image, seed, truth, "
                    "degraded, y_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
            for r in results:
                self._db.execute(
                    "INSERT OR REPLACE INTO result SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM "
                    "measurement WHERE (prior, task, noise, image) = (?, ?, ?, ?)",
                    (
                        r.solver,
                        r.status,
                        r.error,
                        json.dumps(dict(r.metrics)),
                        r.evaluations,
                        r.vjps,
                        r.seconds,
                        r.peak_bytes,
                        r.batch,
                        r.picture,
                        json.dumps(dict(r.extra)),
                        *r.key,
                    ),
                )
            described = [(m.key, "", m.features) for m in measurements]
            described += [(r.key, r.solver, r.features) for r in results]
            for key, solver, features in described:
                self._db.executemany(
                    "INSERT OR REPLACE INTO feature SELECT id, ?, ?, ? FROM measurement "
                    "WHERE (prior, task, noise, image) = (?, ?, ?, ?)",
                    [(solver, network, vector, *key) for network, vector in features.items()],
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    def _check_format(self) -> None:
        try:
            found = self.meta().get("format")
        except PictureError as error:
            if "no such table" not in str(error):
                raise
            found = "another database"
        if found != str(FORMAT):
            expected = f"results of format {FORMAT} (--new keeps the file and begins another)"
            raise PictureError(self.path, expected=expected, got=found or "none")


def move_aside(path: Path) -> Path | None:
    """Rename a file to the first free of NAME.1, NAME.2, ...; the new name, None if there is none.

    Raises:
        PictureError: If another runner has it, or it cannot be renamed.
    """
    with _explained(path):
        if not path.exists():
            return None
        lock = _locked(path)
        try:
            for number in range(1, 10_000):
                aside = path.with_name(f"{path.stem}.{number}{path.suffix}")
                if not aside.exists():
                    path.rename(aside)
                    break
        finally:
            lock.close()
    return aside


def _locked(path: Path) -> sqlite3.Connection:
    """The lock of a file: a transaction on an empty database beside it."""
    lock = sqlite3.connect(path.with_name(f"{path.name}.lock"), isolation_level=None, timeout=0)
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" in str(error):
            expected, got = "a file that no other run is adding to", "one that another run has"
            raise PictureError(path, expected=expected, got=got) from error
        raise
    return lock


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system into one line."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, PictureError):
            raise
        got = " ".join(str(error).split())
        number, expected = getattr(error, "errno", None), "a results file"
        if "disk is full" in got:
            number, expected = errno.ENOSPC, "space for the results; what was stored stays"
        raise PictureError(path, expected=expected, got=got, errno=number) from error

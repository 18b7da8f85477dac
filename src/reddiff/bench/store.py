"""The results file: one SQLite database that survives being killed at any point.

Every batch of images is one transaction, so a result is stored with its measurement or not at all.
A lock on a file beside it prevents a second run from writing; the operating system releases it when
its holder dies. Reading is always possible.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from reddiff.bench.locking import explained, locked
from reddiff.bench.rows import FORMAT, SCHEMA, Key, Measurement, Result
from reddiff.errors import PictureError


class Results:
    """An open results file. Use `Results.open`, which locks it for writing, or `read`.

    Arguments:
        path: The file.
        connection: The connection to the database.
        lock: The lock, held while this object may write.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: BinaryIO | None) -> None:
        self.path, self._db, self._lock = path, connection, lock

    @classmethod
    def open(cls, path: Path) -> Results:
        """Open a file for writing, or create it.

        Raises:
            PictureError: If it is not a results file of this format, another run holds its lock, or
                it cannot be written.
        """
        with explained(path):
            lock = locked(path)
            db = sqlite3.connect(path, isolation_level=None)
            try:  # the file is empty if its creation was interrupted
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
        """Open an existing file for reading; another run may be writing to it.

        Raises:
            PictureError: If it is not a results file of this format.
        """
        with explained(path):
            db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
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
        """The entries about the file as a whole."""
        with explained(self.path):
            return dict(self._db.execute("SELECT key, value FROM meta"))

    def write_meta(self, entries: Mapping[str, str]) -> None:
        """Add entries about the file as a whole."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", entries.items())

    def done(self) -> dict[tuple[Key, str], str]:
        """The status of every result, by measurement and solver."""
        query = (
            "SELECT prior, task, noise, image, solver, status FROM result "
            "JOIN measurement ON measurement.id = result.measurement"
        )
        with explained(self.path):
            return {(tuple(row[:4]), row[4]): row[5] for row in self._db.execute(query)}

    def seeds(self) -> dict[tuple[str, str], int]:
        """The seed of every image of a prior. Drawn images of one name differ between priors."""
        with explained(self.path):
            rows = self._db.execute("SELECT DISTINCT prior, image, seed FROM measurement")
            return {(prior, image): seed for prior, image, seed in rows}

    def rows(self) -> Iterator[dict[str, Any]]:
        """All results with their measurements, without the pictures; `metrics` as numbers."""
        query = (
            "SELECT prior, task, noise, image, solver, status, error, metrics, evaluations, vjps, "
            "seconds, peak_bytes, batch, y_hash FROM result JOIN measurement ON measurement.id = "
            "result.measurement ORDER BY measurement.id, result.rowid"
        )
        with explained(self.path):
            cursor = self._db.execute(query)
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                yield row | {"metrics": json.loads(row["metrics"])}

    def pictures(self, key: Key) -> tuple[bytes, bytes, dict[str, bytes]] | None:
        """PNG files of the truth, the degraded picture and the results; None if missing."""
        query = (
            "SELECT id, truth, degraded FROM measurement "
            "WHERE (prior, task, noise, image) = (?, ?, ?, ?)"
        )
        with explained(self.path):
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
        with explained(self.path):
            for *key, solver, vector in self._db.execute(query, (network,)):
                yield (key[0], key[1], key[2], key[3]), solver, vector

    def add(self, measurements: Sequence[Measurement], results: Sequence[Result]) -> None:
        """Add results with their measurements, all or none; older results are replaced.

        Raises:
            PictureError: If the disk is full or the file cannot be written. It is then unchanged.
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
                    (*r.columns, *r.key),
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
        with explained(self.path):
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
            expected = f"results of format {FORMAT} (--new keeps the file and starts a new one)"
            raise PictureError(self.path, expected=expected, got=found or "none")

"""Results files, read together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reddiff.bench.feature_sets import Vectors
from reddiff.bench.store import Key, Results
from reddiff.bench.summary import Cell
from reddiff.errors import InvalidArgument, PictureError
from reddiff.files import open_regular


@dataclass(frozen=True)
class Source:
    """One results file.

    Arguments:
        path: The file.
        meta: What it says of itself, parsed.
        labels: The solver in the file -> its label in the report.
    """

    path: Path
    meta: Mapping[str, Any]
    labels: Mapping[str, str]

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec in plain data."""
        return self.meta.get("spec", {})


@dataclass(frozen=True)
class Strip:
    """The pictures of one measurement: PNG files, solvers by label."""

    truth: bytes
    degraded: bytes
    restored: Mapping[str, bytes]


@dataclass(frozen=True)
class Loaded:
    """What results files hold; the pictures are read when they are asked for."""

    sources: tuple[Source, ...]
    rows: list[dict[str, Any]] = field(repr=False)

    @property
    def solvers(self) -> tuple[str, ...]:
        """Their labels, in the order of the specs."""
        there = {row["solver"] for row in self.rows}
        named = [s.labels.get(name, name) for s in self.sources for name in s.spec["solvers"]]
        return tuple(dict.fromkeys(name for name in named if name in there))

    @property
    def published(self) -> list[Mapping[str, Any]]:
        """Published numbers of the specs: task, method, metric, value, source."""
        return [entry for source in self.sources for entry in source.spec.get("published", [])]

    def strip(self, cell: Cell, image: str) -> Strip | None:
        """The pictures of a measurement, or None if there are none."""
        found: Strip | None = None
        for source in self.sources:
            with _opened(source.path) as results:
                pictures = results.pictures((*cell, image))
            if pictures is not None:
                truth, degraded, restored = pictures
                before = {} if found is None else found.restored
                named = {source.labels.get(s, s): png for s, png in restored.items()}
                found = Strip(truth, degraded, {**before, **named})
        return found

    def features(self, network: str) -> dict[tuple[Cell, str], Vectors]:
        """The features of truths (solver "") and results, by cell, solver and image."""
        found: dict[tuple[Cell, str], dict[str, Any]] = {}
        for source in self.sources:
            with _opened(source.path) as results:
                for key, solver, vector in results.features(network):
                    label = source.labels.get(solver, solver)
                    images = found.setdefault((Cell(*key[:3]), label), {})
                    images[key[3]] = np.frombuffer(vector, np.float32)
        return dict(found)


def load_results(paths: Sequence[Path]) -> Loaded:
    """Read results files.

    A solver whose label another file has used for the same measurement gets the name of its file
    behind it.

    Raises:
        PictureError: If a file cannot be read or is no results file of this format, or there are
            no results.
        InvalidArgument: If files have different measurements y under the same names.
    """
    sources, rows = [], []
    hashes: dict[Key, str] = {}
    taken: set[tuple[Key, str]] = set()
    for path in paths:
        with _opened(path) as results:
            own = list(results.rows())
            meta = {key: _parsed(value) for key, value in results.meta().items()}
        for row in own:
            if hashes.setdefault(_key(row), row["y_hash"]) != row["y_hash"]:
                expected = "files with the same measurements, or other names of tasks or images"
                got = f"another y of {row['task']}, {row['image']} in {path}"
                raise InvalidArgument("RESULTS", expected=expected, got=got)
        double = {r["solver"] for r in own if (_key(r), r["solver"]) in taken}
        labels = {name: f"{name} ({path.stem})" for name in sorted(double)}
        for row in own:
            row["solver"] = labels.get(row["solver"], row["solver"])
            taken.add((_key(row), row["solver"]))
        sources.append(Source(path, meta, labels))
        rows += own
    if not rows:
        raise PictureError(paths[0], expected="results", got="none yet")
    return Loaded(tuple(sources), rows)


def _key(row: Mapping[str, Any]) -> Key:
    return row["prior"], row["task"], row["noise"], row["image"]


def _parsed(value: str) -> Any:
    """JSON where it is some: `created` is a plain text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


@contextmanager
def _opened(path: Path) -> Iterator[Results]:
    """A results file to read, or one line on why it is none."""
    with open_regular(path):  # no pipe, which would not end
        pass
    results = Results.read(path)
    try:
        yield results
    finally:
        results.close()

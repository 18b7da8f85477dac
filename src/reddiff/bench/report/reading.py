"""Read results files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from reddiff.bench.feature_sets import Vectors
from reddiff.bench.rows import Key
from reddiff.bench.store import Results
from reddiff.bench.summary import Cell
from reddiff.errors import InvalidArgument, PictureError
from reddiff.files import open_regular

JSON = {"spec", "weights", "versions", "machine"}  # the entries of `meta` that are JSON


@dataclass(frozen=True)
class Source:
    """One results file.

    Arguments:
        path: The file.
        meta: The entries about the file as a whole, parsed.
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
    """The content of results files. Pictures are read when they are needed.

    Arguments:
        sources: The files.
        rows: All results.
        oracles: Label of an oracle -> cell -> solver whose results it repeats there.
    """

    sources: tuple[Source, ...]
    rows: list[dict[str, Any]] = field(repr=False)
    oracles: Mapping[str, Mapping[Cell, str]] = field(default_factory=dict)

    @property
    def solvers(self) -> tuple[str, ...]:
        """Their labels, in the order of the specs, then those that are in no spec."""
        there = dict.fromkeys(row["solver"] for row in self.rows)
        specs = [(s.labels, s.spec.get("solvers", {})) for s in self.sources]
        named = [labels.get(name, name) for labels, solvers in specs for name in solvers]
        return tuple(dict.fromkeys([name for name in named if name in there] + list(there)))

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
        if found is None or not self.oracles:
            return found
        taken = {label: cells.get(cell, "") for label, cells in self.oracles.items()}
        more = {k: found.restored[s] for k, s in taken.items() if s in found.restored}
        return replace(found, restored={**found.restored, **more})

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

    If two files have a solver of the same label for the same measurement, the name of the file is
    appended to the label of the second.

    Raises:
        PictureError: If a file cannot be read or is not a results file of this format, or there are
            no results.
        InvalidArgument: If files have different measurements y under the same names.
    """
    sources: list[Source] = []
    rows: list[dict[str, Any]] = []
    hashes: dict[Key, str] = {}
    taken: set[tuple[Key, str]] = set()
    for path in paths:
        with _opened(path) as results:
            own = list(results.rows())
            meta = {k: json.loads(v) if k in JSON else v for k, v in results.meta().items()}
        for row in own:
            if hashes.setdefault(_key(row), row["y_hash"]) != row["y_hash"]:
                expected = "files with the same measurements, or other names of tasks or images"
                got = f"another y of {row['task']}, {row['image']} in {path}"
                raise InvalidArgument("RESULTS", expected=expected, got=got)
        double = {r["solver"] for r in own if (_key(r), r["solver"]) in taken}
        known = {row["solver"] for row in (*rows, *own)}
        labels = _new_labels(sorted(double), path, known)
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


def _new_labels(names: Iterable[str], path: Path, taken: Set[str]) -> dict[str, str]:
    """A label for each solver: its name, the name of the file, and a number if needed."""
    labels: dict[str, str] = {}
    for name in names:
        tried = (f"{name} ({path.stem}{f' {i}' if i > 1 else ''})" for i in itertools.count(1))
        labels[name] = next(label for label in tried if label not in taken)
    return labels


@contextmanager
def _opened(path: Path) -> Iterator[Results]:
    """A results file opened for reading; a one-line error if it is not one."""
    with open_regular(path):  # not a pipe, which would never end
        pass
    results = Results.read(path)
    try:
        yield results
    finally:
        results.close()

"""The tables and rows of a results file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    """A measurement y that all solvers share.

    Arguments:
        prior, task, noise, image: Their labels; the noise level is for pixels in [0, 1].
        seed: The lane id, from the content of the image. truth, degraded: PNG files. y_hash: A hash
        of the values of y. features: Network -> float32 features of the truth.
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
    """The result of a solver for a measurement.

    Arguments:
        key: The measurement.
        solver: Its label.
        status: ok, diverged, unsupported or failed.
        error: Why, in a sentence.
        metrics: Name -> number. evaluations, vjps: The network evaluations and backward passes for
        this image. seconds: The time of the batch divided by its number of images. peak_bytes: The
        peak memory of the batch beyond one call of the network. batch: The number of images solved
        together. picture: A PNG file; None if there is no result. extra: Anything else. features:
        Network -> float32 features of the picture.
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

    @property
    def columns(self) -> tuple[Any, ...]:
        """The entries of its row after the number of the measurement."""
        metrics, extra = json.dumps(dict(self.metrics)), json.dumps(dict(self.extra))
        cost = (self.evaluations, self.vjps, self.seconds, self.peak_bytes, self.batch)
        return (self.solver, self.status, self.error, metrics, *cost, self.picture, extra)

"""Compare results with the expectations of the spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from reddiff.bench.measures import measure
from reddiff.bench.spec import Expectation, Spec

Means = dict[tuple[str, str, float], dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Verdict:
    """An expectation for one prior, task and noise level.

    Arguments:
        text: The expectation.
        value: The measured value; None if it was not measured.
        holds: Whether it holds; None if it was not measured.
    """

    text: str
    value: float | None
    holds: bool | None


def judge(spec: Spec, rows: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Every expectation of the spec, for every prior, task and noise level.

    An expectation on a solver that diverged or failed on an image does not hold.
    """
    values = _values(rows)
    lost = Counter(
        ((row["prior"], row["task"], row["noise"]), row["solver"])
        for row in rows
        if row["status"] in ("diverged", "failed")
    )
    found = []
    for expectation in spec.expect:
        tasks = list(spec.tasks) if expectation.task == "all" else [expectation.task]
        for prior in spec.priors:
            for task in tasks:
                for noise in spec.noise_of(task):
                    where = f"{prior}, {task} at {noise:g}"
                    cell = prior, task, noise
                    verdict = _one(expectation, values.get(cell, {}), where)
                    count = lost[cell, expectation.better or expectation.solver or ""]
                    if count:
                        text = f"{verdict.text} (without result: {count} images)"
                        verdict = Verdict(text, verdict.value, False)
                    found.append(verdict)
    return found


def _values(rows: Iterable[Mapping[str, Any]]) -> Means:
    """Cell -> solver -> metric -> image -> value."""
    found: Means = {}
    for row in rows:
        cell = found.setdefault((row["prior"], row["task"], row["noise"]), {})
        plain = {k: row[k] for k in ("seconds", "evaluations", "vjps", "peak_bytes")}
        known = row["metrics"] | {k: v for k, v in plain.items() if v is not None}
        for name, value in known.items():
            if row["status"] == "ok":
                each = cell.setdefault(row["solver"], {}).setdefault(name, {})
                each[row["image"]] = value
    return found


def _one(e: Expectation, cell: Mapping[str, Any], where: str) -> Verdict:
    if e.better is not None and e.than is not None:
        first, second = (cell.get(s, {}).get(e.metric, {}) for s in (e.better, e.than))
        both = [k for k in first if k in second]
        text = f"{where}: {e.metric} of {e.better} better than {e.than} by {e.by:g}"
        if not both:
            return Verdict(text, None, None)
        loss = measure(e.metric).loss
        gain = fmean(loss(second[k]) for k in both) - fmean(loss(first[k]) for k in both)
        return Verdict(text, gain, gain >= e.by)
    values = cell.get(e.solver or "", {}).get(e.metric, {})
    bounds = [f"at least {e.least:g}"] if e.least is not None else []
    bounds += [f"at most {e.most:g}"] if e.most is not None else []
    text = f"{where}: {e.metric} of {e.solver} {' and '.join(bounds)}"
    if not values:
        return Verdict(text, None, None)
    mean = fmean(values.values())
    low = float("-inf") if e.least is None else e.least
    high = float("inf") if e.most is None else e.most
    return Verdict(text, mean, low <= mean <= high)

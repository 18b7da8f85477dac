"""The definitions, settings and failures behind the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reddiff.bench.measures import measure
from reddiff.bench.report.cards import card, plain_table
from reddiff.bench.report.reading import Loaded
from reddiff.bench.summary import Summary


def failures(loaded: Loaded) -> str:
    """Runs without a result, with the reason of the first."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in loaded.rows:
        if row["status"] != "ok":
            key = (row["solver"], row["prior"], row["task"], f"{row['noise']:g}", row["status"])
            entry = found.setdefault(key, [0, row["error"] or ""])
            entry[0] += 1
    if not found:
        return ""
    head = ("solver", "prior", "task", "noise", "status", "images", "reason of the first")
    return plain_table(head, [[*key, *entry] for key, entry in found.items()])


def how_measured(loaded: Loaded, summary: Summary) -> str:
    """Definitions, settings, versions and machines."""
    metrics = [[measure(m).title, measure(m).summary] for m in summary.metrics]
    parts = [card(plain_table(("metric", "definition"), metrics), "Metrics", "table")]
    oracles = [
        [label, cell.prior, cell.task, f"{cell.noise:g}", setting]
        for label, taken in loaded.oracles.items()
        for cell, setting in taken.items()
    ]
    if oracles:
        head = ("oracle", "prior", "task", "noise", "the best setting, chosen with the truth")
        parts.append(card(plain_table(head, oracles), "Oracles", "table"))
    for source in loaded.sources:
        facts = [
            [key, _flat(source.meta[key])]
            for key in ("created", "versions", "machine", "weights", "spec_hash")
            if key in source.meta
        ]
        spec = source.spec
        facts += [[k, _flat(spec[k])] for k in ("summary", "seed", "images") if spec.get(k)]
        name = f"{spec.get('name', '')} ({source.path.name})"
        parts.append(card(plain_table(("fact", "value"), facts), name, "table"))
        settings = [[kind[:-1], name, _flat(entry)] for kind, name, entry in _entries(spec)]
        table = plain_table(("kind", "name", "settings"), settings)
        parts.append(card(table, f"Settings of {spec.get('name', '')}", "table"))
    return "".join(parts)


def _entries(spec: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (kind, name, entry)
        for kind in ("priors", "tasks", "solvers")
        for name, entry in spec.get(kind, {}).items()
    ]


def _flat(value: Any) -> str:
    """A value as text: a mapping as `key value, ...`, without empty entries."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if v not in (None, {}, [], ())}
        return ", ".join(f"{k} {_flat(v)}" for k, v in kept.items())
    return value if isinstance(value, str) else json.dumps(value)

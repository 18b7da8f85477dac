"""Hashes of the problem and the prior of a run, which a resumed run must match."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

# Relative tolerance between results of a user-defined operator; rounding differences between
# machines in float32 are smaller.
ALIKE = 1e-5


@dataclass(frozen=True, eq=False)
class Origin:
    """Hashes of the problem and the prior of a run, computed on demand.

    `reddiff.run.fingerprints` creates it and documents what is hashed.

    Arguments:
        make: Computes the hashes.
    """

    make: Callable[[], Any]

    @classmethod
    def known(cls, tree: Any) -> Origin:
        """An origin with these hashes."""
        return cls(partial(_same, tree))

    @cached_property
    def tree(self) -> Any:
        """The hashes."""
        return self.make()

    def __reduce__(self) -> tuple[Callable[..., Origin], tuple[Any]]:
        """Copies and pickles contain the hashes, but not problem and prior."""
        return Origin.known, (self.tree,)

    def differences(self, other: Origin) -> list[str]:
        """The parts in which another origin differs, with their values there and here."""
        mine, theirs = self.tree, other.tree
        found = []
        if mine["dtype"] != theirs["dtype"]:
            found.append(f"dtype ({theirs['dtype']}, was {mine['dtype']})")
        for name in ("y", "operator", "noise", "prior"):
            if not _alike(mine[name], theirs[name]):
                was, now = mine[name].get("class"), theirs[name].get("class")
                found.append(name if was == now else f"{name} ({now}, was {was})")
        return found


def _same(tree: Any) -> Any:
    return tree


def _alike(mine: Any, theirs: Any) -> bool:
    held, now = mine.get("attributes", {}), theirs.get("attributes", {})
    known = (mine.get("answers") is None) == (theirs.get("answers") is None)
    same = known and mine["is"] == theirs["is"] and all(now.get(k) == v for k, v in held.items())
    if not same:
        return False
    pairs = zip(mine.get("answers") or [], theirs.get("answers") or [], strict=True)
    return all(_near(a, b) for a, b in pairs)


def _near(a: list[float], b: list[float]) -> bool:
    apart = ALIKE * max(a[0], b[0])
    return all(abs(v - w) <= apart for v, w in zip(a, b, strict=True))

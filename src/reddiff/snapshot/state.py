"""The base class of solver states, with generic saving, loading and selection of lanes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from torch import Tensor

from reddiff.snapshot.trees import Tree, select_tree

S = TypeVar("S")


class State:
    """Base class of frozen dataclasses that hold the state of all lanes of a run.

    Each field is a tensor `(b, ...)`, a list with one entry per lane, another `State` (such as a
    `LaneOptimizer`), a number shared by all lanes, or None. The keys of the tree of a state are the
    names of its fields.
    """

    def dump(self) -> Tree:
        """Convert the state to a tree of lane-first tensors and lists with one entry per lane."""
        return {f.name: dumped(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def load(cls: type[S], tree: Tree) -> S:
        """Convert the result of `dump` back to a state.

        Raises:
            ValueError: If the entries are not the fields of the state.
        """
        kinds = _states(cls)
        if set(tree) != set(kinds):
            raise ValueError(f"expected the entries {sorted(kinds)}, got {sorted(map(str, tree))}")
        return cls(**{name: loaded(kind, tree[name]) for name, kind in kinds.items()})


def dumped(value: Any) -> Tree:
    """The tree of a state, or of the value of one field."""
    return value.dump() if isinstance(value, State) else value


def loaded(kind: type[Any] | None, tree: Tree) -> Any:
    """The inverse of `dumped`: a state of this class, or the tree itself."""
    is_state = kind is not None and issubclass(kind, State) and tree is not None
    return kind.load(tree) if is_state else tree  # type: ignore[union-attr]


def selected(value: S, index: Tensor) -> S:
    """The state of the lanes at these indices, in this order."""
    kind = type(value) if isinstance(value, State) else None
    chosen: S = loaded(kind, select_tree(dumped(value), index))
    return chosen


def _states(cls: type[Any]) -> dict[str, type[State] | None]:
    """The fields of a state by name, with the classes of those that are states themselves."""
    hints = get_type_hints(cls)
    kinds: dict[str, type[State] | None] = {}
    for field in fields(cls):
        hint = hints[field.name]
        states = [t for t in (hint, *get_args(hint)) if isinstance(t, type)]
        kinds[field.name] = next((t for t in states if issubclass(t, State)), None)
    return kinds

"""What a solver carries from step to step: saved, loaded and cut to some lanes without its help."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from torch import Tensor

from reddiff.snapshot.trees import Tree, select_tree

S = TypeVar("S")


class State:
    """Base of a frozen dataclass that holds the state of all lanes of a run.

    Each field is a tensor `(b, ...)`, a list with one entry per lane, another `State` (such as a
    `LaneOptimizer`), a number that all lanes share, or None. The tree of a state has the fields'
    names as its keys.
    """

    def dump(self) -> Tree:
        """The state as a tree: dicts of lane-first tensors and of lists with one entry per lane."""
        return {f.name: dumped(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def load(cls: type[S], tree: Tree) -> S:
        """The state whose `dump` this is."""
        kinds = _states(cls)
        if set(tree) != set(kinds):
            raise ValueError(f"expected the entries {sorted(kinds)}, got {sorted(map(str, tree))}")
        return cls(**{name: loaded(kind, tree[name]) for name, kind in kinds.items()})


def dumped(value: Any) -> Tree:
    """The tree of a state, or of one field: a tensor is its own."""
    return value.dump() if isinstance(value, State) else value


def loaded(kind: type[Any] | None, tree: Tree) -> Any:
    """The value whose tree this is: a state of this kind, or what the tree itself holds."""
    is_state = kind is not None and issubclass(kind, State) and tree is not None
    return kind.load(tree) if is_state else tree  # type: ignore[union-attr]


def selected(value: S, index: Tensor) -> S:
    """A state of some of the lanes, in the order given."""
    kind = type(value) if isinstance(value, State) else None
    chosen: S = loaded(kind, select_tree(dumped(value), index))
    return chosen


def _states(cls: type[Any]) -> dict[str, type[State] | None]:
    """The fields of a state, by name: the kinds of those that are states themselves."""
    hints = get_type_hints(cls)
    kinds: dict[str, type[State] | None] = {}
    for field in fields(cls):
        hint = hints[field.name]
        states = [t for t in (hint, *get_args(hint)) if isinstance(t, type)]
        kinds[field.name] = next((t for t in states if issubclass(t, State)), None)
    return kinds

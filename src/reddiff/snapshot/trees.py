"""Trees that hold states: dicts, per-lane lists, lane-first tensors, numbers and strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from reddiff.errors import SnapshotError

DEPTH = 64  # largest nesting depth of a tree


# Dicts, per-lane lists, lane-first tensors, numbers, strings and None.
Tree = Any


def flatten(tree: Tree, tensors: dict[str, Tensor], prefix: str) -> Tree:
    """Move the tensors of a tree into a flat dict and replace them by their keys."""
    if isinstance(tree, Tensor):
        name = prefix if prefix not in tensors else f"{prefix}#{len(tensors)}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, Mapping):
        items = [[k, flatten(v, tensors, f"{prefix}/{k}")] for k, v in tree.items()]
        return {"dict": items}
    if isinstance(tree, list | tuple):
        return {"list": [flatten(v, tensors, f"{prefix}/{i}") for i, v in enumerate(tree)]}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {"value": tree}
    raise SnapshotError(f"{prefix}: cannot save a {type(tree).__name__}")


def unflatten(node: Tree, take: Callable[[str], Tensor], depth: int = 0) -> Tree:
    """The inverse of `flatten`; `take` returns the tensor for a key."""
    if depth > DEPTH or not isinstance(node, dict) or len(node) != 1:
        raise SnapshotError("expected a reddiff snapshot, got one with a damaged tree")
    ((form, value),) = node.items()
    if form == "tensor":
        return take(value)
    if form == "dict":
        return {k: unflatten(v, take, depth + 1) for k, v in value}
    if form == "list":
        return [unflatten(v, take, depth + 1) for v in value]
    if form != "value" or isinstance(value, dict | list):
        raise SnapshotError("expected a reddiff snapshot, got one with a damaged tree")
    return value


def select_tree(tree: Tree, index: Tensor) -> Tree:
    """The tree of the lanes at these indices, applied to axis 0 of tensors and to lists."""
    if isinstance(tree, Tensor):
        return tree[index.to(tree.device)]
    if isinstance(tree, Mapping):
        return {k: select_tree(v, index) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [tree[i] for i in index.tolist()]
    return tree


def to_device(tree: Tree, device: torch.device) -> Tree:
    """The tree with its tensors on a device."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, Mapping):
        return {k: to_device(v, device) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_device(v, device) for v in tree]
    return tree

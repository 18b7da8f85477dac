"""A run on disk: one safetensors file whose metadata is JSON. Nothing is ever unpickled."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reddiff.errors import SnapshotError

FORMAT = 2

# Dicts, per-lane lists, lane-first tensors, numbers, strings and None.
Tree = Any


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All a run needs to go on, bit by bit as if it had never stopped.

    Arguments:
        solver: `describe(solver)`, compared on resume.
        y_shape: The shape of y of the whole problem.
        seed: The seed of the run.
        ids: The ids of all its lanes.
        samples: The runs per lane.
        step: How many steps were made.
        tree: The solver's state (of the lanes that still run) and the loop's.
    """

    solver: Tree
    y_shape: tuple[int, ...]
    seed: int
    ids: tuple[int, ...]
    samples: int
    step: int
    tree: Tree

    def save(self, path: str | Path) -> None:
        """Write the snapshot whole or not at all."""
        tensors: dict[str, Tensor] = {}
        header = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "tree"}
        header |= {"format": FORMAT, "tree": _flatten(self.tree, tensors, "")}
        path = Path(path)
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            save_file(tensors, temporary, metadata={"reddiff": json.dumps(header)})
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a snapshot, onto the CPU.

        Raises:
            SnapshotError: If the file is truncated, no snapshot, or of another format version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["reddiff"])
                version = header.pop("format")
                if version != FORMAT:
                    raise SnapshotError(f"{path}: expected format {FORMAT}, got {version}")
                tree = _unflatten(header.pop("tree"), file.get_tensor)
            for name in ("y_shape", "ids"):
                header[name] = tuple(header[name])
            return cls(**header, tree=tree)
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"{path}: expected a reddiff snapshot, got {error!r}") from error


def describe(value: object) -> Tree:
    """A JSON description of hyper-parameters that is the same in every process.

    Tensors are described by a hash of their values, functions by their names.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return {"shape": list(value.shape), "sha256": sha256(data).hexdigest()[:16]}
    if is_dataclass(value) and not isinstance(value, type):
        settings = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__qualname__, **settings}
    if isinstance(value, partial):
        args = [describe(a) for a in value.args]
        return {"call": describe(value.func), "args": args, **_described(value.keywords)}
    if isinstance(value, Mapping):
        return _described(value)
    if isinstance(value, list | tuple):
        return [describe(v) for v in value]
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{name}"


def _described(items: Mapping[str, object]) -> dict[str, Tree]:
    return {str(k): describe(v) for k, v in items.items()}


def _flatten(tree: Tree, tensors: dict[str, Tensor], prefix: str) -> Tree:
    """Move the tensors of a tree into a flat dict, leaving their keys behind."""
    if isinstance(tree, Tensor):
        tensors[prefix] = tree.detach().cpu().contiguous().clone()
        return {"tensor": prefix}
    if isinstance(tree, Mapping):
        items = [[k, _flatten(v, tensors, f"{prefix}/{k}")] for k, v in tree.items()]
        return {"dict": items}
    if isinstance(tree, list | tuple):
        return {"list": [_flatten(v, tensors, f"{prefix}/{i}") for i, v in enumerate(tree)]}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {"value": tree}
    raise SnapshotError(f"{prefix}: cannot save a {type(tree).__name__}")


def _unflatten(node: Tree, get: Any) -> Tree:
    (kind, value), *_ = node.items()
    if kind == "tensor":
        return get(value)
    if kind == "dict":
        return {k: _unflatten(v, get) for k, v in value}
    if kind == "list":
        return [_unflatten(v, get) for v in value]
    return value


def select_tree(tree: Tree, index: Tensor) -> Tree:
    """The state of some of the lanes: tensors by axis 0, lists entry by entry."""
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

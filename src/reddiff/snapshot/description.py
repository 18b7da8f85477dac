"""Descriptions of settings, functions and tensors, short and reproducible across processes."""

from __future__ import annotations

import dis
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from hashlib import sha256
from inspect import unwrap
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reddiff.snapshot.code import OURS, PLAIN, compiled, fixed, installed, members, nested

# A value that `json` can write.
Described = Any


_STORES = "STORE_GLOBAL", "STORE_DEREF", "DELETE_GLOBAL", "DELETE_DEREF"


_INTERNAL = frozenset(vars(nn.Module())) - {"training"}


def describe(value: object) -> Described:
    """A JSON description of hyperparameters that is the same in every process.

    Tensors and arrays are described by a hash of their values. Functions and classes of installed
    packages are described by name. Those of the user are described by their code (as compiled by
    this version of Python), their defaults, and the numbers, strings, tensors, functions and
    classes that they refer to. Lists and dicts that a function refers to, and variables that it
    assigns, such as counters, are not included.
    """
    return _Describer().value(value)


def digest(description: Described) -> str:
    """A hash of a description, as 16 hexadecimal digits."""
    return sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def hashed(tensor: Tensor, digits: int = 16) -> Described:
    """The dtype and shape of a tensor, and a hash of its values with this number of digits."""
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    flat = dense.as_strided((dense.numel(),), (1,))  # strides of axes of length 1 are arbitrary
    data: Any = flat.view(torch.uint8).numpy()
    kind = str(tensor.dtype).removeprefix("torch.")
    return {"dtype": kind, "shape": list(tensor.shape), "sha256": sha256(data).hexdigest()[:digits]}


def structure(module: nn.Module) -> Described:
    """A module's classes, parameters and buffers, and the attributes of reddiff and torch classes.

    Attributes of other classes are left out, because they can be counters or caches.
    """
    parts = []
    for path, part in module.named_modules():
        known = attributes(part) if ours(type(part)) else {}
        parts.append([path, describe(type(part)), {k: describe(v) for k, v in known.items()}])
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    return [parts, {name: hashed(tensor) for name, tensor in tensors.items()}]


def attributes(module: nn.Module) -> dict[str, object]:
    """The public attributes of a module, without those of `nn.Module`."""
    return {k: v for k, v in vars(module).items() if k not in _INTERNAL and k[0] != "_"}


def ours(kind: type) -> bool:
    """Whether a class belongs to this package or to torch."""
    return kind.__module__.partition(".")[0] in OURS


class _Describer:
    """Builds one description; functions and classes that occur again are only named."""

    def __init__(self) -> None:
        self.seen: dict[int, object] = {}
        self.above: list[int] = []

    def value(self, value: object) -> Described:
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item() if value.dtype.kind in "biuf" else str(value)
        if isinstance(value, PLAIN):
            return str(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value = torch.from_numpy(
                np.array(value, order="C").astype(value.dtype.newbyteorder("="))
            )
        if isinstance(value, Tensor):
            return hashed(value)
        if id(value) in self.above:
            return "itself"
        self.above.append(id(value))
        try:
            return self._object(value)
        finally:
            self.above.pop()

    def _object(self, value: object) -> Described:
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, nn.Module):
            return {"class": self._kind(value), "module": digest(structure(value))}
        if is_dataclass(value):
            held = {f.name: getattr(value, f.name) for f in fields(value)}
            return {"class": self._kind(value), **self._items(held)}
        if isinstance(value, partial):
            args = [self.value(a) for a in value.args]
            return {"call": self.value(value.func), "args": args, **self._items(value.keywords)}
        if isinstance(value, Mapping):
            return self._items(value)
        if isinstance(value, list | tuple):
            return [self.value(v) for v in value]
        if isinstance(value, set | frozenset):
            return sorted((self.value(v) for v in value), key=digest)
        if isinstance(value, MethodType):
            return {"method": self.value(value.__func__), "of": self.value(value.__self__)}
        return self._other(unwrap(value) if callable(value) else value)

    def _other(self, value: object) -> Described:
        if isinstance(value, FunctionType) and not installed(value.__module__):
            return self._function(value)
        if hasattr(value, "__qualname__") or not hasattr(value, "__dict__"):
            module = getattr(value, "__module__", None) or type(value).__module__
            return f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}"
        held = {k: v for k, v in vars(value).items() if k[0] != "_" and fixed(v)}
        return {"class": self._kind(value), **self._items(held)}

    def _kind(self, value: object) -> Described:
        kind = type(value)
        return kind.__qualname__ if ours(kind) else self._class(kind)

    def _class(self, kind: type) -> Described:
        """A class by name; classes of the user also by the code of their methods."""
        if installed(kind.__module__):
            return f"{kind.__module__}.{kind.__qualname__}"
        if id(kind) in self.seen:
            return kind.__qualname__
        self.seen[id(kind)] = kind
        bases = [c for c in kind.__mro__ if not installed(c.__module__)]
        own = {f"{c.__qualname__}.{k}": v for c in bases for k, v in members(c).items()}
        return {"class": kind.__qualname__, "code": digest(self._items(own))}

    def _function(self, function: FunctionType) -> Described:
        """A function by its code, its defaults and the `fixed` values that it refers to."""
        if id(function) in self.seen:
            return function.__qualname__
        self.seen[id(function)] = function
        codes = list(nested(function.__code__))
        stored = {i.argval for c in codes for i in dis.get_instructions(c) if i.opname in _STORES}
        names = {name for c in codes for name in c.co_names}
        held = {k: v for k, v in function.__globals__.items() if k in names}
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        held |= {name: cell.cell_contents for name, cell in cells if cell != type(cell)()}
        held = {k: held[k] for k in sorted(held) if k not in stored and fixed(held[k])}
        defaults = [function.__defaults__, function.__kwdefaults__]
        code = [[compiled(c) for c in codes], self.value(defaults), self._items(held)]
        return {"function": function.__qualname__, "code": digest(code)}

    def _items(self, items: Mapping[str, object]) -> dict[str, Described]:
        return {str(k): self.value(v) for k, v in items.items()}

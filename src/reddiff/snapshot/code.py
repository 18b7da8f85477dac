"""Inspection of the code of functions and classes, for descriptions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from inspect import unwrap
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OURS = "reddiff", "torch"
PLAIN = bool, int, float, complex, str, np.generic, torch.dtype, torch.device, Enum
# Kinds of values that are rarely modified in place, unlike lists and dicts.
_FIXED = (*PLAIN, np.ndarray, Tensor, nn.Module, FunctionType, MethodType, partial, type)


def fixed(value: object) -> bool:
    """Whether a value is of a kind that is rarely modified in place, unlike lists and dicts."""
    if isinstance(value, tuple):
        return all(map(fixed, value))
    return value is None or isinstance(value, _FIXED) or is_dataclass(value)


def installed(module: str | None) -> bool:
    """Whether a module belongs to the standard library or to an installed package."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names or top in OURS:
        return True
    path = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in path or "dist-packages" in path


def members(kind: type) -> dict[str, object]:
    """The functions and constants of a class, by sorted name, except those of `dataclass`."""
    found: dict[str, object] = {}
    for name, value in sorted(vars(kind).items()):
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        function = unwrap(value) if callable(value) else value
        if isinstance(function, FunctionType):
            written = function.__code__.co_filename != "<string>" or not is_dataclass(kind)
            found |= {name: function} if written else {}
        elif name[0] != "_" and fixed(value):
            found[name] = value
    return found


def nested(code: CodeType) -> Iterator[CodeType]:
    """The code object of a function and those of nested functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def compiled(code: CodeType) -> list[Any]:
    """Instructions, constants and names of a code object."""
    constants = [_constant(c) for c in code.co_consts if not isinstance(c, CodeType)]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]


def _constant(value: object) -> str:
    """A constant as text; sets are sorted, so that the text does not depend on hashing."""
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)
